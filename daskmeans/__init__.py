"""k-means on dask arrays and Zarr stores of any size, with scikit-learn's interface and answers."""

import importlib
from typing import TYPE_CHECKING, Any

from daskmeans.algorithms.watch import IterationState
from daskmeans.estimators.bisecting import BisectingKMeans
from daskmeans.estimators.functions import k_means, kmeans_parallel, kmeans_plusplus
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.minibatch import MiniBatchKMeans
from daskmeans.estimators.saving import load
from daskmeans.version import __version__

if TYPE_CHECKING:
    from daskmeans import datasets, metrics, plots, preprocessing, spark  # noqa: F401
    from daskmeans.edges.onnx_graph import to_onnx
    from daskmeans.edges.pipeline import cluster_rows
    from daskmeans.edges.progress import progress_bar
    from daskmeans.edges.sources import open_rows
    from daskmeans.edges.stream import StreamStep, stream
    from daskmeans.edges.upload import upload_to
    from daskmeans.edges.xarray_rows import xarray_rows
    from daskmeans.edges.zarr_output import write_zarr
    from daskmeans.estimators.sweep import sweep

__all__ = [
    "BisectingKMeans",
    "IterationState",
    "KMeans",
    "MiniBatchKMeans",
    "StreamStep",
    "__version__",
    "cluster_rows",
    "k_means",
    "kmeans_parallel",
    "kmeans_plusplus",
    "load",
    "open_rows",
    "progress_bar",
    "stream",
    "sweep",
    "to_onnx",
    "upload_to",
    "write_zarr",
    "xarray_rows",
]

# Not before they are asked for: zarr is a tenth of a second that a fit of an array does without.
_LAZY = {
    "StreamStep": "daskmeans.edges.stream",
    "cluster_rows": "daskmeans.edges.pipeline",
    "open_rows": "daskmeans.edges.sources",
    "progress_bar": "daskmeans.edges.progress",
    "stream": "daskmeans.edges.stream",
    "sweep": "daskmeans.estimators.sweep",
    "to_onnx": "daskmeans.edges.onnx_graph",
    "upload_to": "daskmeans.edges.upload",
    "write_zarr": "daskmeans.edges.zarr_output",
    "xarray_rows": "daskmeans.edges.xarray_rows",
}
_LAZY_MODULES = ("datasets", "metrics", "plots", "preprocessing", "spark")


if not TYPE_CHECKING:  # a type checker would take it that every name is there

    def __getattr__(name: str) -> Any:
        if name in _LAZY_MODULES:
            return importlib.import_module(f"daskmeans.{name}")
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
