"""Whatever was passed as sample_weight, aligned to the blocks of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import dask
import dask.array as da
import numpy as np

from daskmeans.blocks.block import check_dtype
from daskmeans.blocks.inputs import ArrayLike, as_stored, graph_of, is_lazy, row_source
from daskmeans.blocks.source import Key, RowSource
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import AnyRows
from daskmeans.typing import Array, Metric


def _weights_as_array(weights: ArrayLike) -> da.Array | Array:
    stored = as_stored(weights)
    if dask.is_dask_collection(stored):
        stored = stored.to_dask_array() if hasattr(stored, "to_dask_array") else stored
    elif is_lazy(weights):
        stored = da.from_array(stored, lock=False)
    else:
        stored = np.asarray(stored)
        check_dtype(stored.dtype, "sample_weight")
    if stored.ndim != 1:
        raise RowsError(f"Sample weights must be 1D array or scalar, got shape {stored.shape}.")
    return stored


def weights_in_memory(sample_weight: ArrayLike, n_rows: int) -> Array:
    """Return weights of any accepted kind as a NumPy array of shape (n_rows,).

    Raises
    ------
    ValueError
        If there is not one weight a row.
    """
    if np.isscalar(sample_weight):
        return np.full(n_rows, sample_weight, dtype=np.float64)
    (array,) = dask.compute(_weights_as_array(sample_weight))
    if len(array) != n_rows:
        raise _wrong_length(array.shape, n_rows)
    return np.asarray(array)


def with_weights(source: RowSource, sample_weight: ArrayLike) -> RowSource:
    """Return the source with weights aligned to its blocks. The source's sizes must be known.

    Parameters
    ----------
    source : RowSource
    sample_weight : scalar, array-like or dask array of shape (n_samples,)
        Its chunks need not match the rows'.

    Raises
    ------
    ValueError
        If the number of weights is not the number of rows.
    """
    n_rows = source.n_rows
    if np.isscalar(sample_weight):
        sample_weight = np.full(n_rows, sample_weight, dtype=np.float64)
    array = _weights_as_array(sample_weight)
    if isinstance(array, da.Array):
        graph, keys = graph_of(aligned_column(array, source, "sample_weight"))
        return replace(
            source, weights=tuple(Key(key) for key in keys), graph={**source.graph, **graph}
        )
    if len(array) != n_rows:
        raise _wrong_length(array.shape, n_rows)
    return replace(source, weights=source.ranges_of(array))


def source_in_memory(
    rows: AnyRows,
    weights: Array | None,
    metric: Metric,
    *,
    n_threads: int = 1,
    feature_names: Sequence[str] | None = None,
) -> RowSource:
    """Return the source of rows at hand and their weights; for "cosine" rows are of length 1.

    Parameters
    ----------
    rows : ndarray or CSRRows of shape (r, d)
    weights : ndarray of shape (r,), or None
    metric : {"euclidean", "cosine"}
    n_threads, feature_names : see `row_source`
    """
    source = row_source(rows, n_threads=n_threads, feature_names=feature_names)
    if weights is not None:
        source = with_weights(source, weights)
    return source.measured_by(metric)


def aligned_column(array: da.Array, source: RowSource, argument: str) -> da.Array:
    """Return weights or labels in the chunks of the rows.

    Raises
    ------
    ValueError
        If there is not one for each row.
    """
    if not np.isnan(array.shape[0]):
        if array.shape[0] != source.n_rows:
            raise _wrong_length(array.shape, source.n_rows, argument)
        return array.rechunk((source.known_sizes,))
    # The same number of blocks is taken to mean the same rows; the sizes of each pair of blocks
    # are compared when they are read.
    if array.numblocks != (source.n_blocks,):
        raise RowsError(
            f"{argument} has {array.numblocks[0]} blocks of unknown sizes and X has "
            f"{source.n_blocks} blocks: call compute_chunk_sizes() on {argument} first."
        )
    return array


def _wrong_length(
    shape: tuple[int, ...], n_rows: int, argument: str = "sample_weight"
) -> RowsError:
    one = argument.rpartition("_")[2].removesuffix("s")
    return RowsError(f"{argument}.shape == {shape}, expected ({n_rows},): one {one} a row.")
