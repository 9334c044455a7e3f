"""One output row for each input row: labels and distances. Not passes: nothing merges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import dask
import dask.array as da
import numpy as np

from daskmeans.algorithms.assignment import CenterSet
from daskmeans.blocks.block import Block, for_each_tile, make_block
from daskmeans.blocks.inputs import row_source
from daskmeans.blocks.source import RowRange
from daskmeans.kernels.distances import distances_to_centers
from daskmeans.passes.schedulers import local_scheduler, thread_count
from daskmeans.typing import Array, Metric

RowFunction: TypeAlias = Callable[[Block, CenterSet, Array], None]


def label_rows(block: Block, centers: CenterSet, labels: Array) -> None:
    """Write the label of each row to `labels`, of shape (r,), int32."""
    labels[:] = centers.label(block)


def distance_rows(block: Block, centers: CenterSet, distances: Array) -> None:
    """Write the distance of each row to each center to `distances`, of shape (r, k)."""
    transposed = np.ascontiguousarray(centers.centers.T)
    for_each_tile(block, lambda rows, part: distances_to_centers(rows, transposed, distances[part]))


def cosine_distance_rows(block: Block, centers: CenterSet, distances: Array) -> None:
    """Write the cosine distance of each row, of length 1, to each center to `distances`."""
    # By the differences: 1 less a product would lose the digits of small distances.
    distance_rows(block, centers, distances)
    np.square(distances, out=distances)
    distances *= 0.5


def fill(
    function: RowFunction,
    rows: Any,
    centers: CenterSet,
    out: Array,
    metric: Metric = "euclidean",
) -> None:
    """Apply a row function to rows of this process by the local scheduler, into `out`.

    For "cosine" it is given rows divided by their lengths.
    """
    source = row_source(rows, n_threads=thread_count())
    spans = [part for (part,) in source.parts if isinstance(part, RowRange)]

    def one(number: int) -> None:
        span = spans[number]
        divide = metric == "cosine"
        block = make_block(
            number, span.start, [span.read()], None, source.n_features, divide=divide
        )
        function(block, centers, out[span.start : span.stop])

    if len(spans) == 1:
        one(0)
    else:
        tasks = [dask.delayed(one, pure=False)(number) for number in range(len(spans))]
        dask.compute(*tasks, scheduler=local_scheduler())


def map_lazily(
    function: RowFunction,
    array: da.Array,
    centers: CenterSet,
    dtype: np.dtype[Any],
    n_columns: int | None = None,
    sizes: tuple[int, ...] | None = None,
    metric: Metric = "euclidean",
) -> da.Array:
    """Apply a row function to each block of a dask array when the result is computed.

    Parameters
    ----------
    function : RowFunction
    array : dask array of shape (n, d), one block of features
    centers : CenterSet
    dtype : numpy dtype of the result
    n_columns : int, optional
        Columns of the result, of shape (n, n_columns); without it the shape is (n,).
    sizes : tuple of int, optional
        Rows of each block, where the array itself does not know them.
    metric : {"euclidean", "cosine"}
        For "cosine" the function is given rows divided by their lengths.
    """
    shape = (0,) if n_columns is None else (0, n_columns)
    row_chunks = array.chunks[0] if sizes is None else sizes
    return da.map_blocks(
        _apply,
        array,
        function=function,
        centers=centers,
        out_dtype=dtype,
        n_columns=n_columns,
        divide=metric == "cosine",
        drop_axis=1 if n_columns is None else None,
        chunks=(row_chunks,) if n_columns is None else (row_chunks, (n_columns,)),
        dtype=dtype,
        meta=np.empty(shape, dtype),
        # What a reader of the dask dashboard sees: kmeans-label-rows, kmeans-distance-rows.
        token=f"kmeans-{function.__name__.replace('_', '-')}",
    )


def _apply(
    rows: Any,
    *,
    function: RowFunction,
    centers: CenterSet,
    out_dtype: np.dtype[Any],
    n_columns: int | None,
    divide: bool,
    block_id: tuple[int, ...] | None = None,
) -> Array:
    number = block_id[0] if block_id else 0
    block = make_block(number, None, [rows], None, centers.centers.shape[1], divide=divide)
    out = np.empty(len(block) if n_columns is None else (len(block), n_columns), out_dtype)
    function(block, centers, out)
    return out
