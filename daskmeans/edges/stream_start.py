"""A stream's first batches, which wait until there are rows enough for initial centers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from daskmeans.blocks.block import as_rows, make_block
from daskmeans.blocks.weights import weights_in_memory
from daskmeans.edges.stream_sources import Batch
from daskmeans.errors import RowsError
from daskmeans.estimators.minibatch import MiniBatchKMeans
from daskmeans.estimators.rows import metric_of
from daskmeans.kernels.csr import AnyRows, CSRRows, joined
from daskmeans.preprocessing.selection import is_frame
from daskmeans.typing import Array


def checked_first(batch: Batch, waiting: list[Batch], model: MiniBatchKMeans) -> Batch:
    """Check a batch that is to wait with others for which it could be to blame later.

    Returns
    -------
    Batch
        With rows and weights in memory.

    Raises
    ------
    RowsError, ValueError
    """
    values = as_rows(batch.rows)
    rows: Any = batch.rows if is_frame(batch.rows) else values
    if values.ndim != 2:
        raise RowsError(f"Expected 2D array, got {values.ndim}D array instead: a batch has rows.")
    if values.dtype.kind == "f" and (bad := _first_not_finite(values)) is not None:
        row, column = bad
        raise RowsError(f"The batch contains NaN or infinity: row {row}, column {column}.")
    if waiting:
        before = waiting[0].rows
        if values.shape[1] != before.shape[1]:
            raise RowsError(
                f"The batch has {values.shape[1]} features, those before have {before.shape[1]}."
            )
        if is_frame(rows) and is_frame(before) and list(rows.columns) != list(before.columns):
            raise RowsError(
                f"The batch has columns {list(rows.columns)}, those before have "
                f"{list(before.columns)}."
            )
    weights = None if batch.weights is None else weights_in_memory(batch.weights, len(rows))
    # Refuses other dtypes, bad weights, and rows without a direction where that counts.
    make_block(0, 0, [values], weights, values.shape[1], divide=metric_of(model) == "cosine")
    if weights is not None and len(weights) and not weights.any():
        raise RowsError("All values of sample_weight are zero: at least one must be positive.")
    return replace(batch, rows=rows, weights=weights)


def _first_not_finite(rows: AnyRows) -> tuple[int, int] | None:
    """Return row and column of the first value that is NaN or infinite."""
    values = rows.data[rows.span] if isinstance(rows, CSRRows) else rows.reshape(-1)
    bad = np.flatnonzero(~np.isfinite(values))
    if not bad.size:
        return None
    first = int(bad[0])
    if isinstance(rows, CSRRows):
        return int(rows.row_numbers()[first]), int(rows.indices[rows.span][first])
    return divmod(first, rows.shape[1])


def together(waiting: list[Batch]) -> tuple[Any, Array | None]:
    """Return the rows and weights of batches as those of one."""
    if len(waiting) == 1:
        return waiting[0].rows, waiting[0].weights
    rows = [each.rows for each in waiting]
    weights = None
    if any(each.weights is not None for each in waiting):
        weights = np.concatenate(
            [np.ones(len(each.rows)) if each.weights is None else each.weights for each in waiting]
        )
    if all(map(is_frame, rows)):
        import pandas as pd

        return pd.concat(rows, ignore_index=True), weights
    return joined([as_rows(each) for each in rows]), weights
