"""scikit-learn's Lloyd.

It stops before `max_iter` once no label changes, even with tolerance 0: `n_iter_` tells. Threads
come from OMP_NUM_THREADS. A fit holds one assignment more than it has iterations, which makes
the labels belong to the last centers.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from sklearn.cluster import KMeans

from contenders import Fitted, Work

PACKAGES = ("scikit-learn", "scipy", "numpy")
DTYPES = ("float32", "float64")
HAS_TOLERANCE = True


def prepare(rows: NDArray[Any], n_threads: int) -> NDArray[Any]:
    return rows


def fit(rows: NDArray[Any], centers: NDArray[Any], work: Work, n_threads: int) -> Fitted:
    model = KMeans(
        len(centers),
        init=centers,
        n_init=1,
        max_iter=work.max_iter,
        tol=work.tol,
        algorithm="lloyd",
    )
    model.fit(rows)
    return Fitted(model.cluster_centers_, model.n_iter_)
