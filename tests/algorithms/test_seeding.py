"""Seeds: as many as asked, distinct wherever the rows are, spread as the methods promise."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st

import daskmeans.algorithms.survey
from daskmeans import KMeans, kmeans_parallel, kmeans_plusplus
from daskmeans.datasets import make_gauss_mixture
from tests import reference, strategies


def n_distinct(centers):
    return len(np.unique(centers, axis=0))


class TestParallelSeeding:
    """k-means||."""

    @settings(max_examples=40)
    @given(data=st.data())
    def test_distinct_centers_whenever_there_are_distinct_rows(self, data):
        rows = data.draw(strategies.rows(dtypes=[np.float64, np.uint8]))
        repeats = data.draw(st.integers(1, 5))
        rows = np.repeat(rows, repeats, axis=0)
        k = data.draw(st.integers(1, len(np.unique(rows, axis=0))))
        factor = data.draw(st.sampled_from([0.1, 0.5, 2.0]))
        centers = kmeans_parallel(
            rows, k, oversampling_factor=factor, init_rounds=1, random_state=0
        )
        assert centers.shape == (k, rows.shape[1])
        assert n_distinct(centers) == k

    def test_heavy_duplicates(self):
        """99 % of the rows are the same one."""
        rows = np.zeros((2000, 3))
        rows[:20] = np.random.default_rng(0).normal(size=(20, 3))
        for seed in range(3):
            assert n_distinct(kmeans_parallel(rows, 21, random_state=seed)) == 21

    def test_hundred_distinct_centers(self):
        """dask-ml draws about 2 candidates a round whatever k, and fills up with random rows."""
        rows = np.random.default_rng(0).normal(size=(3000, 5))
        lazy = da.from_array(rows, chunks=(500, 5))
        centers = kmeans_parallel(lazy, 100, random_state=0)
        assert n_distinct(centers) == 100
        drawn_at_random = rows[:100]
        assert reference.inertia(rows, centers) < 0.8 * reference.inertia(rows, drawn_at_random)

    def test_fewer_distinct_rows_than_clusters_repeats_them(self):
        rows = np.array([[1.0, 2.0]] * 5 + [[3.0, 4.0]] * 5)
        centers = kmeans_parallel(rows, 5, random_state=0)
        assert centers.shape == (5, 2)
        assert n_distinct(centers) == 2

    def test_as_many_clusters_as_rows(self):
        rows = np.random.default_rng(0).normal(size=(31, 5))
        centers = kmeans_parallel(rows, 31, random_state=0)
        np.testing.assert_array_equal(np.unique(centers, axis=0), np.unique(rows, axis=0))

    def test_rows_without_weight_are_no_candidates(self):
        rows = np.random.default_rng(0).normal(size=(200, 2))
        rows[100:] += 1000
        weights = np.repeat([1.0, 0.0], 100)
        for init in ("k-means||", "k-means++", "random"):
            model = KMeans(7, init=init, random_state=0).fit(rows, sample_weight=weights)
            assert model.cluster_centers_.max() < 100

    def test_weights_attract_candidates(self):
        """One row weighs 200 times as much as all others: it is a center, to some digits."""
        rows = np.random.default_rng(0).normal(size=(500, 2))
        weights = np.ones(500)
        weights[17] = 1e5
        centers = kmeans_parallel(rows, 3, sample_weight=weights, random_state=0)
        assert np.sqrt(reference.sq_distances(rows[17:18], centers).min()) < 1e-2

    def test_far_from_the_origin(self):
        rows = 1e6 + np.random.default_rng(0).normal(size=(500, 2))
        assert n_distinct(kmeans_parallel(rows.astype(np.float32), 7, random_state=0)) == 7


class TestGreedySeeding:
    """k-means++."""

    @settings(max_examples=40)
    @given(data=st.data())
    def test_fit_has_distinct_centers_whenever_there_are_distinct_rows(self, data):
        rows = data.draw(strategies.rows(dtypes=[np.float64, np.uint8]))
        rows = np.repeat(rows, data.draw(st.integers(1, 3)), axis=0)
        k = data.draw(st.integers(1, len(np.unique(rows, axis=0))))
        model = KMeans(k, random_state=0).fit(rows)
        assert len(set(model.labels_)) == k

    def test_one_trial_is_plain_seeding(self, blobs):
        centers, indices = kmeans_plusplus(blobs, 7, n_local_trials=1, random_state=0)
        np.testing.assert_array_equal(centers, blobs[indices])

    def test_indices_are_those_of_all_rows_when_a_sample_is_used(self, monkeypatch):
        monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_MIN_ROWS", 50)
        monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_ROWS_A_CLUSTER", 1)
        rows = np.random.default_rng(0).normal(size=(2000, 5))
        for X in (rows, da.from_array(rows, chunks=(300, 2))):
            centers, indices = kmeans_plusplus(X, 7, random_state=0)
            np.testing.assert_array_equal(centers, rows[indices])
            assert indices.max() >= 300

    def test_seeds_depend_neither_on_order_nor_on_repetition(self, blobs):
        """Of few rows; scikit-learn's own k-means depends on both."""
        order = np.random.default_rng(0).permutation(len(blobs))
        counts = np.random.default_rng(1).integers(1, 4, len(blobs))
        one = KMeans(7, random_state=0, tol=0).fit(blobs, sample_weight=counts)
        for rows, weights in (
            (np.repeat(blobs, counts, axis=0), None),
            (blobs[order], counts[order]),
        ):
            other = KMeans(7, random_state=0, tol=0).fit(rows, sample_weight=weights)
            np.testing.assert_allclose(other.cluster_centers_, one.cluster_centers_, rtol=1e-12)


class TestRandomSeeding:
    """init="random"."""

    def test_seeds_are_different_rows(self):
        rows = np.arange(31.0).reshape(-1, 1)
        model = KMeans(31, init="random", n_init=1, random_state=0).fit(rows)
        assert model.inertia_ == 0
        assert len(set(model.labels_)) == 31

    def test_seeds_are_drawn_by_weight(self):
        rows = np.arange(100.0).reshape(-1, 1)
        weights = np.full(100, 1e-9)
        weights[[13, 57]] = 1.0
        model = KMeans(2, init="random", max_iter=1, n_init=1, random_state=0)
        model.fit(rows, sample_weight=weights)
        np.testing.assert_allclose(np.sort(model.cluster_centers_.ravel()), [13, 57], rtol=1e-6)

    def test_fewer_rows_with_weight_than_clusters(self):
        rows = np.arange(5.0).reshape(-1, 1)
        with pytest.warns(sklearn.exceptions.ConvergenceWarning):
            KMeans(4, init="random", random_state=0).fit(
                np.repeat(rows[:2], 3, axis=0), sample_weight=[1, 0, 0, 1, 0, 0]
            )


def test_sample_is_uniform_over_the_rows(monkeypatch):
    """Seeds come from all blocks: rows here are sorted, and each block has a value of its own."""
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_MIN_ROWS", 200)
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_ROWS_A_CLUSTER", 1)
    rows = np.repeat(np.arange(10.0), 500).reshape(-1, 1)
    rows += np.random.default_rng(0).normal(scale=1e-3, size=rows.shape)
    model = KMeans(10, random_state=0).fit(da.from_array(rows, chunks=(500, 1)))
    np.testing.assert_allclose(np.sort(model.cluster_centers_.ravel()), np.arange(10), atol=1e-3)


def test_weighted_sample_stands_for_all_rows(monkeypatch):
    """Seeds of a weighted sample reach the cost of seeds of all rows."""
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_MIN_ROWS", 300)
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_ROWS_A_CLUSTER", 1)
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 5, (5000, 1)) * 10 + generator.normal(size=(5000, 1))
    weights = generator.uniform(0, 3, 5000)
    best = sklearn.cluster.KMeans(5, n_init=5, random_state=0).fit(rows, sample_weight=weights)
    costs = [
        KMeans(5, random_state=seed).fit(rows, sample_weight=weights).inertia_ for seed in range(5)
    ]
    assert np.median(costs) < 1.01 * best.inertia_


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
def test_no_worse_than_scikit_learn_on_a_hard_mixture(init):
    """GAUSSMIXTURE of the k-means|| paper, smaller: medians over seeds, fixed once and for all."""
    rows = make_gauss_mixture(2000, 15, 20, 10.0, random_state=0)[0].compute()
    ours = [KMeans(20, init=init, random_state=seed).fit(rows).inertia_ for seed in range(7)]
    theirs = [
        sklearn.cluster.KMeans(20, n_init=1, random_state=seed).fit(rows).inertia_
        for seed in range(7)
    ]
    assert np.median(ours) <= 1.01 * np.median(theirs)
