"""A user's program, in which a strict type checker finds nothing wrong."""

from pathlib import Path
from typing import Any, assert_type

import dask.array as da
import numpy as np
from numpy.typing import NDArray

import daskmeans
from daskmeans import BisectingKMeans, IterationState, KMeans, MiniBatchKMeans, metrics
from daskmeans.datasets import make_blobs
from daskmeans.errors import DaskMeansError, RowsError
from daskmeans.preprocessing import Preprocessor, numeric_columns, put_back


def good_enough(state: IterationState) -> bool:
    return state.inertia < 1.0 and state.iteration > 2


def cluster(rows: NDArray[np.float32], folder: Path) -> int:
    model = KMeans(3, init="k-means||", random_state=0, persist=False)
    assert_type(model.fit(rows, callback=good_enough, checkpoint=folder / "checkpoint"), KMeans)
    assert_type(model.inertia_, float)
    assert_type(model.converged_, bool)
    assert_type(model.score(rows), float)
    model.save(folder / "model", overwrite=True)
    assert_type(KMeans.resume(folder / "checkpoint", rows), KMeans)
    daskmeans.load(str(folder / "model")).predict(rows)
    tree = BisectingKMeans(3).fit(rows)
    assert_type(tree, BisectingKMeans)
    assert_type(tree.inertia_, float)
    assert_type(tree.cluster_sizes_, NDArray[Any])
    assert_type(KMeans.from_sklearn(model.to_sklearn()), KMeans)
    return model.n_iter_


def cluster_a_store(path: str) -> None:
    rows = daskmeans.open_rows(path, storage_options={"anon": True})
    with daskmeans.progress_bar():
        labels = KMeans(n_clusters=8).fit(rows, sample_weight=None).labels_
    daskmeans.write_zarr(labels, "labels.zarr", overwrite=True)


def make() -> da.Array:
    rows, labels = make_blobs(1_000, 4, centers=3, return_labels=True)
    assert len(rows) == len(labels)
    return make_blobs(1_000, 4, centers=3, chunks=100)


def follow(folder: str) -> str:
    model = MiniBatchKMeans(5, half_life=10.0, time_unit="rows")
    assert_type(model.partial_fit(np.ones((10, 2))), MiniBatchKMeans)
    assert_type(model.n_steps_, int)
    assert_type(model.score(np.ones((10, 2))), float)
    return daskmeans.stream(model, folder, n_batches=3, on_bad="skip").reason


def choose(rows: da.Array) -> int | None:
    found = daskmeans.sweep(rows, range(2, 9), metrics=["davies_bouldin"], random_state=0)
    assert_type(found.models[3], KMeans)
    assert_type(metrics.davies_bouldin_score(rows, found.models[3]), float)
    return found.elbow


def cluster_a_table(path: str) -> int:
    try:
        found = daskmeans.cluster_rows(path, k=5, report=None)
    except RowsError as error:
        raise SystemExit(str(error)) from error
    except DaskMeansError:
        return 0
    prepare = Preprocessor(outliers=3.0).fit(found.centers)
    put_back(found.labels, prepare.kept(found.centers))
    return len(numeric_columns(found.centers))


def as_functions(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    centers, _labels, _inertia = daskmeans.k_means(rows, 2)
    seeds, _numbers = daskmeans.kmeans_plusplus(rows, 2)
    assert_type(daskmeans.__version__, str)
    return np.stack([centers, seeds, daskmeans.kmeans_parallel(rows, 2)])
