"""How often each pair of two labellings comes together, counted in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from daskmeans.algorithms.survey import Run
from daskmeans.blocks.block import Block
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array

# Pairs of labels that there may be for each row of a block, to be counted instead of sorted.
_COUNTED_A_ROW = 4


@dataclass(frozen=True)
class Contingency:
    """How many rows have each pair of labels.

    Attributes
    ----------
    pairs : ndarray of shape (p, 2), float64
        Each pair once, in lexicographic order.
    counts : ndarray of shape (p,), int64
    """

    pairs: Array
    counts: Array

    @classmethod
    def of(cls, pairs: Array, counts: Array) -> Contingency:
        """Count pairs that may come several times."""
        found, places = np.unique(pairs, axis=0, return_inverse=True)
        totals = np.zeros(len(found), np.int64)
        np.add.at(totals, places.reshape(-1), counts)
        return cls(found, totals)

    @classmethod
    def combine(cls, partials: Sequence[Contingency]) -> Contingency:
        return cls.of(
            np.concatenate([partial.pairs for partial in partials]),
            np.concatenate([partial.counts for partial in partials]),
        )


def contingency_chunk(block: Block, parameters: None) -> Contingency:
    """Count the pairs of labels in the two columns of a block."""
    if not len(block):
        return Contingency(np.empty((0, 2)), np.empty(0, np.int64))
    assert isinstance(block.rows, np.ndarray)
    labels = block.rows.astype(np.int64)
    low = labels.min(axis=0)
    span = labels.max(axis=0) - low + 1
    # A number for each pair: labels travel as float32, so it stays far below 2**63.
    numbers = (labels[:, 0] - low[0]) * span[1] + labels[:, 1] - low[1]
    if span.prod() <= _COUNTED_A_ROW * len(labels):
        # Ten times as fast as sorting the rows, which is the other way.
        counts = np.bincount(numbers)
        found = np.flatnonzero(counts)
        counts = counts[found]
    else:
        found, counts = np.unique(numbers, return_counts=True)
    pairs = np.column_stack(np.divmod(found, span[1])) + low
    return Contingency(pairs.astype(np.float64), counts.astype(np.int64))


def contingency(run: Run) -> csr_array:
    """Return the contingency table of rows of two labels, without empty rows and columns.

    Both axes are in the order of the labels.
    """
    found = run(Pass("kmeans-contingency", contingency_chunk, None, by_row_number=False))
    (_, i), (_, j) = (np.unique(labels, return_inverse=True) for labels in found.pairs.T)
    return csr_array((found.counts, (i, j)), shape=(i.max(initial=-1) + 1, j.max(initial=-1) + 1))
