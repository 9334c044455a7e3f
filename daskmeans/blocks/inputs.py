"""Make a row source of whatever was passed as X."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import dask
import dask.array as da
import numpy as np
from dask.task_spec import TaskRef

from daskmeans.blocks.block import check_dtype
from daskmeans.blocks.hdf5 import HDF5Dataset
from daskmeans.blocks.source import Key, RowRange, RowSource
from daskmeans.blocks.spark_rows import is_spark
from daskmeans.blocks.stored_rows import StoredRows, slabs
from daskmeans.blocks.stores import MemoryMap, block_unit
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import CSRRows, is_sparse

ArrayLike: TypeAlias = Any

# A block of an in-memory array: enough rows that a task outweighs its scheduling, few enough
# bytes that the last block of a pass does not keep one thread alone for long.
_BLOCK_BYTES = 1 << 20
_BLOCKS_A_THREAD = 4


def _package(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def is_lazy(rows: ArrayLike) -> bool:
    """Tell whether rows stay where they are: a collection of dask or Spark, or a store."""
    if is_spark(rows):
        return True
    if _package(rows) == "xarray":
        return is_lazy(as_stored(rows))
    stored = isinstance(rows, HDF5Dataset) or _package(rows) in ("zarr", "h5py")
    return stored or dask.is_dask_collection(rows)


def _check_2d(rows: Any) -> None:
    if rows.ndim != 2:
        raise RowsError(
            f"Expected 2D array, got {rows.ndim}D array instead: X has shape {rows.shape}. "
            "Reshape it to (rows, features): array.reshape(-1, 1) if it has a single feature."
        )
    if rows.shape[1] == 0:
        raise RowsError(
            f"Found array with 0 feature(s) (shape={rows.shape}) while a minimum of 1 is required."
        )
    check_dtype(np.dtype(rows.dtype))


def column_names(frame: Any) -> tuple[str, ...] | None:
    """Return the names of a DataFrame's columns if all are text, as scikit-learn keeps them."""
    names = tuple(frame.columns)
    return names if all(isinstance(name, str) for name in names) else None


def not_numbers(names: Sequence[str]) -> RowsError:
    """Error for columns of a DataFrame that hold no numbers, by their names."""
    return RowsError(
        f"X has columns that are not numbers: {', '.join(names)}. Select numeric columns or "
        "convert these first; daskmeans.cluster_rows and daskmeans.preprocessing.Preprocessor "
        "leave them out by themselves."
    )


def _is_dask_frame(value: Any) -> bool:
    return dask.is_dask_collection(value) and hasattr(value, "dtypes")


def _frame_array(frame: Any) -> da.Array:
    """Return a dask DataFrame as an array of one dtype that holds all of its columns' numbers."""
    if frame.ndim != 2:
        raise RowsError(
            "Expected 2D array, got 1D array instead: X is a single column. "
            "Select it as a DataFrame: frame[['name']]."
        )
    unfit = [str(name) for name, dtype in frame.dtypes.items() if dtype.kind not in "fiub"]
    if unfit:
        raise not_numbers(unfit)
    # Extension dtypes may have missing values, which NumPy holds as NaN in floats alone.
    dtypes = [d if isinstance(d, np.dtype) else np.dtype(np.float64) for d in frame.dtypes]
    return frame.astype(np.result_type(*dtypes)).to_dask_array()


def as_stored(rows: ArrayLike) -> ArrayLike:
    """Return the array behind a wrapper: of a DataArray its data, of open files what can travel."""
    if _package(rows) == "xarray":
        if not hasattr(rows, "dims") or not hasattr(rows, "data"):
            raise RowsError(
                "X is an xarray Dataset: pass one of its variables, with 2 dimensions, or "
                "daskmeans.xarray_rows(X).rows."
            )
        return as_stored(rows.data)
    if _package(rows) == "h5py":
        if not hasattr(rows, "shape"):
            raise RowsError(
                "X is an HDF5 file or group, not a dataset: pass one of what it holds, X[name]: "
                f"{', '.join(sorted(rows))}."
            )
        return HDF5Dataset.of(rows)
    if isinstance(rows, np.memmap):
        return MemoryMap.of(rows) or np.asarray(rows)
    if _package(rows) == "zarr" and not hasattr(rows, "shape"):
        raise RowsError(
            "X is a Zarr group, not an array. It holds the arrays: "
            f"{', '.join(sorted(rows.array_keys()))}."
        )
    return rows


def as_dask_array(rows: ArrayLike) -> da.Array:
    """Return lazy rows as a dask array whose blocks hold all features.

    Parameters
    ----------
    rows : dask array or DataFrame, zarr.Array, h5py.Dataset, HDF5Dataset, xarray.DataArray
        Rows for which `is_lazy` holds.

    Raises
    ------
    ValueError
        If they are not 2-D or not numbers.
    """
    array = as_stored(rows)
    if _is_dask_frame(array):
        array = _frame_array(array)
    elif not dask.is_dask_collection(array):
        _check_2d(array)
        array = slabs(array)
    _check_2d(array)
    return array.rechunk({1: -1}) if array.numblocks[1] > 1 else array


def _ranges(array: Any, n_rows: int, unit: int) -> tuple[tuple[int, ...], tuple[RowRange, ...]]:
    edges = [*range(0, n_rows, unit), n_rows] if n_rows else [0, 0]
    parts = tuple(RowRange(array, a, b) for a, b in pairwise(edges))
    return tuple(part.stop - part.start for part in parts), parts


def _known(chunks: Sequence[float]) -> tuple[int, ...] | None:
    return None if any(np.isnan(chunks)) else tuple(int(size) for size in chunks)


def graph_of(array: da.Array) -> tuple[dict[Any, Any], list[Any]]:
    """Return an array's tasks, fused by dask's own optimisation, and its keys."""
    (optimised,) = dask.optimize(array)
    # Blocks that a cluster holds are futures in the array's own graph, which the optimised one
    # leaves out; they keep the blocks alive.
    held = {key: task for key, task in array.__dask_graph__().items() if isinstance(task, TaskRef)}
    return {**held, **optimised.__dask_graph__()}, optimised.__dask_keys__()


def _from_dask(array: da.Array, names: tuple[str, ...] | None) -> RowSource:
    graph, keys = graph_of(array)
    return RowSource(
        int(array.shape[1]),
        np.dtype(array.dtype),
        _known(array.chunks[0]),
        tuple(tuple(Key(key) for key in row) for row in keys),
        graph=graph,
        feature_names=names,
        sparse=is_sparse(array._meta),
    )


# What a row costs beside its values: as much as so many of them.
_VALUES_A_ROW = 8
# Values of a block for each feature: below, adding up what blocks yield takes longer than they do.
_VALUES_A_FEATURE = 8


def _sparse_source(rows: CSRRows, n_threads: int, names: tuple[str, ...] | None) -> RowSource:
    """Cut sparse rows in memory into blocks of about equal work."""
    a_thread = rows.n_values // (_VALUES_A_FEATURE * rows.n_features * n_threads)
    most = n_threads * max(1, min(a_thread, _BLOCKS_A_THREAD))
    n_blocks = max(1, min(rows.nbytes // _BLOCK_BYTES, most))
    work = rows.indptr - rows.indptr[0] + _VALUES_A_ROW * np.arange(len(rows) + 1)
    inner = np.searchsorted(work, work[-1] * np.arange(1, n_blocks) // n_blocks)
    edges = [0, *np.unique(inner[(inner > 0) & (inner < len(rows))]).tolist(), len(rows)]
    parts = tuple(RowRange(rows, a, b) for a, b in pairwise(edges))
    return RowSource(
        rows.n_features,
        rows.dtype,
        tuple(part.stop - part.start for part in parts),
        tuple((part,) for part in parts),
        feature_names=names,
        in_memory=True,
        sparse=True,
        sparse_bytes=rows.nbytes,
    )


def _array_and_names(rows: ArrayLike) -> tuple[Any, tuple[str, ...] | None]:
    """Return rows as an array, and the names that the columns of a DataFrame have."""
    if is_spark(rows):
        raise RowsError(
            "X is a Spark DataFrame. KMeans, sweep, kmeans_plusplus, kmeans_parallel and metrics "
            "of models take one, and other functions do not."
        )
    array, names = as_stored(rows), None
    if _is_dask_frame(array):
        names = column_names(array) if array.ndim == 2 else None
        array = _frame_array(array)
    _check_2d(array)
    return array, names


def count_features(rows: ArrayLike) -> int:
    """Return how many features lazy rows have, without their graph, which takes time to make.

    Raises
    ------
    ValueError
        If the rows are not 2-D, or not numbers.
    """
    array, _ = _array_and_names(rows)
    return int(array.shape[1])


def has_sparse_blocks(rows: ArrayLike) -> bool:
    """Tell whether rows are a dask array whose blocks are declared to be sparse."""
    return isinstance(rows, da.Array) and is_sparse(rows._meta)


def row_source(
    rows: ArrayLike, *, n_threads: int = 1, feature_names: Sequence[str] | None = None
) -> RowSource:
    """Make a row source of any accepted input. Reads nothing.

    Parameters
    ----------
    rows : ndarray, CSRRows, memory map, dask array or DataFrame, zarr.Array, h5py.Dataset, \
            HDF5Dataset, xarray.DataArray
    n_threads : int
        Blocks of an in-memory array are chosen to keep this many threads busy.
    feature_names : sequence of str, optional
        For error messages, where the rows do not bring their own.

    Raises
    ------
    ValueError
        If the rows are not 2-D, or not numbers.
    """
    array, names = _array_and_names(rows)
    if names is None and feature_names is not None:
        names = tuple(feature_names)
    if dask.is_dask_collection(array):
        return _from_dask(array, names)
    if isinstance(array, CSRRows):
        return _sparse_source(array, n_threads, names)
    n_rows, n_features = (int(size) for size in array.shape)
    in_memory = isinstance(array, np.ndarray)
    if in_memory:
        row_bytes = n_features * array.dtype.itemsize
        n_blocks = min(n_rows * row_bytes // _BLOCK_BYTES, _BLOCKS_A_THREAD * n_threads)
        unit = -(-n_rows // max(1, n_blocks))
    else:
        unit = block_unit(array)
        array = StoredRows(array, unit)
    sizes, parts = _ranges(array, n_rows, max(1, unit))
    return RowSource(
        n_features,
        np.dtype(array.dtype),
        sizes,
        tuple((part,) for part in parts),
        feature_names=names,
        in_memory=in_memory,
    )
