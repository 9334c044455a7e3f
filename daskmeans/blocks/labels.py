"""Labels that come with the rows: a last column of theirs, so that every pass has them at hand."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np

from daskmeans.blocks.inputs import ArrayLike, as_stored, graph_of, is_lazy
from daskmeans.blocks.source import Key, Part, RowSource
from daskmeans.blocks.weights import aligned_column
from daskmeans.errors import RowsError
from daskmeans.typing import Array

# Labels travel as float32, so that rows of float32 and smaller types stay as they are.
LARGEST_LABEL = 2**24


def with_labels(source: RowSource, labels: ArrayLike, argument: str = "labels") -> RowSource:
    """Return the source with labels as one more column. The source's sizes must be known.

    Parameters
    ----------
    source : RowSource
    labels : array-like or dask array of shape (n_samples,)
        Integers if they are lazy; in memory anything that sorts, which is numbered in its order.
    argument : str
        What the caller calls the labels.

    Raises
    ------
    RowsError
        If there is not one label a row, or lazy labels are not integers.
    """
    graph = dict(source.graph)
    if is_lazy(labels):
        array = _lazy_labels(labels, argument)
        column = aligned_column(array, source, argument)
        tasks, keys = graph_of(column.astype(np.float32)[:, None])
        graph.update(tasks)
        parts: tuple[Part, ...] = tuple(Key(row[0]) for row in keys)
    else:
        codes = _codes(labels, argument)
        if len(codes) != source.n_rows:
            raise RowsError(
                f"{argument} has {len(codes)} labels, and there are {source.n_rows} rows: "
                "one label a row."
            )
        parts = source.ranges_of(codes)
    names = source.feature_names
    return replace(
        source,
        n_features=source.n_features + 1,
        dtype=np.result_type(source.dtype, np.float32),
        parts=tuple((*of_block, part) for of_block, part in zip(source.parts, parts, strict=True)),
        graph=graph,
        feature_names=None if names is None else (*names, argument),
        # The array of the rows alone is not all there is to a block.
        in_memory=False,
    )


def label_chunks(labels: ArrayLike, argument: str) -> tuple[int, ...]:
    """Return the sizes of the blocks of lazy labels.

    Raises
    ------
    RowsError
        If nobody knows them; as `with_labels`.
    """
    array = _lazy_labels(labels, argument)
    if np.isnan(array.shape[0]):
        raise RowsError(
            f"{argument} has blocks of unknown sizes: call compute_chunk_sizes() on it first."
        )
    return tuple(map(int, array.chunks[0]))


def _lazy_labels(labels: ArrayLike, argument: str) -> da.Array:
    array = as_stored(labels)
    if hasattr(array, "to_dask_array"):
        array = array.to_dask_array()
    elif not isinstance(array, da.Array):
        array = da.from_array(array, lock=False)
    _check_shape(array.shape, argument)
    if array.dtype.kind not in "iub":
        raise RowsError(
            f"{argument} has dtype {array.dtype}, and labels that are lazy have to be integers: "
            "convert them by astype, or compute them first."
        )
    return array


def _codes(labels: ArrayLike, argument: str) -> Array:
    """Return labels in memory as a column of their numbers, 0 for the smallest."""
    array = np.asarray(labels)
    _check_shape(array.shape, argument)
    found, codes = np.unique(array, return_inverse=True)
    if array.dtype.kind == "f" and np.isnan(found).any():
        raise RowsError(f"{argument} contains NaN: give a label for each row.")
    if len(found) > LARGEST_LABEL:
        raise too_many_labels(argument)
    return codes.astype(np.float32).reshape(-1, 1)


def _check_shape(shape: tuple[int, ...], argument: str) -> None:
    if len(shape) != 1:
        raise RowsError(f"{argument} has shape {shape}, expected one label a row.")


def too_many_labels(argument: str = "labels") -> RowsError:
    """Make the error for labels that a float32 does not tell apart."""
    return RowsError(
        f"{argument} goes beyond {LARGEST_LABEL:,} in size: number the clusters from 0."
    )
