"""Every metric equals scikit-learn's, Spark's or its definition, and no chunking shows in it."""

from __future__ import annotations

import json
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans as ScikitLearnKMeans
from sklearn.exceptions import NotFittedError

from daskmeans import KMeans, metrics
from daskmeans.errors import RowsError
from daskmeans.metrics.registry import METRICS
from tests import reference, strategies
from tests.counting import counted_passes

SPARK = json.loads(Path(__file__).with_name("spark_silhouettes.json").read_text())
EVERY = [name for name in METRICS if name != "silhouette"]


@pytest.fixture
def labels(blobs):
    """Neither those of nearest centers nor of as many rows each; a cluster has a single row."""
    found = reference.labels(blobs, blobs[:7])
    found[::11] = (found[::11] + 3) % 7
    found[100] = 7
    return found


def simplified_silhouette(rows, labels, centers, weights=None):
    distances = np.sqrt(reference.sq_distances(rows, centers))
    own = distances[np.arange(len(rows)), labels]
    distances[np.arange(len(rows)), labels] = np.inf
    other = distances.min(axis=1)
    return np.average((other - own) / np.maximum(own, other), weights=weights)


def means_of(rows, labels):
    return np.array([rows[labels == j].mean(axis=0) for j in np.unique(labels)])


class TestEqualTo:
    @pytest.mark.parametrize("name", ["davies_bouldin_score", "calinski_harabasz_score"])
    def test_scikit_learn(self, name, blobs, labels):
        for rows in (blobs, blobs.astype(np.float32)):
            wanted = getattr(sklearn.metrics, name)(rows.astype(np.float64), labels)
            found = getattr(metrics, name)(rows, labels)
            assert found == pytest.approx(wanted, rel=1e-9)
            # Far from the origin, where scikit-learn's own distances lose digits.
            grid = np.rint(1024 * blobs)
            moved = getattr(metrics, name)(grid + 2.0**24, labels)
            assert moved == pytest.approx(getattr(metrics, name)(grid, labels), rel=1e-12)

    @pytest.mark.parametrize(
        ("name", "distance"),
        [
            ("squared_euclidean_silhouette_score", "sqeuclidean"),
            ("cosine_silhouette_score", "cosine"),
        ],
    )
    def test_scikit_learns_silhouette_of_all_pairs(self, name, distance, blobs, labels):
        wanted = sklearn.metrics.silhouette_score(blobs, labels, metric=distance)
        assert getattr(metrics, name)(blobs, labels) == pytest.approx(wanted, rel=1e-9)

    @pytest.mark.parametrize("case", ["unweighted", "weighted"])
    @pytest.mark.parametrize(
        ("name", "distance"),
        [
            ("squared_euclidean_silhouette_score", "squaredEuclidean"),
            ("cosine_silhouette_score", "cosine"),
        ],
    )
    def test_spark(self, case, name, distance):
        """Values by `make_spark_silhouettes.py`, beside this file."""
        rows, labels, weights = (SPARK[case][key] for key in ("rows", "labels", "weights"))
        found = getattr(metrics, name)(rows, labels, sample_weight=weights)
        assert found == pytest.approx(SPARK[case][distance], rel=1e-9)

    def test_scikit_learns_silhouette(self, blobs, labels):
        wanted = sklearn.metrics.silhouette_score(blobs, labels)
        assert metrics.silhouette_score(blobs, labels) == pytest.approx(wanted, rel=1e-9)

    def test_definitions(self, blobs, labels):
        weights = np.random.default_rng(0).uniform(0.5, 2, len(blobs))
        weighted = np.array(
            [np.average(blobs[labels == j], axis=0, weights=weights[labels == j]) for j in range(8)]
        )
        squares = ((blobs - weighted[labels]) ** 2).sum(axis=1)
        totals = np.bincount(labels, weights)
        options = {"sample_weight": weights}
        wanted = simplified_silhouette(blobs, labels, weighted, weights)
        found = metrics.simplified_silhouette_score(blobs, labels, **options)
        assert found == pytest.approx(wanted, rel=1e-12)
        found = metrics.inertia(blobs, labels, **options)
        assert found == pytest.approx(squares @ weights, rel=1e-12)
        np.testing.assert_allclose(metrics.cluster_sizes(blobs, labels, **options), totals)
        np.testing.assert_allclose(
            metrics.cluster_spreads(blobs, labels, **options),
            np.sqrt(np.bincount(labels, squares * weights) / totals),
            atol=1e-12,
        )

    def test_functions_of_the_labels_that_a_model_gives(self, blobs):
        """The model has not converged: its centers are not the means of its labels."""
        model = KMeans(4, init=blobs[:4], max_iter=1).fit(blobs)
        labels = model.predict(blobs)
        found = metrics.evaluate(model, blobs, list(METRICS))
        by_labels = metrics.labelled_rows.metrics_of_labels(blobs, labels, list(METRICS))
        for name in set(METRICS) - {"inertia", "simplified_silhouette"}:
            np.testing.assert_allclose(found[name], by_labels[name], rtol=1e-12)
        centers = model.cluster_centers_
        assert found["inertia"] == model.inertia_
        wanted = simplified_silhouette(blobs, labels, centers)
        assert found["simplified_silhouette"] == pytest.approx(wanted, rel=1e-12)
        assert metrics.davies_bouldin_score(blobs, model) == found["davies_bouldin"]


@given(case=strategies.rows_weights_and_two_chunkings(min_rows=3), data=st.data())
def test_no_chunking_shows(case, data, run_under):
    """To the bit, for models and for labels, in threads and one after the other."""
    labels = np.array(data.draw(st.lists(st.integers(-1, 3), min_size=len(case.rows))))
    labels = labels[: len(case.rows)]
    model = KMeans(case.n_clusters, init="random", n_init=1, max_iter=2, random_state=0)
    model.cluster_centers_ = case.rows[: case.n_clusters].astype(np.float64)
    model.n_features_in_ = case.rows.shape[1]
    # Rows of zeros have no direction.
    names = [name for name in EVERY if name != "cosine_silhouette"]
    found = []
    for chunks, scheduler in zip(case.chunkings, ("sync", "threads-3"), strict=True):
        rows = da.from_array(case.rows, chunks=chunks)
        lazy = da.from_array(labels, chunks=chunks[0])
        with run_under(scheduler):
            found.append(
                [
                    metrics.evaluate(model, rows, names, sample_weight=case.weights),
                    metrics.labelled_rows.metrics_of_labels(
                        rows, lazy, names, sample_weight=case.weights
                    ),
                ]
            )
    for one, other in zip(*found, strict=True):
        for name in names:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_no_scheduler_shows(blobs, labels, scheduler):
    rows = da.from_array(blobs, chunks=(61, 3))
    found = metrics.labelled_rows.metrics_of_labels(
        rows, da.from_array(labels, chunks=100), list(METRICS)
    )
    wanted = metrics.labelled_rows.metrics_of_labels(blobs, labels, list(METRICS))
    for name in METRICS:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


@pytest.mark.parametrize("name", ["squared_euclidean_silhouette", "cosine_silhouette"])
def test_weights_scale_nothing_in_silhouettes(name, blobs, labels):
    weights = np.random.default_rng(1).integers(1, 4, len(blobs)).astype(float)
    function = getattr(metrics, f"{name}_score")
    one = function(blobs, labels, sample_weight=weights)
    assert function(blobs, labels, sample_weight=4 * weights) == one
    assert one != function(blobs, labels)


def test_weight_two_is_the_row_twice(blobs, labels):
    """Spark's silhouettes leave a row's whole weight out, and differ."""
    counts = np.random.default_rng(2).integers(0, 3, len(blobs))
    names = [name for name in EVERY if "_euclidean" not in name and "cosine" not in name]
    judge = metrics.labelled_rows.metrics_of_labels
    weighted = judge(blobs, labels, names, sample_weight=counts)
    repeated = judge(np.repeat(blobs, counts, axis=0), np.repeat(labels, counts), names)
    for name in names:
        kept = np.asarray(weighted[name])
        # Without rows a cluster has a place among those by weights only.
        kept = kept[weighted["sizes"] > 0] if kept.ndim else kept
        np.testing.assert_allclose(kept, repeated[name], rtol=1e-9, atol=1e-12, err_msg=name)


class TestPasses:
    def test_models_and_metrics_share_passes(self, blobs):
        models = [KMeans(k, n_init=1, random_state=0).fit(blobs) for k in (2, 3, 4)]
        with counted_passes() as passes:
            found = metrics.evaluate(models, blobs, list(METRICS))
        assert passes.total() == 3
        assert [found[name][1] for name in EVERY[:4]] == [
            metrics.evaluate(models[1], blobs, [name])[name] for name in EVERY[:4]
        ]
        assert [len(sizes) for sizes in found["sizes"]] == [2, 3, 4]

    @pytest.mark.parametrize("names", [["inertia", "simplified_silhouette"], ["sizes"]])
    def test_those_to_the_centers_take_one(self, names, blobs):
        model = KMeans(3, n_init=1, random_state=0).fit(blobs)
        with counted_passes() as passes:
            metrics.evaluate(model, blobs, names)
        assert passes.total() == 1


class TestModels:
    def test_mapping_and_scikit_learns_models(self, blobs):
        models = {k: ScikitLearnKMeans(k, n_init=1, random_state=0).fit(blobs) for k in (2, 5)}
        found = metrics.evaluate(models, blobs, ["inertia"])["inertia"]
        np.testing.assert_allclose(found, [model.inertia_ for model in models.values()], rtol=1e-12)

    def test_one_cluster_has_no_silhouette(self, blobs):
        found = metrics.evaluate(KMeans(1, n_init=1).fit(blobs), blobs, EVERY)
        undefined = {name for name in EVERY if np.isnan(found[name]).any()}
        assert undefined == set(EVERY) - {"inertia", "sizes", "spreads"}


class TestInputs:
    def test_frames_of_unknown_sizes(self, blobs, labels):
        import dask.dataframe as dd

        whole = pd.DataFrame(blobs, columns=list("abcde")).assign(label=labels)
        frame = dd.from_pandas(whole, npartitions=3)
        found = metrics.davies_bouldin_score(frame[list("abcde")], frame["label"])
        assert found == metrics.davies_bouldin_score(blobs, labels)

    def test_labels_of_text(self, blobs, labels):
        named = np.array([f"cluster {label}" for label in labels])
        assert metrics.inertia(blobs, named) == metrics.inertia(blobs, labels)

    def test_lazy_labels_of_a_fit(self, blobs):
        rows = da.from_array(blobs, chunks=(100, 5))
        model = KMeans(3, n_init=1, random_state=0).fit(rows)
        sizes = metrics.cluster_sizes(rows, model.labels_)
        np.testing.assert_array_equal(sizes, np.bincount(model.labels_.compute()))

    def test_sample_of_a_seed(self, blobs, labels):
        found = [
            metrics.silhouette_score(blobs, labels, sample_size=50, random_state=seed)
            for seed in (0, 0, 1)
        ]
        assert found[0] == found[1] != found[2]


class TestErrors:
    @pytest.mark.parametrize(
        ("labels", "text"),
        [
            (np.zeros(306, int), "306 labels, and there are 307 rows"),
            (np.zeros((307, 1), int), r"shape \(307, 1\), expected one label a row"),
            (np.full(307, np.nan), "labels contains NaN"),
            (da.zeros(306, dtype=int), r"labels.shape == \(306,\), expected \(307,\): one label"),
            (da.zeros(307, dtype=float), "have to be integers"),
            (da.full(307, 2**25), "goes beyond 16,777,216"),
            (da.arange(307) * 10_000, "labels go from 0 to 3,060,000, and may span 1,048,576"),
        ],
    )
    def test_labels(self, labels, text, blobs):
        with pytest.raises(RowsError, match=text):
            metrics.inertia(blobs, labels)

    @pytest.mark.parametrize("labels", [np.zeros(307, int), np.arange(307)])
    def test_too_few_or_too_many_clusters(self, labels, blobs):
        for name in ("davies_bouldin", "silhouette", "simplified_silhouette"):
            with pytest.raises(RowsError, match="from 2 clusters to one fewer than rows"):
                getattr(metrics, f"{name}_score")(blobs, labels)

    def test_row_of_zeros_has_no_direction(self, blobs, labels):
        blobs[201] = 0
        rows = da.from_array(blobs, chunks=(100, 5))
        with pytest.raises(RowsError, match=r"row 201 \(row 1 of block 2\) are zero"):
            metrics.cosine_silhouette_score(rows, labels)

    def test_not_finite(self, blobs, labels):
        blobs[201, 3] = np.nan
        with pytest.raises(RowsError, match="NaN: block 0, row 201"):
            metrics.davies_bouldin_score(blobs, labels)

    def test_evaluate(self, blobs):
        model = KMeans(3, n_init=1, random_state=0).fit(blobs)
        with pytest.raises(ValueError, match="metrics holds 'elbow'; known are 'inertia'"):
            metrics.evaluate(model, blobs, ["elbow"])
        with pytest.raises(TypeError, match=r"pass \['inertia'\]"):
            metrics.evaluate(model, blobs, "inertia")
        with pytest.raises(ValueError, match="takes no sample_weight"):
            metrics.evaluate(model, blobs, ["silhouette"], sample_weight=np.ones(307))
        with pytest.raises(ValueError, match="from 2 to 10,000"):
            metrics.evaluate(model, blobs, ["silhouette"], sample_size=20_000)
        with pytest.raises(ValueError, match="models is empty"):
            metrics.evaluate([], blobs)
        with pytest.raises(NotFittedError):
            metrics.evaluate([model, KMeans(2)], blobs)
        other = KMeans(3, n_init=1, random_state=0).fit(blobs[:, :2])
        with pytest.raises(ValueError, match="centers of 5 and of 2 features"):
            metrics.evaluate([model, other], blobs)
