"""What a block yields, and how two of them merge. Plain NumPy: no dask, no files.

Each partial obeys one law: merging is associative and commutative, to the bit, so neither the
chunking of the rows nor the order of arrival shows in a result. `tests/test_partials.py` checks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from daskmeans.kernels.csr import AnyRows, first_of_equal, joined
from daskmeans.kernels.csr_sums import MovedRows, SumsOrRows, as_sums, merged_rows
from daskmeans.kernels.exact_sum import DIGITS, carried, rounded
from daskmeans.typing import Array, Labels

PartialT = TypeVar("PartialT", bound="Partial")


class Partial(Protocol):
    """A result over some rows that merges with the results over other rows."""

    @classmethod
    def combine(cls: type[PartialT], partials: Sequence[PartialT]) -> PartialT:
        """Return the result over the rows of all of one or more partials."""


class Sums:
    """Base of partials that are of the same size whatever is in them: sums, and counts.

    They can be merged one by one into a single one, which is all that has to be held.
    """


def _added(arrays: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
    """Add tuples of arrays elementwise."""
    return tuple(_sum(same) for same in zip(*arrays, strict=True))


def _sum(arrays: Sequence[Array]) -> Array:
    # Not np.sum, which would copy all of them side by side first.
    if len(arrays) == 1:
        return arrays[0]
    total: Array = arrays[0] + arrays[1]
    for array in arrays[2:]:
        total += array
    return total


@dataclass(frozen=True)
class Ranges:
    """Row count, column ranges and weight range.

    Attributes
    ----------
    n_rows : int
    low, high : ndarrays of shape (d,), float64
        Smallest and largest value of each column; infinity and -infinity over no rows.
    max_weight : float
        Largest sample weight, 1 where there are none, 0 over no rows.
    block_sizes : tuple of (block number, rows)
    sparse : bool
        Rows of a block are sparse.
    n_bytes : int
        Size of the blocks' rows.
    """

    n_rows: int
    low: Array
    high: Array
    max_weight: float
    block_sizes: tuple[tuple[int, int], ...]
    sparse: bool = False
    n_bytes: int = 0

    @classmethod
    def combine(cls, partials: Sequence[Ranges]) -> Ranges:
        return cls(
            sum(partial.n_rows for partial in partials),
            np.min([partial.low for partial in partials], axis=0),
            np.max([partial.high for partial in partials], axis=0),
            max(partial.max_weight for partial in partials),
            tuple(sorted(pair for partial in partials for pair in partial.block_sizes)),
            any(partial.sparse for partial in partials),
            sum(partial.n_bytes for partial in partials),
        )


def _smallest(keys: Array, count: int) -> Array:
    """Return the positions of the `count` smallest keys and of all that tie with the last."""
    if len(keys) <= count:
        return np.arange(len(keys))
    return np.flatnonzero(keys <= np.partition(keys, count - 1)[count - 1])


def _by_key(chosen: Array, keys: Array, row_numbers: Array) -> Array:
    """Return positions in the order of their keys, ties in that of their row numbers."""
    # Sorting by one key is many times faster than by two, and random keys hardly ever tie.
    ordered = chosen[np.argsort(keys[chosen])]
    in_order = keys[ordered]
    if (in_order[1:] == in_order[:-1]).any():
        ordered = chosen[np.lexsort((row_numbers[chosen], keys[chosen]))]
    return ordered


@dataclass(frozen=True)
class KeyedRows:
    """The `capacity` rows with the smallest keys, ties by row number.

    Keys made of random numbers make it a sample without replacement, keys of negated distances the
    farthest rows.

    Attributes
    ----------
    capacity : int
    distinct : bool
        Keep only the first of equal rows. Among exponential clocks the smallest of several is a
        clock of their summed rates, so equal rows then count as one row with their summed weight.
    keys : ndarray of shape (m,), uint64 or float64
    row_numbers : ndarray of shape (m,), int64
        Global numbers of the rows.
    rows : ndarray or CSRRows of shape (m, d)
        Without columns where the rows can be looked up by their numbers.
    weights : ndarray of shape (m,), float64
    """

    capacity: int
    distinct: bool
    keys: Array
    row_numbers: Array
    rows: AnyRows
    weights: Array

    @classmethod
    def smallest(
        cls,
        capacity: int,
        keys: Array,
        row_numbers: Array,
        rows: AnyRows,
        weights: Array,
        *,
        distinct: bool = False,
    ) -> KeyedRows:
        """Keep the smallest of these. The rows are copied, so a block can be let go."""
        candidates = capacity
        while True:
            # A partition first: sorting a whole block for a few rows would cost more than a pass.
            chosen = _smallest(keys, candidates)
            chosen = _by_key(chosen, keys, row_numbers)
            if distinct and len(chosen):
                first = first_of_equal(rows[chosen])
                considered, chosen = len(chosen), chosen[np.sort(first)]
                if len(chosen) < capacity and considered < len(keys):
                    # Any row not considered has a larger key than all that were.
                    candidates = 4 * considered
                    continue
            chosen = chosen[:capacity]
            return cls(
                capacity, distinct, keys[chosen], row_numbers[chosen], rows[chosen], weights[chosen]
            )

    @classmethod
    def combine(cls, partials: Sequence[KeyedRows]) -> KeyedRows:
        return cls.smallest(
            partials[0].capacity,
            np.concatenate([partial.keys for partial in partials]),
            np.concatenate([partial.row_numbers for partial in partials]),
            joined([partial.rows for partial in partials]),
            np.concatenate([partial.weights for partial in partials]),
            distinct=partials[0].distinct,
        )


@dataclass(frozen=True)
class Survey:
    """What the first pass over any input yields: ranges, and a sample keyed by row."""

    ranges: Ranges
    sample: KeyedRows

    @classmethod
    def combine(cls, partials: Sequence[Survey]) -> Survey:
        return cls(
            Ranges.combine([partial.ranges for partial in partials]),
            KeyedRows.combine([partial.sample for partial in partials]),
        )


@dataclass(frozen=True)
class ClusterSums(Sums):
    """Quantised sums of each cluster, for one or more sets of centers.

    Attributes
    ----------
    sums : tuple of ndarrays of shape (k, s), int64, or MovedRows
        Features, padding, sum of squares, weight: see `kernels.quantised_sums.add_rows`. Few sparse
        rows stand for their sums, whatever their order.
    n_changed, n_distances : tuples of int
        For each set of centers the rows with a new label, and the distances measured.
    """

    sums: tuple[SumsOrRows, ...]
    n_changed: tuple[int, ...]
    n_distances: tuple[int, ...]

    @classmethod
    def combine(cls, partials: Sequence[ClusterSums]) -> ClusterSums:
        if len(partials) == 1:
            return partials[0]
        return cls(
            tuple(map(_added_sums, zip(*(partial.sums for partial in partials), strict=True))),
            tuple(map(sum, zip(*(partial.n_changed for partial in partials), strict=True))),
            tuple(map(sum, zip(*(partial.n_distances for partial in partials), strict=True))),
        )


def _added_sums(found: tuple[SumsOrRows, ...]) -> SumsOrRows:
    rows = [each for each in found if isinstance(each, MovedRows)]
    sums = [each for each in found if not isinstance(each, MovedRows)]
    if not sums:
        return merged_rows(rows)
    if not any(each.parts for each in rows):
        return _sum(sums)
    total = as_sums(rows[0])
    for array in sums:
        total += array
    for each in rows[1:]:
        each.add_to(total)
    return total


@dataclass(frozen=True)
class Costs:
    """Exact weighted sums of squared distances to the nearest center, for sets of centers.

    Attributes
    ----------
    digits : tuple of ndarrays of shape (DIGITS,), int64
        The sums, see `kernels.exact_sum`.
    counts : tuple of ndarrays of shape (k,), int64
        Rows nearest to each center.
    labels : tuple of (number of the set of centers, block number, ndarray of shape (r,), int32)
        Labels, where they were asked for.
    """

    digits: tuple[Array, ...]
    counts: tuple[Array, ...]
    labels: tuple[tuple[int, int, Labels], ...] = ()

    @classmethod
    def combine(cls, partials: Sequence[Costs]) -> Costs:
        # Digits are carried before they are added: those of a block may be close to their limit.
        digits = _added([tuple(map(carried, partial.digits)) for partial in partials])
        return cls(
            tuple(map(carried, digits)),
            _added([partial.counts for partial in partials]),
            tuple(part for partial in partials for part in partial.labels),
        )

    def inertias(self) -> tuple[float, ...]:
        """Return each sum, rounded once to float64."""
        return tuple(rounded(digits) for digits in self.digits)

    def all_labels(self, number: int = 0) -> Labels:
        """Return the labels by one set of centers in the order of the rows."""
        found = {block: labels for of, block, labels in self.labels if of == number}
        parts = [found[block] for block in sorted(found)]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)


def no_cost() -> Array:
    """Return the digits of the sum of no terms."""
    return np.zeros(DIGITS, np.int64)


@dataclass(frozen=True)
class BinCounts(Sums):
    """How many rows lie in each bin.

    Attributes
    ----------
    counts : ndarray of shape (b, c), int64
    """

    counts: Array

    @classmethod
    def combine(cls, partials: Sequence[BinCounts]) -> BinCounts:
        return cls(np.sum([partial.counts for partial in partials], axis=0))


@dataclass(frozen=True)
class MetricSums(Sums):
    """Sums that metrics are made of, whatever they are sums of.

    Attributes
    ----------
    integers : tuple of ndarrays, int64
        Quantised sums and counts.
    digits : tuple of ndarrays of shape (m, DIGITS), int64
        m exact sums each, see `kernels.exact_sum`.
    """

    integers: tuple[Array, ...]
    digits: tuple[Array, ...]

    @classmethod
    def combine(cls, partials: Sequence[MetricSums]) -> MetricSums:
        digits = _added([tuple(map(all_carried, partial.digits)) for partial in partials])
        return cls(
            _added([partial.integers for partial in partials]),
            tuple(map(all_carried, digits)),
        )


def all_carried(digits: Array) -> Array:
    """Carry the digits of many sums, along the last axis."""
    return np.moveaxis(carried(np.moveaxis(digits, -1, 0)), 0, -1)
