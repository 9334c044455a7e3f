"""X and sample_weight as a user passes them, checked by scikit-learn's rules, with its wording."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from daskmeans.algorithms.survey import block_sizes
from daskmeans.blocks.block import check_dtype
from daskmeans.blocks.inputs import (
    ArrayLike,
    as_dask_array,
    column_names,
    is_lazy,
    row_source,
    with_weights,
)
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import CSRRows, is_sparse
from daskmeans.passes.persist import Persist
from daskmeans.passes.runner import Runner
from daskmeans.passes.schedulers import thread_count
from daskmeans.typing import Array


def stays_in_place(X: ArrayLike) -> bool:
    """Tell whether rows are read block by block from where they are, a memory map included."""
    return is_lazy(X) or isinstance(X, np.memmap)


def check_rows(
    estimator: BaseEstimator, X: ArrayLike, *, reset: bool, accept_sparse: bool = True
) -> ArrayLike:
    """Check shape, dtype and feature names of X; return rows to read.

    Rows in memory come back in C order, or as CSRRows if they are sparse, of whatever format.

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
    if not stays_in_place(X):
        if isinstance(X, CSRRows):
            X = X.to_scipy()
        elif is_sparse(X) and hasattr(X, "to_scipy_sparse"):
            X = X.to_scipy_sparse()
        checked = validate_data(
            estimator,
            X,
            reset=reset,
            order="C",
            ensure_all_finite=False,
            accept_sparse="csr" if accept_sparse else False,
        )
        if is_sparse(checked):
            return CSRRows.of(checked)
        return checked if checked.dtype.isnative else checked.astype(checked.dtype.newbyteorder())
    source = row_source(X)
    columns = column_names(X) if hasattr(X, "columns") else None
    if columns is not None:
        _check_columns(estimator, list(columns), reset=reset)
    if reset:
        estimator.n_features_in_ = source.n_features
        if columns is None and hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif source.n_features != estimator.n_features_in_:
        raise RowsError(
            f"X has {source.n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    return X


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


def in_one_block(rows: ArrayLike) -> da.Array:
    """Return checked rows in memory as a dask array; sparse ones with a single block."""
    if isinstance(rows, CSRRows):
        matrix = rows.to_scipy()
        return da.from_array(matrix, chunks=matrix.shape, asarray=False)
    return da.from_array(rows)


def open_rows(
    estimator: BaseEstimator,
    X: ArrayLike,
    sample_weight: ArrayLike | None,
    *,
    reset: bool,
    persist: Persist = False,
) -> Runner:
    """Return a runner of passes over checked rows and aligned weights.

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
    return Runner(source, persist=persist)


def check_initial_centers(init: ArrayLike, n_clusters: int, n_features: int) -> Array:
    """Return initial centers as a float64 array of shape (n_clusters, n_features).

    Raises
    ------
    ValueError
        If the shape differs or a value is not finite.
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
    return centers
