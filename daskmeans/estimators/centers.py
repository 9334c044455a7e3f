"""Centers as a user gives them to a fit, and as a fitted model has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dask
import numpy as np
from sklearn.base import BaseEstimator

from daskmeans.algorithms.assignment import CenterSet, model_shift
from daskmeans.algorithms.kmeans import Init
from daskmeans.algorithms.spherical import unit_centers
from daskmeans.blocks.block import check_dtype
from daskmeans.blocks.inputs import ArrayLike, as_dask_array, is_lazy
from daskmeans.typing import Array, Metric


def init_of(estimator: BaseEstimator, X: ArrayLike) -> Init:
    """Return an estimator's `init` as seeding takes it, where `n_features_in_` is known.

    A name as it is, an array checked, and of a function one that makes checked centers of X.

    Raises
    ------
    ValueError
        As `check_initial_centers`.
    """
    init: Any = estimator.init
    if isinstance(init, str):
        name: str = init
        return name
    if callable(init):
        return partial(centers_by, estimator, init, X)
    return check_initial_centers(
        init, estimator.n_clusters, estimator.n_features_in_, estimator.metric
    )


def centers_by(
    estimator: BaseEstimator,
    function: Callable[..., ArrayLike],
    X: ArrayLike,
    n_clusters: int,
    random_state: np.random.RandomState,
) -> Array:
    """Return the initial centers that a user's function makes, checked.

    Raises
    ------
    ValueError
        As `check_initial_centers`.
    """
    centers = function(X, n_clusters, random_state=random_state)
    return check_initial_centers(centers, n_clusters, estimator.n_features_in_, estimator.metric)


def check_initial_centers(
    init: ArrayLike, n_clusters: int, n_features: int, metric: Metric
) -> Array:
    """Return initial centers as a float64 array of shape (n_clusters, n_features).

    For "cosine" they are divided by their lengths.

    Raises
    ------
    ValueError
        If the shape differs, a value is not finite, or one that is to be divided is zero.
    """
    if is_lazy(init):
        (init,) = dask.compute(as_dask_array(init))
    given = np.asarray(init)
    check_dtype(given.dtype, "init")
    centers = np.array(given, dtype=np.float64, order="C")
    if centers.ndim != 2 or centers.shape[0] != n_clusters:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not match the number of "
            f"clusters {n_clusters}."
        )
    if centers.shape[1] != n_features:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not match the number of "
            f"features of the data {n_features}."
        )
    if not np.isfinite(centers).all():
        row, column = np.argwhere(~np.isfinite(centers))[0]
        raise ValueError(
            f"Input init contains NaN or infinity: center {row}, column {column}. "
            "Initial centers must be finite."
        )
    return unit_centers(centers) if metric == "cosine" else centers


def center_set_of(model: Any) -> CenterSet:
    """Return the centers of a fitted model, which label rows as its `predict` does."""
    # Those of a tree lead rows down; a model of another package has `cluster_centers_` alone.
    own = getattr(model, "_center_set", None)
    found: CenterSet = nearest_of(model.cluster_centers_) if own is None else own()
    return found


def nearest_of(centers: Array) -> CenterSet:
    """Return centers of shape (k, d) of which a row belongs to the nearest."""
    wide = np.asarray(centers, dtype=np.float64)
    return CenterSet.make(wide, model_shift(wide))
