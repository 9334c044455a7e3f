"""Extension for scikit-learn, which hands k-means to oneDAL.

oneDAL takes its threads from `n_jobs`, not from OMP_NUM_THREADS. Where it cannot do what is asked,
the extension falls back to scikit-learn without a word; a time taken then would be scikit-learn's.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from sklearnex.cluster import KMeans

from contenders import Fitted, Work

PACKAGES = ("scikit-learn-intelex", "daal", "scikit-learn", "numpy")
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
    model.set_params(n_jobs=n_threads).fit(rows)
    if not hasattr(model, "_onedal_estimator"):
        raise RuntimeError("fell back to scikit-learn: there is no oneDAL estimator after the fit")
    return Fitted(model.cluster_centers_, model.n_iter_)
