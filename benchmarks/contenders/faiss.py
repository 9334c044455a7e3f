"""faiss, with its limits on points per cluster lifted: by default it fits a sample of 256 k rows.

It computes in float32 only. It assigns, then updates, so that `n_iter` iterations make `n_iter`
updates; there is no assignment to the last centers. It stops early once its objective stays
equal, and `iteration_stats` tells. The wheel brings an OpenBLAS of its own, which need not
choose the same kernel as NumPy's: the report names it.
"""

from __future__ import annotations

from typing import Any

import faiss
from numpy.typing import NDArray

from contenders import Fitted, Work

PACKAGES = ("faiss-cpu", "numpy")
DTYPES = ("float32",)
HAS_TOLERANCE = False


def prepare(rows: NDArray[Any], n_threads: int) -> NDArray[Any]:
    faiss.omp_set_num_threads(n_threads)
    return rows


def fit(rows: NDArray[Any], centers: NDArray[Any], work: Work, n_threads: int) -> Fitted:
    model = faiss.Kmeans(
        rows.shape[1],
        len(centers),
        niter=work.max_iter,
        nredo=1,
        verbose=False,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    model.train(rows, init_centroids=centers)
    return Fitted(model.centroids, len(model.iteration_stats))
