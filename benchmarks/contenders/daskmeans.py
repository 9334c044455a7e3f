"""This package: a NumPy array in, as scikit-learn gets it."""

from __future__ import annotations

from typing import Any

import dask
from numpy.typing import NDArray

from contenders import Fitted, Work
from daskmeans import KMeans

PACKAGES = ("daskmeans", "dask", "numba", "numpy")
DTYPES = ("float32", "float64")
HAS_TOLERANCE = True


def prepare(rows: NDArray[Any], n_threads: int) -> NDArray[Any]:
    dask.config.set(scheduler="threads", num_workers=n_threads)
    return rows


def fit(rows: NDArray[Any], centers: NDArray[Any], work: Work, n_threads: int) -> Fitted:
    model = KMeans(
        len(centers),
        init=centers,
        n_init=1,
        max_iter=work.max_iter,
        tol=work.tol,
        algorithm="auto" if work.prune else "lloyd",
    )
    model.fit(rows)
    return Fitted(model.cluster_centers_, model.n_iter_)
