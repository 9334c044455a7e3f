"""What is timed on a Zarr store: each a function that sets up and returns what is timed.

A task lives in a process of its own, so that a peer may live in an environment of its own and its
memory can be told apart. `out_of_core.py` is the other end.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import zarr
from zarr.storage import LocalStore

_LATENCY_S = 0.03


@dataclass(frozen=True)
class Setting:
    """What every task is given."""

    store: str
    n_clusters: int
    n_threads: int
    scratch: str

    def open(self, *, latency: bool = False) -> Any:
        store: Any = LocalStore(self.store, read_only=True)
        if latency:
            # Needs pytest, which an environment of a peer need not have.
            from zarr.testing.store import LatencyStore

            store = LatencyStore(store, get_latency=_LATENCY_S)
        return zarr.open_array(store, mode="r")

    def first_rows(self) -> Any:
        """Initial centers: rows of the first chunk, by no one's draw."""
        return np.array(self.open()[: self.n_clusters], dtype=np.float64)


Timed = Callable[[], dict[str, Any]]


def _chunk_slices(array: Any) -> list[slice]:
    step = array.chunks[0]
    return [slice(start, start + step) for start in range(0, array.shape[0], step)]


def _in_threads(function: Callable[[slice], Any], slices: list[slice], n_threads: int) -> None:
    with ThreadPoolExecutor(n_threads) as threads:
        list(threads.map(function, slices))


def read(setting: Setting, *, latency: bool = False) -> Timed:
    """Read the store with zarr alone."""
    array = setting.open(latency=latency)

    def timed() -> dict[str, Any]:
        _in_threads(lambda part: array[part] is None, _chunk_slices(array), setting.n_threads)
        return {}

    return timed


def copy(setting: Setting) -> Timed:
    """Copy the store with zarr alone."""
    array = setting.open()
    path = Path(setting.scratch) / "copy.zarr"

    def timed() -> dict[str, Any]:
        shutil.rmtree(path, ignore_errors=True)
        target = zarr.create_array(path, shape=array.shape, chunks=array.chunks, dtype=array.dtype)

        def copy_part(part: slice) -> None:
            target[part] = array[part]

        _in_threads(copy_part, _chunk_slices(array), setting.n_threads)
        return {}

    return timed


def _lloyd_pass(setting: Setting, rows: Any) -> Timed:
    """A Lloyd pass of ours, over a store or an array."""
    from daskmeans.algorithms.assignment import Assignment, CenterSet
    from daskmeans.algorithms.lloyd import LloydParameters, lloyd_chunk
    from daskmeans.algorithms.survey import survey
    from daskmeans.blocks.inputs import row_source
    from daskmeans.passes.plan import Pass
    from daskmeans.passes.runner import Runner

    run = Runner(row_source(rows, n_threads=setting.n_threads))
    surveyed = survey(run, setting.n_clusters, 0)
    centers = CenterSet.make(setting.first_rows(), surveyed.shift)
    step = Pass(
        "kmeans-assign",
        lloyd_chunk,
        LloydParameters((Assignment(centers),), surveyed.quantisation),
    )

    def timed() -> dict[str, Any]:
        run(step)
        return {}

    return timed


def our_pass(setting: Setting, *, latency: bool = False) -> Timed:
    return _lloyd_pass(setting, setting.open(latency=latency))


def our_pass_in_memory(setting: Setting) -> Timed:
    return _lloyd_pass(setting, setting.open()[:])


def dask_ml_pass(setting: Setting) -> Timed:
    """An iteration of dask-ml: of two runs, of one iteration and of two, the difference."""
    import dask.array as da
    from dask_ml.cluster import KMeans

    rows = da.from_zarr(setting.open())
    centers = setting.first_rows().astype(rows.dtype)

    def seconds(n_iter: int) -> float:
        start = time.perf_counter()
        KMeans(setting.n_clusters, init=centers, max_iter=n_iter, tol=0).fit(rows)
        return time.perf_counter() - start

    return lambda: {"seconds": -seconds(1) + seconds(2)}


def our_seeding(setting: Setting) -> Timed:
    """The first pass, and the clustering of its sample."""
    from daskmeans.algorithms.refine import racers, refined_centers
    from daskmeans.algorithms.survey import survey
    from daskmeans.blocks.inputs import row_source
    from daskmeans.passes.runner import Runner

    source = row_source(setting.open())

    def timed() -> dict[str, Any]:
        k = setting.n_clusters
        surveyed = survey(Runner(source), k, 0)
        refined_centers(surveyed, k, racers(k), np.random.RandomState(0))
        return {}

    return timed


def dask_ml_seeding(setting: Setting) -> Timed:
    """Two rounds of dask-ml's k-means||."""
    import dask.array as da
    from dask_ml.cluster.k_means import k_init

    rows = da.from_zarr(setting.open())

    def timed() -> dict[str, Any]:
        k_init(rows, setting.n_clusters, init="k-means||", random_state=0, max_iter=2)
        return {}

    return timed


def our_fit(setting: Setting, **limits: Any) -> Timed:
    """A whole fit that ends by a limit to its passes or their gain."""
    from daskmeans import KMeans

    rows = setting.open()

    def timed() -> dict[str, Any]:
        model = KMeans(setting.n_clusters, persist=False, random_state=0, **limits).fit(rows)
        return {"centers": model.cluster_centers_.tolist(), "n_passes": model.n_passes_}

    return timed


def minibatch_loop(setting: Setting, **options: Any) -> Timed:
    """One epoch of scikit-learn's MiniBatchKMeans over the chunks."""
    from sklearn.cluster import MiniBatchKMeans

    array = setting.open()

    def timed() -> dict[str, Any]:
        model = MiniBatchKMeans(setting.n_clusters, random_state=0, **options)
        for part in _chunk_slices(array):
            model.partial_fit(array[part])
        return {"centers": model.cluster_centers_.tolist()}

    return timed


def our_epoch(setting: Setting) -> Timed:
    """One epoch of our MiniBatchKMeans, a chunk a batch."""
    from daskmeans import MiniBatchKMeans

    array = setting.open()

    def timed() -> dict[str, Any]:
        model = MiniBatchKMeans(
            setting.n_clusters,
            batch_size=array.chunks[0],
            init_size=3 * 1024,
            max_iter=1,
            max_no_improvement=None,
            compute_labels=False,
            random_state=0,
        ).fit(array)
        return {"centers": model.cluster_centers_.tolist()}

    return timed


def our_predict(setting: Setting) -> Timed:
    """Labels of all rows into a new Zarr store."""
    from daskmeans import KMeans
    from daskmeans.edges.zarr_output import write_zarr

    rows = setting.open()
    model = KMeans(setting.n_clusters, init=setting.first_rows(), max_iter=1).fit(rows[:100_000])
    path = Path(setting.scratch) / "labels.zarr"

    def timed() -> dict[str, Any]:
        shutil.rmtree(path, ignore_errors=True)
        write_zarr(model.predict(rows), path)
        return {}

    return timed


TASKS: dict[str, Callable[[Setting], Timed]] = {
    "read": read,
    "read-latency": lambda setting: read(setting, latency=True),
    "copy": copy,
    "pass": our_pass,
    "pass-latency": lambda setting: our_pass(setting, latency=True),
    "pass-in-memory": our_pass_in_memory,
    "seeding": our_seeding,
    "fit": lambda setting: our_fit(setting, rtol=1e-3),
    "fit-of-2-passes": lambda setting: our_fit(setting, max_passes=2),
    "predict": our_predict,
    "dask-ml-pass": dask_ml_pass,
    "dask-ml-seeding": dask_ml_seeding,
    "minibatch-loop": lambda setting: minibatch_loop(setting, n_init=3),
    # Without labels of each batch, which nobody asked for.
    "batches-loop": lambda setting: minibatch_loop(setting, compute_labels=False),
    "epoch": our_epoch,
}


def _serve(name: str, setting: Setting) -> None:
    # Answers keep the pipe to themselves: what a library prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    dask.config.set(scheduler="threads", num_workers=setting.n_threads)
    timed = TASKS[name](setting)

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    answer(ready=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        result = timed()
        answer(**{"seconds": time.perf_counter() - start, **result})


if __name__ == "__main__":
    _serve(sys.argv[1], Setting(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
