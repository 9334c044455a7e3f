"""dask-ml on a persisted dask array of two chunks a thread.

Of a run that stops early it returns the centers before the last; with tolerance 0 it never
stops early. Its `labels_` stay lazy: no assignment to the last centers but that for `inertia_`.
"""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
from dask_ml.cluster import KMeans
from numpy.typing import NDArray

from contenders import Fitted, Work

PACKAGES = ("dask-ml", "dask", "scikit-learn", "numba", "numpy")
DTYPES = ("float32", "float64")
HAS_TOLERANCE = False


def prepare(rows: NDArray[Any], n_threads: int) -> da.Array:
    dask.config.set(scheduler="threads", num_workers=n_threads)
    chunk_rows = -(-len(rows) // (2 * n_threads))
    return da.from_array(rows, chunks=(chunk_rows, -1)).persist()


def fit(rows: da.Array, centers: NDArray[Any], work: Work, n_threads: int) -> Fitted:
    model = KMeans(len(centers), init=centers, max_iter=work.max_iter, tol=0)
    model.fit(rows)
    return Fitted(model.cluster_centers_, model.n_iter_)
