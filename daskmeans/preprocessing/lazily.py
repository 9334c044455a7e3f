"""Changes to rows that are lazy or in a store, made when they are computed."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

from daskmeans.blocks.inputs import ArrayLike, is_lazy
from daskmeans.preprocessing.changes import (
    Changes,
    changed_block,
    changed_dtype,
    changed_frame,
    kept_block,
    numbers,
)
from daskmeans.preprocessing.selection import is_frame


def as_numbers(table: ArrayLike) -> ArrayLike:
    """Return a DataFrame with missing values of any kind as NaN; arrays as they are."""
    if not is_frame(table):
        return table
    if is_lazy(table):
        return table.map_partitions(_frame_of_numbers, meta=table._meta.astype(np.float64))
    return _frame_of_numbers(table)


def _frame_of_numbers(frame: Any) -> Any:
    return type(frame)(numbers(frame), index=frame.index, columns=frame.columns)


def change_lazily(table: Any, changes: Changes, *, drops: bool) -> Any:
    """Change a dask array or DataFrame; `drops` tells that blocks may lose rows."""
    if is_frame(table):
        meta = table._meta.astype(np.float64)
        return table.map_partitions(changed_frame, changes=changes, meta=meta)
    n_columns, dtype = table.shape[1], changed_dtype(table.dtype)
    rows = (np.nan,) * table.numblocks[0] if drops else table.chunks[0]
    return da.map_blocks(
        changed_block,
        table,
        changes=changes,
        dtype=dtype,
        chunks=(rows, (n_columns,)),
        meta=np.empty((0, n_columns), dtype),
        # What a reader of the dask dashboard sees.
        token="kmeans-preprocess",
    )


def kept_lazily(table: Any, changes: Changes) -> da.Array:
    """Tell which rows of a dask array or DataFrame stay."""
    array = as_numbers(table).to_dask_array() if is_frame(table) else table
    return da.map_blocks(
        kept_block,
        array,
        changes=changes,
        drop_axis=1,
        dtype=bool,
        meta=np.empty(0, bool),
        token="kmeans-kept",
    )
