"""X and sample_weight as a user passes them, checked by scikit-learn's rules, with its wording."""

from __future__ import annotations

import os
from typing import Any

import dask
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from daskmeans.algorithms.assignment import CenterSet, model_shift
from daskmeans.algorithms.spherical import unit_centers
from daskmeans.algorithms.survey import block_sizes
from daskmeans.blocks.block import check_dtype
from daskmeans.blocks.directions import with_directions
from daskmeans.blocks.inputs import (
    ArrayLike,
    as_dask_array,
    column_names,
    count_features,
    is_lazy,
    not_numbers,
    row_source,
    with_weights,
)
from daskmeans.blocks.source import RowSource
from daskmeans.errors import RowsError
from daskmeans.passes.persist import Persist
from daskmeans.passes.runner import Runner
from daskmeans.passes.schedulers import thread_count, thread_pool
from daskmeans.typing import Array, Metric


def stays_in_place(X: ArrayLike) -> bool:
    """Tell whether rows are read block by block from where they are, a memory map included."""
    return is_lazy(X) or isinstance(X, np.memmap)


def check_rows(estimator: BaseEstimator, X: ArrayLike, *, reset: bool) -> ArrayLike:
    """Check shape, dtype and feature names of X; return rows to read, in C order if in memory.

    NaN and infinity are not looked for here: the pass that reads the rows finds them.

    Raises
    ------
    ValueError, TypeError
        With scikit-learn's wording where it has one.
    """
    if np.ma.is_masked(X):
        raise RowsError(
            "X has masked values. k-means needs a value everywhere: fill or drop such rows first."
        )
    if isinstance(X, (str, os.PathLike)):
        raise RowsError(
            f"X is a path, not rows: pass daskmeans.open_rows({os.fspath(X)!r}), which reads "
            "nothing yet."
        )
    if not stays_in_place(X):
        try:
            checked = validate_data(
                estimator, X, reset=reset, order="C", ensure_all_finite=False, accept_sparse=False
            )
            check_dtype(checked.dtype)
        except (TypeError, ValueError) as error:
            if names := _columns_without_numbers(X):
                raise not_numbers(names) from error
            raise
        return checked if checked.dtype.isnative else checked.astype(checked.dtype.newbyteorder())
    n_features = count_features(X)
    columns = column_names(X) if hasattr(X, "columns") else None
    if columns is not None:
        _check_columns(estimator, list(columns), reset=reset)
    if reset:
        estimator.n_features_in_ = n_features
        if columns is None and hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif n_features != estimator.n_features_in_:
        raise RowsError(
            f"X has {n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    return X


def _columns_without_numbers(X: ArrayLike) -> list[str]:
    """Return the columns of a pandas DataFrame that are no numbers and cannot be read as such."""
    if not (hasattr(X, "columns") and hasattr(X, "items")):
        return []
    return [str(name) for name, column in X.items() if not _holds_numbers(column)]


def _holds_numbers(column: Any) -> bool:
    if column.dtype.kind in "mM":
        return False
    try:
        np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        # Missing values of extension dtypes do not convert; what such a dtype holds, it tells.
        return column.dtype.kind in "fiub"
    return True


def _check_columns(estimator: BaseEstimator, columns: list[str], *, reset: bool) -> None:
    if reset:
        estimator.feature_names_in_ = np.asarray(columns, dtype=object)
        return
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None and list(fitted) != columns:
        raise RowsError(
            "The feature names should match those that were passed during fit: "
            f"expected {list(fitted)}, got {columns}."
        )


def open_rows(
    estimator: BaseEstimator,
    X: ArrayLike,
    sample_weight: ArrayLike | None,
    *,
    reset: bool,
    persist: Persist = False,
) -> Runner:
    """Return a runner of passes over checked rows and aligned weights.

    If the estimator's `metric` is "cosine", the rows are divided by their lengths.

    Raises
    ------
    ValueError
        As `check_rows`; if there is not one weight a row.
    """
    rows = check_rows(estimator, X, reset=reset)
    source = row_source(
        rows, n_threads=thread_count(), feature_names=getattr(estimator, "feature_names_in_", None)
    )
    if sample_weight is not None:
        if source.sizes is None:
            source = source.with_sizes(block_sizes(Runner(source)))
        source = with_weights(source, sample_weight)
    return Runner(measured(source, metric_of(estimator)), persist=persist)


def center_set_of(model: Any, dtype: np.dtype[Any]) -> CenterSet:
    """Return the centers of a fitted model, which label rows of a dtype as its `predict` does."""
    own = getattr(model, "_center_set", None)
    if own is not None:
        found: CenterSet = own(dtype)
        return found
    centers = np.asarray(model.cluster_centers_, dtype=np.float64)
    return CenterSet.make(centers, model_shift(centers), dtype)


def metric_of(estimator: Any) -> Metric:
    """Return an estimator's `metric`; others than those of k-means have none."""
    metric: Metric = getattr(estimator, "metric", "euclidean")
    return metric


def measured(source: RowSource, metric: Metric) -> RowSource:
    """Return the source of rows as a metric takes them: divided by their lengths for "cosine".

    Raises
    ------
    ValueError
        If a row in memory is zero; of others the pass that reads it finds it.
    """
    if metric == "euclidean":
        return source
    n_threads = thread_count()
    return with_directions(source, thread_pool(n_threads).map if n_threads > 1 else map)


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
