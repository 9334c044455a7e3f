"""X and sample_weight as a user passes them, checked by scikit-learn's rules, with its wording."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import dask.array as da
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from daskmeans.algorithms.survey import block_sizes
from daskmeans.blocks.block import check_dtype
from daskmeans.blocks.directions import with_directions
from daskmeans.blocks.inputs import (
    ArrayLike,
    column_names,
    count_features,
    has_sparse_blocks,
    is_lazy,
    not_numbers,
    row_source,
)
from daskmeans.blocks.source import RowSource
from daskmeans.blocks.spark_rows import SparkRows, is_spark, spark_rows
from daskmeans.blocks.weights import with_weights
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import CSRRows, is_sparse
from daskmeans.passes.persist import Persist
from daskmeans.passes.runner import Runner
from daskmeans.passes.schedulers import thread_count, thread_pool
from daskmeans.passes.spark import SparkRunner
from daskmeans.typing import Metric


def stays_in_place(X: ArrayLike) -> bool:
    """Tell whether rows are read block by block from where they are, a memory map included."""
    return is_lazy(X) or isinstance(X, np.memmap)


def check_rows(estimator: BaseEstimator, X: ArrayLike, *, reset: bool) -> ArrayLike:
    """Check shape, dtype and feature names of X; return rows to read.

    Rows in memory come back in C order, or as CSRRows if they are sparse, of whatever format: where
    the estimator's tags say that it takes such.

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
    accepts_sparse = get_tags(estimator).input_tags.sparse
    if not stays_in_place(X):
        return _checked_in_memory(estimator, X, reset, accepts_sparse)
    if has_sparse_blocks(X) and not accepts_sparse:
        raise RowsError(
            f"X is sparse, and {type(estimator).__name__} takes dense rows. Reduce the rows first, "
            "by scikit-learn's TruncatedSVD, or make blocks that fit dense: "
            "X.map_blocks(lambda block: block.toarray())."
        )
    n_features = count_features(X)
    columns = column_names(X) if hasattr(X, "columns") else None
    if columns is not None:
        _check_columns(estimator, list(columns), reset=reset)
    if reset:
        estimator.n_features_in_ = n_features
        if columns is None and hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    else:
        _check_n_features(estimator, n_features)
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


def _checked_in_memory(
    estimator: BaseEstimator, X: ArrayLike, reset: bool, accepts_sparse: bool
) -> ArrayLike:
    if isinstance(X, CSRRows):
        X = X.to_scipy()
    elif is_sparse(X) and hasattr(X, "to_scipy_sparse"):
        X = X.to_scipy_sparse()
    try:
        checked = validate_data(
            estimator,
            X,
            reset=reset,
            order="C",
            ensure_all_finite=False,
            accept_sparse="csr" if accepts_sparse else False,
        )
        check_dtype(checked.dtype)
    except (TypeError, ValueError) as error:
        if names := _columns_without_numbers(X):
            raise not_numbers(names) from error
        raise
    if is_sparse(checked):
        return CSRRows.of(checked)
    return checked if checked.dtype.isnative else checked.astype(checked.dtype.newbyteorder())


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


@contextmanager
def runner_over(
    estimator: BaseEstimator,
    X: ArrayLike,
    sample_weight: ArrayLike | None,
    *,
    reset: bool,
    persist: Persist = False,
) -> Iterator[Runner | SparkRunner]:
    """Context of a runner of passes over checked rows and aligned weights.

    If the estimator's `metric` is "cosine", the rows are divided by their lengths.
    Of a Spark DataFrame `sample_weight` is the name of a column. Spark keeps its rows until the
    context ends, and their workers with them: an error that somebody looks at holds neither.

    Raises
    ------
    ValueError
        As `check_rows`; if there is not one weight a row.
    """
    if not is_spark(X):
        yield dask_runner_over(estimator, X, sample_weight, reset=reset, persist=persist)
        return
    frame = as_spark_rows(X, sample_weight, None if reset else estimator)
    with closing(SparkRunner(frame, metric_of(estimator))) as run:
        if run.source.sparse and not get_tags(estimator).input_tags.sparse:
            raise RowsError(
                f"X has sparse vectors, and {type(estimator).__name__} takes dense rows: convert "
                "them, for instance by pyspark.ml.functions.vector_to_array."
            )
        _check_features(estimator, run.source, frame, reset=reset)
        yield run


def dask_runner_over(
    estimator: BaseEstimator,
    X: ArrayLike,
    sample_weight: ArrayLike | None,
    *,
    reset: bool,
    persist: Persist = False,
) -> Runner:
    """Return a runner as `runner_over`, for rows that a dask scheduler or this process reads.

    Raises
    ------
    ValueError
        As `runner_over`; for a Spark DataFrame.
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


def as_spark_rows(
    X: ArrayLike,
    sample_weight: ArrayLike | None = None,
    fitted: BaseEstimator | None = None,
) -> SparkRows:
    """Return the columns of a Spark DataFrame that are meant, weights by their column's name.

    Where nobody chose, those of the fit by their names, or all numeric ones.

    Raises
    ------
    RowsError
        As `spark_rows`; for weights that are no column of the DataFrame.
    """
    if sample_weight is not None and not isinstance(sample_weight, str):
        raise RowsError(
            "sample_weight has to be the name of a column of the Spark DataFrame, since nothing "
            f"else is known to be in the order of its rows; it is a {type(sample_weight).__name__}."
        )
    if not isinstance(X, SparkRows):
        names = getattr(fitted, "feature_names_in_", None)
        return spark_rows(X, None if names is None else list(names), weight=sample_weight)
    if sample_weight is None:
        return X
    return spark_rows(X.frame, X.features, weight=sample_weight, id=X.id, missing=X.missing)


def check_named(estimator: BaseEstimator, rows: SparkRows) -> None:
    """Raise if columns of a Spark DataFrame are not those of a fit, as far as names tell.

    Raises
    ------
    RowsError
    """
    if rows.named:
        _check_columns(estimator, list(rows.features), reset=False)
        _check_n_features(estimator, len(rows.features))


def _check_features(
    estimator: BaseEstimator, source: RowSource, frame: SparkRows, *, reset: bool
) -> None:
    if frame.named:
        _check_columns(estimator, list(frame.features), reset=reset)
    elif reset and hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_
    if reset:
        estimator.n_features_in_ = source.n_features
    else:
        _check_n_features(estimator, source.n_features)


def _check_n_features(estimator: BaseEstimator, n_features: int) -> None:
    if n_features != estimator.n_features_in_:
        raise RowsError(
            f"X has {n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )


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
