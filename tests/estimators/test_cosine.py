"""k-means by cosine distance: against Spark, against the definition, and with one answer."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning

import daskmeans
from daskmeans import (
    KMeans,
    MiniBatchKMeans,
    k_means,
    kmeans_parallel,
    kmeans_plusplus,
    metrics,
    stream,
    sweep,
)
from daskmeans.algorithms.spherical import directions_of_means
from daskmeans.errors import ModelFormatError
from tests import reference, strategies
from tests.conftest import SCHEDULERS
from tests.estimators.test_saving import change

SPARK = json.loads(Path(__file__).with_name("spark_cosine.json").read_text())
INITS = ("refined", "k-means++", "k-means||", "random", "array")
LOCAL = tuple(name for name in SCHEDULERS if name not in ("processes", "cluster"))


@pytest.fixture
def rows():
    """Rows (307, 5) around seven directions, of all lengths."""
    generator = np.random.default_rng(11)
    middles = generator.normal(size=(7, 5))
    around = middles[generator.integers(7, size=307)] + 0.5 * generator.normal(size=(307, 5))
    return around * generator.lognormal(0, 3, size=(307, 1))


def cosine(**options):
    return KMeans(7, metric="cosine", random_state=0, **options)


class TestSpark:
    @pytest.mark.parametrize("count", SPARK["iterations"]["centers"])
    def test_iterations_from_the_same_centers(self, count):
        given = SPARK["iterations"]
        model = KMeans(5, init=given["initial"], metric="cosine", tol=0, max_iter=int(count))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(np.array(given["rows"]))
        np.testing.assert_allclose(model.cluster_centers_, given["centers"][count], atol=1e-14)

    @pytest.mark.parametrize("given", SPARK["converged"], ids=["rows", "weighted rows"])
    def test_clusters_far_apart(self, given):
        rows = np.array(given["rows"])
        model = KMeans(4, metric="cosine", random_state=0, tol=0)
        model.fit(rows, sample_weight=given["weights"])
        cosines = model.cluster_centers_ @ np.transpose(given["centers"])
        ours, theirs = linear_sum_assignment(-cosines)
        np.testing.assert_allclose(
            model.cluster_centers_[ours], np.array(given["centers"])[theirs], atol=1e-14
        )
        np.testing.assert_array_equal(theirs[model.labels_], given["labels"])
        assert model.inertia_ == pytest.approx(given["cost"], rel=1e-13)


class TestDefinition:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("algorithm", ["lloyd", "auto"])
    def test_every_iteration(self, rows, weighted, algorithm):
        weights = np.random.default_rng(0).uniform(0, 3, len(rows)) if weighted else None
        model = cosine(init=rows[:7], algorithm=algorithm).fit(rows, sample_weight=weights)
        wanted, costs = reference.spherical_lloyd(rows, rows[:7], weights)
        assert model.n_iter_ == wanted.n_iter > 5
        np.testing.assert_allclose(model.cluster_centers_, wanted.centers, atol=1e-12)
        np.testing.assert_array_equal(model.labels_, wanted.labels)
        np.testing.assert_allclose([each.inertia for each in model.history_], costs, rtol=1e-12)
        assert model.inertia_ == pytest.approx(wanted.inertia, rel=1e-12)

    def test_centers_have_length_one(self, rows):
        for init in ("k-means++", "k-means||", "refined", "random", rows[:7]):
            for max_iter in (1, 300):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    model = cosine(init=init, max_iter=max_iter).fit(rows)
                lengths = np.linalg.norm(model.cluster_centers_, axis=1)
                np.testing.assert_allclose(lengths, 1, rtol=4e-16)

    def test_inertia_falls(self, rows):
        inertias = [each.inertia for each in cosine(init="random", tol=0).fit(rows).history_]
        assert len(inertias) > 3
        assert (np.diff(inertias) <= 1e-12 * inertias[0]).all()

    def test_bounds_change_nothing(self, rows):
        """Enough centers that bounds are kept and rule distances out."""
        wide = np.random.default_rng(0).normal(size=(2000, 40)) + 3
        fits = [
            KMeans(30, init=wide[:30], metric="cosine", algorithm=algorithm).fit(wide)
            for algorithm in ("lloyd", "auto")
        ]
        assert fits[0].cluster_centers_.tobytes() == fits[1].cluster_centers_.tobytes()
        assert fits[0].inertia_ == fits[1].inertia_
        assert min(each.distances_computed for each in fits[1].history_) < 1

    def test_rtol_is_a_share_of_the_inertia(self):
        """Of what the rows cost to the centers before these moved."""
        rows = np.random.default_rng(0).normal(size=(2000, 3)) + 0.5
        units, centers = reference.directions(rows), reference.directions(rows[:7])
        shares = []
        for _ in range(30):
            labels = np.argmax(units @ centers.T, axis=1)
            before = (1 - (units * centers[labels]).sum(axis=1)).sum()
            sums = [units[labels == j].sum(axis=0) for j in range(7)]
            centers = reference.directions(sums)
            shares.append(1 - (1 - (units * centers[labels]).sum(axis=1)).sum() / before)
        stopped = cosine(init=rows[:7], tol=0, rtol=2e-3).fit(rows)
        assert stopped.stop_reason_ == "relative tolerance"
        assert stopped.n_iter_ == 1 + np.flatnonzero(np.array(shares) < 2e-3)[0] > 3

    def test_lengths_of_rows_and_initial_centers_do_not_matter(self, rows):
        scales = np.exp2(np.random.default_rng(0).integers(-30, 30, size=(307, 1)))
        one = cosine(init=rows[:7]).fit(rows)
        other = cosine(init=(rows / scales)[:7]).fit(rows * scales)
        assert one.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()
        np.testing.assert_array_equal(one.labels_, other.labels_)

    def test_transform_and_score(self, rows):
        model = cosine().fit(rows)
        distances = 1 - reference.directions(rows) @ model.cluster_centers_.T
        np.testing.assert_allclose(model.transform(rows), distances, atol=1e-15)
        np.testing.assert_array_equal(model.predict(rows), distances.argmin(axis=1))
        lazy = da.from_array(rows, chunks=(50, 2))
        np.testing.assert_array_equal(model.transform(lazy).compute(), model.transform(rows))
        np.testing.assert_array_equal(model.predict(lazy).compute(), model.labels_)
        assert model.score(rows) == -model.inertia_
        weights = np.arange(307.0)
        wanted = -(weights * distances.min(axis=1)).sum()
        assert model.score(lazy, sample_weight=weights) == pytest.approx(wanted, rel=1e-13)

    def test_small_distances_keep_their_digits(self):
        """1 less a product would round them to multiples of 1e-16."""
        rows = np.array([[1.0, 0.0], [1.0, 1e-9]])
        model = KMeans(1, init=rows[:1], metric="cosine").fit(rows)
        assert model.inertia_ == pytest.approx(2 * 0.5 * (0.5e-9) ** 2, rel=1e-6)

    def test_empty_cluster_takes_the_row_at_the_widest_angle(self):
        rows = np.array([[1.0, 0.0], [9.0, 1.0], [0.0, 0.1], [1.0, -0.1]])
        model = KMeans(2, init=[[1, 0.1], [-1, 0]], metric="cosine").fit(rows)
        assert model.history_[0].n_relocated == 1
        np.testing.assert_array_equal(model.labels_, [0, 0, 1, 0])

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_rows_that_cancel_out_leave_their_center(self, dtype):
        angles = np.arange(3) * 2 * np.pi / 3
        rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(dtype)
        model = KMeans(1, init=[[3.0, 4.0]], metric="cosine").fit(rows)
        np.testing.assert_array_equal(model.cluster_centers_, [[0.6, 0.8]])
        assert model.inertia_ == pytest.approx(3)
        assert model.stop_reason_ == "center shift zero"

    def test_directions_of_means(self):
        before = np.array([[0.0, 1.0], [0.0, 1.0]])
        found = directions_of_means(np.array([[1e-9, 0.0], [1e-6, 0.0]]), before)
        np.testing.assert_array_equal(found, [[0.0, 1.0], [1.0, 0.0]])


class TestRows:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float16, ">f4", "f4"])
    def test_dtypes(self, rows, dtype):
        small = (20 * rows / np.abs(rows).max(axis=1, keepdims=True)).astype(dtype)
        small = small[small.any(axis=1)]
        model = cosine(init=small[:7].astype(float)).fit(small)
        wanted, _ = reference.spherical_lloyd(small, small[:7])
        # Directions of all but int64 are rounded to float32.
        assert model.inertia_ == pytest.approx(wanted.inertia, rel=1e-5)
        np.testing.assert_allclose(model.cluster_centers_, wanted.centers, atol=1e-6)
        lazy = cosine(init=small[:7].astype(float)).fit(da.from_array(small, chunks=(50, 5)))
        assert lazy.cluster_centers_.tobytes() == model.cluster_centers_.tobytes()

    def test_rows_in_memory_are_not_written_to(self, rows):
        before = rows.copy()
        cosine().fit(rows)
        np.testing.assert_array_equal(rows, before)

    @pytest.mark.parametrize("weight", [None, 0.0])
    @pytest.mark.parametrize("persist", [False, True])
    def test_zeros_are_refused(self, rows, weight, persist):
        """A row of weight 0 has a label like any other."""
        rows[213] = 0
        weights = None
        if weight is not None:
            weights = np.ones(307)
            weights[213] = weight
        where = r"All values of row 213 \(row 213 of block 0\) are zero: it has no direction"
        with pytest.raises(ValueError, match=where):
            cosine().fit(rows, sample_weight=weights)
        where = r"All values of row 213 \(row 13 of block 2\) are zero: it has no direction"
        lazy = da.from_array(rows, chunks=(100, 3))
        with pytest.raises(ValueError, match=where):
            cosine(persist=persist).fit(lazy, sample_weight=weights)

    def test_zeros_are_refused_by_predictions(self, rows):
        model = cosine().fit(rows)
        rows[213] = 0
        for method in (model.predict, model.transform):
            with pytest.raises(ValueError, match=r"row 213 of block 0.* has no direction"):
                method(rows)
            lazy = method(da.from_array(rows, chunks=(100, 5)))
            with pytest.raises(ValueError, match="row 13 of block 2 are zero"):
                lazy.compute()
        with pytest.raises(ValueError, match="has no direction"):
            MiniBatchKMeans(7, metric="cosine").partial_fit(rows)

    def test_bad_values_are_told_as_ever(self, rows):
        rows[213, 3] = np.nan
        for each in (rows, da.from_array(rows, chunks=(100, 5))):
            with pytest.raises(ValueError, match=r"Input X contains NaN.*row 213.*column 3"):
                cosine().fit(each)

    @pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
    def test_initial_centers_need_a_direction(self, rows, estimator):
        init = rows[:7].copy()
        init[4] = 0
        for each in (init, lambda X, k, random_state: init):
            with pytest.raises(ValueError, match="initial center 4 are zero: it has no direction"):
                estimator(7, init=each, metric="cosine").fit(rows)

    def test_other_metrics_are_refused(self, rows):
        with pytest.raises(ValueError, match="'metric' parameter of KMeans must be"):
            KMeans(metric="manhattan").fit(rows)


def chunked(values, chunks):
    return None if values is None else da.from_array(values, chunks=chunks)


def answer(model):
    return (
        model.cluster_centers_,
        np.asarray(model.labels_),
        model.inertia_,
        [record.inertia for record in model.history_],
    )


def fitted(rows, weights, n_clusters, init):
    with warnings.catch_warnings():
        # Drawn rows may have fewer distinct directions than clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = KMeans(
            n_clusters, init=init, max_iter=6, tol=0, n_init=1, random_state=5, metric="cosine"
        )
        options = {"sample_weight": weights, "random_state": 5, "metric": "cosine"}
        return (
            *answer(model.fit(rows, sample_weight=weights)),
            *kmeans_plusplus(rows, n_clusters, **options),
            kmeans_parallel(rows, n_clusters, init_rounds=2, **options),
        )


def assert_one_answer(case, init, run_under, schedulers):
    rows = case.rows.copy()
    rows[~rows.any(axis=1)] = 1
    if init == "array":
        init = rows[: case.n_clusters].astype(np.float64)
    with run_under("sync"):
        wanted = fitted(rows, case.weights, case.n_clusters, init)
    for chunks, name in zip(case.chunkings, schedulers, strict=True):
        with run_under(name):
            weights = chunked(case.weights, (case.chunkings[0][0],))
            found = fitted(chunked(rows, chunks), weights, case.n_clusters, init)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)


class TestOneAnswer:
    @pytest.mark.parametrize("init", INITS)
    @settings(max_examples=15)
    @given(
        case=strategies.rows_weights_and_two_chunkings(),
        schedulers=st.tuples(st.sampled_from(LOCAL), st.sampled_from(LOCAL)),
    )
    def test_in_any_chunking(self, run_under, init, case, schedulers):
        assert_one_answer(case, init, run_under, schedulers)

    @settings(max_examples=2)
    @given(
        case=strategies.rows_weights_and_two_chunkings(min_rows=20),
        init=st.sampled_from(INITS),
    )
    def test_by_processes_and_on_a_cluster(self, run_under, case, init):
        assert_one_answer(case, init, run_under, ("processes", "cluster"))

    @pytest.mark.parametrize("persist", ["auto", False])
    def test_kept_rows(self, rows, persist, scheduler, tmp_path):
        """What is kept is divided once, wherever that is."""
        path = str(tmp_path / "rows")
        store = zarr.create_array(path, shape=rows.shape, chunks=(40, 5), dtype="f8")
        store[:] = rows
        wanted = answer(cosine().fit(rows))
        lazy = da.from_array(rows, chunks=(50, 3))
        for each in (store, lazy, lazy.rechunk((70, 5))):
            for a, b in zip(answer(cosine(persist=persist).fit(each)), wanted, strict=True):
                np.testing.assert_array_equal(a, b)

    def test_rows_that_a_cluster_holds(self, rows, client, run_under):
        wanted = answer(cosine().fit(rows))
        with run_under("cluster"):
            held = client.persist(da.from_array(rows, chunks=(50, 5)))
            found = answer(cosine().fit(held))
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_chunks_of_unknown_sizes(self, rows):
        lazy = da.from_array(rows, chunks=(50, 5))
        unknown = lazy[lazy[:, 0] > -np.inf]
        assert answer(cosine().fit(unknown))[2:] == answer(cosine().fit(rows))[2:]


class TestBatches:
    def test_step_is_that_of_spark_on_directions(self, rows):
        """c' = (c n a + m w) / (n a + w), brought back to length 1."""
        model = MiniBatchKMeans(7, init=rows[:7], metric="cosine", decay=0.5, reassignment_ratio=0)
        centers, counts = reference.directions(rows[:7]), np.zeros(7)
        for batch in np.split(rows[:300], 6):
            model.partial_fit(batch)
            units = reference.directions(batch)
            labels = np.argmax(units @ centers.T, axis=1)
            weights = np.bincount(labels, minlength=7)
            kept, counts = 0.5 * counts, 0.5 * counts + weights
            for j in np.flatnonzero(weights):
                mean = units[labels == j].mean(axis=0)
                centers[j] = (centers[j] * kept[j] + mean * weights[j]) / counts[j]
            centers = reference.directions(centers)
            np.testing.assert_allclose(model.cluster_centers_, centers, atol=1e-12)
            np.testing.assert_allclose(model.counts_, counts)
        wanted = (1 - units @ centers.T).min(axis=1).sum()
        assert model.inertia_ == pytest.approx(wanted, rel=1e-12)

    def test_record_is_of_cosine_distances(self, rows):
        model = MiniBatchKMeans(7, init=rows[:7], metric="cosine").partial_fit(rows)
        cosines = reference.directions(rows) @ reference.directions(rows[:7]).T
        wanted = (1 - cosines.max(axis=1)).mean()
        assert model.history_[0].inertia == pytest.approx(wanted, rel=1e-12)

    @pytest.mark.parametrize("chunks", [(307, 5), (100, 2), (7, 5)])
    def test_batch_is_one_step_in_any_chunks(self, rows, chunks):
        one, other = (MiniBatchKMeans(7, metric="cosine", random_state=0) for _ in range(2))
        for _ in range(3):
            one.partial_fit(rows)
            other.partial_fit(da.from_array(rows, chunks=chunks))
        assert one.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()
        assert one.inertia_ == other.inertia_

    def test_fit(self, rows):
        for each in (rows, da.from_array(rows, chunks=(50, 5))):
            model = MiniBatchKMeans(7, metric="cosine", random_state=0, batch_size=64).fit(each)
            np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1)
            assert model.inertia_ < 1.2 * cosine(n_init=5, init="k-means++").fit(rows).inertia_
            assert model.score(rows) == -model.inertia_

    def test_split_centers_differ_in_direction(self):
        """Moved by as much in each coordinate they would stay where they are, among directions."""
        rows = np.ones((50, 3)) + 0.1 * np.random.default_rng(0).normal(size=(50, 3))
        model = MiniBatchKMeans(
            2, init=[[1.0, 1, 1], [-1, -1, -1]], metric="cosine", dying_threshold=0.1
        )
        model.partial_fit(np.ones((2, 3)))
        assert model.history_[0].n_split == 1
        assert not np.array_equal(*model.cluster_centers_)
        for _ in range(20):
            model.partial_fit(rows)
        assert model.counts_.min() > 0.2 * model.counts_.max()

    def test_cancelled_center_stays(self):
        model = MiniBatchKMeans(1, init=[[0.6, 0.8]], metric="cosine")
        model.partial_fit([[1.0, 0.0], [-2.0, 0.0]])
        np.testing.assert_allclose(model.cluster_centers_, [[0.6, 0.8]], rtol=1e-15)

    def test_stream_goes_on_from_a_checkpoint_of_the_same_metric(self, rows, tmp_path):
        path = tmp_path / "checkpoint"
        batches = np.split(rows[:300], 6)
        model = MiniBatchKMeans(7, metric="cosine", random_state=0)
        stream(model, batches, checkpoint=path)
        other = MiniBatchKMeans(7, metric="cosine", random_state=0)
        stream(other, [], checkpoint=path)
        assert other.cluster_centers_.tobytes() == model.cluster_centers_.tobytes()
        with pytest.raises(ModelFormatError, match="metric='cosine', and this one has metric='euc"):
            stream(MiniBatchKMeans(7), [], checkpoint=path)


class TestFiles:
    @pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
    def test_saved_model(self, rows, tmp_path, estimator):
        model = estimator(7, metric="cosine", random_state=0).fit(rows)
        model.save(tmp_path / "model")
        loaded = daskmeans.load(tmp_path / "model")
        assert loaded.metric == "cosine"
        np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))
        assert loaded.score(rows) == model.score(rows)

    def test_centers_of_other_lengths(self, rows, tmp_path):
        KMeans(7, random_state=0).fit(rows).save(tmp_path / "model")
        change(tmp_path / "model", lambda d: d["parameters"].update(metric="cosine"))
        with pytest.raises(ModelFormatError, match="cosine distances that are not of length 1"):
            daskmeans.load(tmp_path / "model")

    def test_checkpoint(self, rows, tmp_path):
        path = tmp_path / "checkpoint"
        options = {"init": "random", "n_init": 3, "tol": 0}
        cosine(**options).fit(rows, checkpoint=path, callback=lambda state: state.iteration == 3)
        resumed = KMeans.resume(path, da.from_array(rows, chunks=(50, 5)))
        whole = cosine(**options).fit(rows)
        assert resumed.metric == "cosine"
        assert resumed.cluster_centers_.tobytes() == whole.cluster_centers_.tobytes()
        assert resumed.inertia_ == whole.inertia_


class TestMetrics:
    def test_of_a_model(self, rows):
        model = cosine().fit(rows)
        lazy = da.from_array(rows, chunks=(50, 5))
        names = ["inertia", "silhouette", "cosine_silhouette", "squared_euclidean_silhouette"]
        found = metrics.evaluate(model, lazy, [*names, "davies_bouldin"])
        assert found["inertia"] == model.inertia_
        labels, units = model.labels_, reference.directions(rows)
        wanted = metrics.cosine_silhouette_score(rows, labels)
        assert found["cosine_silhouette"] == pytest.approx(wanted, rel=1e-12)
        assert found["squared_euclidean_silhouette"] == pytest.approx(wanted, rel=1e-12)
        assert found["davies_bouldin"] == pytest.approx(
            metrics.davies_bouldin_score(units, labels), rel=1e-12
        )
        from sklearn.metrics import silhouette_score

        wanted = silhouette_score(rows, labels, metric="cosine")
        assert found["silhouette"] == pytest.approx(wanted, rel=1e-12)

    def test_models_of_both_kinds(self, rows):
        models = [cosine().fit(rows), KMeans(7, random_state=0).fit(rows)]
        with pytest.raises(ValueError, match="metric='cosine' and metric='euclidean'"):
            metrics.evaluate(models, rows)

    def test_sweep(self, rows):
        names = ["inertia", "cosine_silhouette"]
        found = sweep(rows, [3, 7], metrics=names, metric="cosine", random_state=0, n_init=2)
        for k, model in found.models.items():
            assert model.metric == "cosine"
            judged = metrics.evaluate(model, rows, names)
            assert judged == {name: found.scores[name][[3, 7].index(k)] for name in names}

    def test_function(self, rows):
        centers, labels, inertia = k_means(rows, 7, random_state=0, metric="cosine")
        model = cosine().fit(rows)
        np.testing.assert_array_equal(centers, model.cluster_centers_)
        np.testing.assert_array_equal(labels, model.labels_)
        assert inertia == model.inertia_

    def test_plots(self, rows):
        pytest.importorskip("matplotlib").use("agg")
        from daskmeans import plots

        model = cosine().fit(rows)
        assert plots.convergence(model).get_ylabel() == "inertia (sum of cosine distances)"
        assert "307 rows of length 1" in model.plot(rows).get_title()
        ax = plots.silhouette(model, rows, n_samples=307)
        wanted = metrics.evaluate(model, rows, ["silhouette"])["silhouette"]
        assert f"{wanted:.2f}" in ax.get_legend().get_texts()[0].get_text()
