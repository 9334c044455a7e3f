"""From the same initial centers: scikit-learn's centers, labels, inertia and iterations."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import sklearn.cluster
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from daskmeans import KMeans, k_means
from tests import reference, strategies

# scikit-learn sums in the dtype of the rows, so its own centers are no closer than this.
RTOL = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}


@contextmanager
def few_points_allowed():
    """Rows that hypothesis draws may have fewer distinct points than clusters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def both(rows, init, sample_weight=None, **options):
    """The two packages' models, ours first."""
    ours, theirs = (
        cls(len(init), init=init, n_init=1, **options).fit(rows, sample_weight=sample_weight)
        for cls in (KMeans, sklearn.cluster.KMeans)
    )
    return ours, theirs


def assert_labels_equal_but_for_ties(rows, centers, ours, theirs, rtol):
    """Where labels differ, the two centers are equally far but for rounding."""
    sq_distances = reference.sq_distances(rows, centers)
    differ = np.flatnonzero(ours != theirs)
    # Rounding of rows and centers is relative to their size, not to their distance.
    size = np.abs(rows).max()
    for i in differ:
        gap = sq_distances[i, theirs[i]] - sq_distances[i, ours[i]]
        assert 0 <= gap <= 4 * rtol * size * np.sqrt(sq_distances[i, theirs[i]])


def assert_same_model(ours, theirs, rows, rtol):
    # scikit-learn subtracts the mean and adds it again, so a coordinate close to zero is no more
    # exact than the largest one.
    np.testing.assert_allclose(
        ours.cluster_centers_,
        theirs.cluster_centers_,
        rtol=rtol,
        atol=0.1 * rtol * np.abs(rows).max(),
    )
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=rtol)
    assert_labels_equal_but_for_ties(
        rows, ours.cluster_centers_, ours.labels_, theirs.labels_, rtol
    )


def test_hand_computed_case():
    """Rows 1, 2 and 9, 11, 13: means 1.5 and 11, inertia 0.25 * 2 + 4 + 0 + 4."""
    rows = np.array([[1.0], [2.0], [9.0], [11.0], [13.0]])
    model = KMeans(2, init=np.array([[1.0], [2.0]])).fit(rows)
    # Iteration 1 from labels 0 1 1 1 1: 1 and 8.75. Iteration 2: 1.5 and 11. Iteration 3: the same.
    assert model.cluster_centers_.tolist() == [[1.5], [11.0]]
    assert model.labels_.tolist() == [0, 0, 1, 1, 1]
    assert model.inertia_ == 8.5
    assert model.n_iter_ == 3
    assert [record.center_shift for record in model.history_] == [6.75**2, 0.5**2 + 2.25**2, 0.0]


def test_hand_computed_case_with_weights():
    rows = np.array([[0.0], [3.0], [10.0]])
    model = KMeans(2, init=np.array([[0.0], [10.0]])).fit(rows, sample_weight=[2.0, 1.0, 0.5])
    assert model.cluster_centers_.tolist() == [[1.0], [10.0]]
    assert model.inertia_ == 2 * 1.0 + 4.0


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0.0, -300.0, 1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_same_model_from_the_same_centers(blobs, dtype, offset, weighted, order):
    rows = np.asarray(blobs + offset, dtype=dtype, order=order)
    weights = np.random.default_rng(3).uniform(0, 2, len(rows)) if weighted else None
    # In float32 far from the origin scikit-learn's own labels change with rounding, and with them
    # its number of iterations: a tolerance well above rounding ends both runs alike.
    ours, theirs = both(rows, rows[:7].copy(), weights, tol=1e-3)
    assert_same_model(ours, theirs, rows, RTOL[rows.dtype])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float16, bool])
def test_same_model_for_narrow_and_integer_rows(dtype):
    rows = np.random.default_rng(5).integers(0, 2 if dtype is bool else 200, (211, 5)).astype(dtype)
    init = rows[:7].astype(np.float64) + np.arange(7)[:, None] / 64
    ours, theirs = both(rows, init)
    assert_same_model(ours, theirs, rows.astype(np.float64), 1e-9)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 5, 300])
@pytest.mark.parametrize("tol", [0.0, 1e-4, 0.1])
def test_same_model_at_any_stopping_point(blobs, max_iter, tol):
    ours, theirs = both(blobs, blobs[:7].copy(), max_iter=max_iter, tol=tol)
    assert_same_model(ours, theirs, blobs, 1e-9)


@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_inertia_is_of_squared_distances_at_any_stopping_point(blobs, max_iter):
    """dask-ml sums distances that are not squared unless the last shift was tiny."""
    model = KMeans(7, init=blobs[:7], max_iter=max_iter).fit(blobs)
    assert model.n_iter_ == max_iter
    assert model.history_[-1].center_shift > 1e-7
    # 5 products and sums a row, each rounded once.
    expected = reference.inertia(blobs, model.cluster_centers_)
    np.testing.assert_allclose(model.inertia_, expected, rtol=1e-15)


def test_history_tells_the_inertia_of_each_iteration(blobs):
    model = KMeans(7, init=blobs[:7]).fit(blobs)
    assert len(model.history_) == model.n_iter_
    inertias = [record.inertia for record in model.history_]
    assert inertias == sorted(inertias, reverse=True)
    # From sums of squares, whose rounding is relative to the rows' spread.
    np.testing.assert_allclose(inertias[-1], model.inertia_, rtol=1e-12)
    assert all(record.seconds > 0 for record in model.history_)


@given(case=strategies.rows_weights_and_two_chunkings(min_rows=2, dtypes=[np.float64]))
def test_one_step_equals_the_definition(case):
    """Ties included: one step from given centers leaves nothing to rounding but the means."""
    init = case.rows[: case.n_clusters] + 0.125
    model = KMeans(case.n_clusters, init=init, max_iter=1)
    with few_points_allowed():
        model.fit(case.rows, sample_weight=case.weights)
    expected = reference.lloyd(case.rows, init, case.weights, max_iter=1)
    # A weighted row is rounded to 2**-50 of the largest one (weights are brought below 1 by a power
    # of two, which costs up to a bit), and that counts for more in a cluster of small weights; the
    # shift is the mean rounded to float32.
    reach = np.ptp(case.rows, axis=0).max() + 2**-23 * np.abs(case.rows).max()
    heavy = 1 if case.weights is None else case.weights.max() / case.weights[case.weights > 0].min()
    np.testing.assert_allclose(
        model.cluster_centers_, expected.centers, rtol=4e-16, atol=2**-49 * reach * heavy
    )
    np.testing.assert_array_equal(
        model.labels_, reference.labels(case.rows, model.cluster_centers_)
    )


@given(data=st.data())
def test_labels_are_those_of_the_definition(data):
    rows = data.draw(strategies.rows(min_rows=2))
    k = data.draw(st.integers(1, min(7, len(rows))))
    model = KMeans(k, init=rows[:k], max_iter=1)
    with few_points_allowed():
        found = model.fit(rows).predict(rows)
    np.testing.assert_array_equal(found, reference.labels(rows, model.cluster_centers_))
    np.testing.assert_array_equal(found, model.labels_)


def test_float32_far_from_the_origin_gets_the_labels_of_float64(blobs):
    """Mean 1e4 and spread 1: the float32 expansion |x|^2 - 2 x.c + |c|^2 mislabels most rows."""
    generator = np.random.default_rng(0)
    rows = (1e4 + generator.normal(size=(5003, 7))).astype(np.float32)
    init = rows[:11].astype(np.float64)
    narrow = KMeans(11, init=init, max_iter=20, tol=0).fit(rows)
    wide = KMeans(11, init=init, max_iter=20, tol=0).fit(rows.astype(np.float64))
    np.testing.assert_array_equal(narrow.labels_, wide.labels_)
    assert (narrow.cluster_centers_ == wide.cluster_centers_).all()
    assert (narrow.n_iter_, narrow.inertia_) == (wide.n_iter_, wide.inertia_)
    np.testing.assert_array_equal(narrow.labels_, reference.labels(rows, narrow.cluster_centers_))


def test_inertia_of_float32_rows_does_not_cancel():
    """oneDAL's expansion gave 0.0 here; the exact sum is that of float32 numbers."""
    rows = np.array([[1.0001], [0.9999], [-1.0001], [-0.9999]], dtype=np.float32)
    model = KMeans(2, init=np.array([[1.0], [-1.0]])).fit(rows)
    np.testing.assert_allclose(model.inertia_, 4.0013276e-08, rtol=1e-7)


def test_grid_with_exact_ties_has_one_answer():
    """scikit-learn's issue 15831: its Lloyd and Elkan end in different places, by rounding."""
    rows = (np.arange(1000) / 1000).reshape(-1, 1)
    lloyd, elkan = (
        KMeans(10, init=rows[:10], algorithm=name).fit(rows) for name in ("lloyd", "elkan")
    )
    assert (lloyd.cluster_centers_ == elkan.cluster_centers_).all()
    assert (lloyd.n_iter_, lloyd.inertia_) == (elkan.n_iter_, elkan.inertia_)
    np.testing.assert_array_equal(lloyd.labels_, reference.labels(rows, lloyd.cluster_centers_))


class TestEmptyClusters:
    """A cluster without rows takes the row farthest from its center; never the origin."""

    def test_one_empty_cluster(self, blobs):
        init = blobs[:7].copy()
        init[3] = 1e3
        ours, theirs = both(blobs, init)
        assert ours.history_[0].n_relocated == 1
        assert_same_model(ours, theirs, blobs, 1e-9)

    def test_one_empty_cluster_with_weights(self, blobs):
        init = blobs[:7].copy()
        init[3] = 1e3
        weights = np.random.default_rng(0).uniform(0.5, 2, len(blobs))
        ours, theirs = both(blobs, init, weights)
        assert_same_model(ours, theirs, blobs, 1e-9)

    def test_several_empty_clusters_take_the_farthest_rows(self, blobs):
        init = blobs[:7].copy()
        init[[1, 3, 6]] = [[1e3], [2e3], [3e3]]
        ours, theirs = both(blobs, init, max_iter=1)
        # scikit-learn leaves open which empty cluster takes which row: compare them as a set.
        matched = reference.labels(ours.cluster_centers_, theirs.cluster_centers_)
        assert sorted(matched) == list(range(7))
        np.testing.assert_allclose(
            ours.cluster_centers_, theirs.cluster_centers_[matched], rtol=1e-9
        )
        np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=1e-9)

    def test_equally_far_rows_are_taken_in_the_order_of_their_numbers(self):
        rows = np.array([[-4.0], [4.0], [0.0], [-4.0], [4.0]])
        model = KMeans(3, init=np.array([[0.0], [50.0], [60.0]]), max_iter=1).fit(rows)
        assert model.cluster_centers_.ravel().tolist() == [0.0, -4.0, 4.0]

    def test_relocations_go_on_until_convergence(self):
        """The fixture of scikit-learn's issue 9795: heavy tails, so clusters empty many times."""
        rows = np.random.RandomState(51220).randn(1200, 2) ** 7
        ours = KMeans(100, init=rows[:100], tol=1e-20).fit(rows)
        expected = reference.lloyd(rows, rows[:100], tol=1e-20)
        # Rows are rounded to 2**-50 of their range, which the tails make wide.
        np.testing.assert_allclose(
            ours.cluster_centers_, expected.centers, rtol=1e-12, atol=2**-50 * np.ptp(rows)
        )
        assert ours.n_iter_ == expected.n_iter
        np.testing.assert_array_equal(ours.labels_, expected.labels)

    def test_center_is_not_left_at_the_origin(self):
        """dask-ml counts an empty cluster as one row at the origin."""
        rows = np.array([[10.0, 10.0], [11.0, 10.0], [20.0, 10.0], [21.0, 10.0]])
        model = KMeans(3, init=np.array([[10.0, 10.0], [20.0, 10.0], [30.0, 30.0]])).fit(rows)
        assert np.abs(model.cluster_centers_).min() >= 10
        assert sorted(np.bincount(model.labels_)) == [1, 1, 2]

    def test_row_of_weight_zero_is_not_taken(self):
        rows = np.array([[0.0], [1.0], [5.0], [100.0]])
        init = np.array([[1.0], [1e3]])
        model = KMeans(2, init=init, max_iter=1).fit(rows, sample_weight=[1, 1, 1, 0])
        assert model.cluster_centers_.ravel().tolist() == [0.5, 5.0]

    def test_cluster_whose_only_row_was_taken_goes_where_scikit_learn_puts_it(self):
        rows = np.array([[0.0], [100.0], [101.0]])
        init = np.array([[100.5], [20.0], [1000.0]])
        with pytest.warns(ConvergenceWarning):
            ours, theirs = both(rows, init, max_iter=1)
        assert ours.cluster_centers_.tolist() == theirs.cluster_centers_.tolist()

    def test_clusters_that_get_no_row_go_where_scikit_learn_puts_them(self):
        rows = np.array([[0.0], [0.0], [1.0]])
        with pytest.warns(ConvergenceWarning):
            ours, theirs = both(rows, np.array([[0.0], [1.0], [30.0]]))
        assert ours.cluster_centers_.tolist() == theirs.cluster_centers_.tolist()
        assert ours.n_iter_ == theirs.n_iter_


def test_fewer_distinct_points_than_clusters_warns():
    rows = np.array([[1.0, 1.0]] * 5 + [[2.0, 2.0]] * 3)
    message = (
        r"Number of distinct clusters \(2\) found smaller than n_clusters \(4\)\. "
        r"Possibly due to duplicate points in X\."
    )
    for init in ("k-means++", "k-means||", "random"):
        with pytest.warns(ConvergenceWarning, match=message):
            model = KMeans(4, init=init, random_state=0).fit(rows)
        assert model.inertia_ == 0


def test_restarts_end_no_worse_than_each_of_them(blobs):
    states = [np.random.RandomState(7), np.random.RandomState(7)]
    together = KMeans(7, init="random", n_init=5, random_state=states[0]).fit(blobs)
    alone = KMeans(7, init="random", n_init=1, random_state=states[1]).fit(blobs)
    assert together.inertia_ <= alone.inertia_
    np.testing.assert_array_equal(
        together.labels_, reference.labels(blobs, together.cluster_centers_)
    )


def test_k_means_returns_what_the_estimator_finds(blobs):
    model = KMeans(7, init=blobs[:7]).fit(blobs)
    centers, labels, inertia, n_iter = k_means(blobs, 7, init=blobs[:7], return_n_iter=True)
    assert (centers == model.cluster_centers_).all()
    assert (labels == model.labels_).all()
    assert (inertia, n_iter) == (model.inertia_, model.n_iter_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
class TestAfterTheFit:
    """predict, transform and score of a fitted model."""

    def test_predict(self, blobs, dtype):
        rows = blobs.astype(dtype)
        ours, theirs = both(rows, rows[:7].copy())
        new = (blobs[::-1] * 1.1).astype(dtype)
        np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
        assert ours.predict(new).dtype == np.int32

    def test_transform(self, blobs, dtype):
        rows = blobs.astype(dtype)
        ours, theirs = both(rows, rows[:7].copy())
        distances = ours.transform(rows)
        assert distances.dtype == dtype
        # scikit-learn's distances lose half their digits where a row is close to a center.
        np.testing.assert_allclose(
            distances, theirs.transform(rows), rtol=10 * np.sqrt(np.finfo(dtype).eps)
        )
        exact = np.sqrt(reference.sq_distances(rows, ours.cluster_centers_))
        np.testing.assert_allclose(distances, exact, rtol=np.finfo(dtype).eps)

    def test_score(self, blobs, dtype):
        rows = blobs.astype(dtype)
        weights = np.random.default_rng(0).uniform(0, 2, len(rows))
        ours, theirs = both(rows, rows[:7].copy(), weights)
        rtol = RTOL[rows.dtype]
        for given_weights in (None, weights):
            np.testing.assert_allclose(
                ours.score(rows, sample_weight=given_weights),
                theirs.score(rows, sample_weight=given_weights),
                rtol=rtol,
            )
        assert ours.score(rows, sample_weight=weights) == -ours.inertia_
