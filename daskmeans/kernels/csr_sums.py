"""Quantised sums of sparse rows, as sums or as the rows whose sums they are.

Where few rows are to be added to the sums of many features, their own numbers are fewer than those
of the sums: then they are handed on as they are, and added to sums that exist already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from daskmeans.kernels.compile import kernel
from daskmeans.kernels.csr import CSRRows
from daskmeans.kernels.csr_numbers import (
    LARGEST_NUMBER,
    quantise_values,
    sum_of_squares_as_dense,
)
from daskmeans.kernels.labelled_sums import sum_labelled
from daskmeans.kernels.lloyd import CLEAN, OUT_OF_RANGE, sum_block
from daskmeans.typing import Array, Labels

# Numbers that are quantised at a time where they are added at once: they stay in the cache.
_AT_ONCE = 1 << 15
# Rows are handed on as such while they take no more memory than the sums: the sums of a block have
# to be cleared, filled and added to those of all others.
_NUMBER_BYTES, _SUM_BYTES = 8 + 4, 8
# Arrays of few rows each, from many blocks, are put together.
_MOST_PARTS = 16


class QuantisedRows(NamedTuple):
    """Sparse rows as integers, and the clusters that they come to and are taken from."""

    numbers: Array  # (m,) int64
    columns: Array  # (m,) int32, columns of the sums, those of square and weight among them
    ends: Array  # (r + 1,) int64: row i is at ends[i] to ends[i + 1]
    to: Array  # (r,) int32
    taken_from: Array  # (r,) int32, or (0,) where they are taken from none

    def add_to(self, sums: Array, first: int, last: int) -> None:
        """Add the rows to sums of shape (k, s), and take them from these, as `MovedRows` does."""
        _add(self.numbers, self.columns, self.ends, self.to, self.taken_from, first, last, sums)


@dataclass(frozen=True)
class MovedRows:
    """Sums of clusters, less others: the rows that came to each, and those that were taken from it.

    Attributes
    ----------
    shape : tuple of int
        Of the sums, (k, s).
    parts : tuple of QuantisedRows
    """

    shape: tuple[int, int]
    parts: tuple[QuantisedRows, ...] = ()

    @property
    def n_numbers(self) -> int:
        return sum(len(part.numbers) for part in self.parts)

    def add_to(self, sums: Array, first: int = 0, last: int | None = None) -> None:
        """Add to sums of shape (k, s), in place; only to clusters `first` to `last - 1`."""
        for part in self.parts:
            part.add_to(sums, first, self.shape[0] if last is None else last)


SumsOrRows: TypeAlias = Array | MovedRows


def as_sums(found: SumsOrRows) -> Array:
    """Return sums as an array: itself, if it is one."""
    if not isinstance(found, MovedRows):
        return found
    sums = np.zeros(found.shape, np.int64)
    found.add_to(sums)
    return sums


def merged_rows(found: list[MovedRows]) -> SumsOrRows:
    """Return the sums of all of some rows, as rows while these are few.

    Either all of them are taken from a cluster, or none is.
    """
    merged = MovedRows(found[0].shape, tuple(part for each in found for part in each.parts))
    if not _are_few(merged.n_numbers, merged.shape):
        return as_sums(merged)
    if len(merged.parts) > _MOST_PARTS:
        merged = MovedRows(merged.shape, (_joined(merged.parts),))
    return merged


def _joined(parts: tuple[QuantisedRows, ...]) -> QuantisedRows:
    before = np.cumsum([0, *(len(part.numbers) for part in parts)])
    ends = [part.ends[1:] + start for part, start in zip(parts, before, strict=False)]
    return QuantisedRows(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.columns for part in parts]),
        np.concatenate([np.zeros(1, np.int64), *ends]),
        np.concatenate([part.to for part in parts]),
        np.concatenate([part.taken_from for part in parts]),
    )


def _are_few(n_numbers: int, shape: tuple[int, int]) -> bool:
    return _NUMBER_BYTES * n_numbers <= _SUM_BYTES * shape[0] * shape[1]


def sums_of_rows(
    rows: CSRRows,
    chosen: Array,
    to: Labels,
    taken_from: Labels,
    weights: Array,
    scale: Array,
    n_clusters: int,
) -> tuple[int, SumsOrRows]:
    """Sum some rows by cluster, or return them for others to add.

    Parameters
    ----------
    rows : CSRRows of shape (r, d)
    chosen : ndarray of shape (c,), int64
        Places of the rows to sum.
    to : ndarray of shape (c,), int32
        The cluster of each.
    taken_from : ndarray of shape (c,) or (0,), int32
        The cluster that each is taken from.
    weights : ndarray of shape (r,) or (1,), float64
    scale : ndarray of shape (sums_width(d),), float64
        See `quantised_sums.add_rows`; the shift is zero.
    n_clusters : int

    Returns
    -------
    status : int
        CLEAN, or OUT_OF_RANGE if a row lies outside of the ranges that `scale` was made for.
    sums : ndarray of shape (k, s), int64, or MovedRows
    """
    shape = n_clusters, len(scale)
    if not len(chosen):
        return CLEAN, MovedRows(shape)
    # Where the numbers of each row begin: two more than its values.
    ends = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(rows.indptr[1:][chosen] - rows.indptr[:-1][chosen] + 2, out=ends[1:])
    if _are_few(int(ends[-1]), shape):
        status, found = _quantised(rows, chosen, ends, to, taken_from, weights, scale)
        return status, MovedRows(shape, (found,))
    sums = np.zeros(shape, np.int64)
    return _summed(rows, chosen, ends, to, taken_from, weights, scale, sums), sums


def _summed(
    rows: CSRRows,
    chosen: Array,
    ends: Array,
    to: Labels,
    taken_from: Labels,
    weights: Array,
    scale: Array,
    sums: Array,
) -> int:
    """Add rows to sums, some at a time."""
    worst, first = CLEAN, 0
    while first < len(chosen):
        last = int(np.searchsorted(ends, ends[first] + _AT_ONCE, side="right")) - 1
        part = slice(first, max(first + 1, last))
        status, found = _quantised(
            rows,
            chosen[part],
            ends[part.start : part.stop + 1] - ends[first],
            to[part],
            taken_from[part],
            weights,
            scale,
        )
        found.add_to(sums, 0, len(sums))
        worst, first = max(worst, status), part.stop
    return worst


def _quantised(
    rows: CSRRows,
    chosen: Array,
    ends: Array,
    to: Labels,
    taken_from: Labels,
    weights: Array,
    scale: Array,
) -> tuple[int, QuantisedRows]:
    # Written eight at a time.
    numbers, columns = np.empty(ends[-1] + 5, np.int64), np.empty(ends[-1] + 5, np.int32)
    strange = _quantise(
        rows.data, rows.indices, rows.indptr, chosen, weights, scale, ends, numbers, columns
    )
    return (
        OUT_OF_RANGE if strange else CLEAN,
        QuantisedRows(numbers[: ends[-1]], columns[: ends[-1]], ends, to, taken_from),
    )


@kernel
def _quantise(
    data,  # IN  (m,) float32 or float64
    indices,  # IN  (m,) int32
    indptr,  # IN  (r + 1,) int64
    chosen,  # IN  (c,) int64, rows to quantise
    weights,  # IN  (r,) float64, or (1,) for one weight
    scale,  # IN  (s,) float64 powers of two
    ends,  # IN  (c + 1,) int64, places of the rows' numbers
    numbers,  # OUT (e + 5,) int64
    columns,  # OUT (e + 5,) int32
):
    # As `quantised_sums.add_rows` does with a shift of zero. Returns whether a row is out of range.
    # In the order of their places: what a row writes past its values is written over, by its square
    # and weight and by the next row, but for five places past the last one.
    strange = False
    last = scale.size - 1
    for n in range(chosen.size):
        i = chosen[n]
        start, stop = indptr[i], indptr[i + 1]
        weight = weights[i if weights.size > 1 else 0]
        strange |= quantise_values(
            data, indices, start, stop, weight, scale, ends[n], numbers, columns
        )
        square = sum_of_squares_as_dense(data, indices, start, stop)
        at = ends[n + 1] - 2
        for column, value in ((last - 1, square), (last, 1.0)):
            scaled = np.rint(weight * value * scale[column])
            inside = abs(scaled) < LARGEST_NUMBER
            strange |= not inside
            numbers[at] = np.int64(scaled) if inside else np.int64(0)
            columns[at] = column
            at += 1
    return strange


@kernel
def _add(
    numbers,  # IN    (e,) int64
    columns,  # IN    (e,) int32
    ends,  # IN    (r + 1,) int64
    to,  # IN    (r,) int32
    taken_from,  # IN    (r,) int32, or (0,)
    first,  # IN    clusters before this one are left as they are
    last,  # IN    this one and those after it too
    sums,  # INOUT (k, s) int64
):
    for i in range(to.size):
        own = to[i]
        if first <= own < last:
            for place in range(ends[i], ends[i + 1]):
                sums[own, columns[place]] += numbers[place]
        if taken_from.size > 0:
            old = taken_from[i]
            if first <= old < last:
                for place in range(ends[i], ends[i + 1]):
                    sums[old, columns[place]] -= numbers[place]


@sum_labelled.register
def _(
    rows: CSRRows, labels: Labels, weights: Array, shift: Array, scale: Array, sums: Array
) -> int:
    chosen = np.arange(len(rows))
    ends = rows.indptr - rows.indptr[0] + 2 * np.arange(len(rows) + 1)
    return _summed(rows, chosen, ends, labels, np.empty(0, np.int32), weights, scale, sums)


@sum_block.register
def _(rows: CSRRows, weights: Array, shift: Array, scale: Array, sums: Array) -> int:
    return sum_labelled(rows, np.zeros(len(rows), np.int32), weights, shift, scale, sums)
