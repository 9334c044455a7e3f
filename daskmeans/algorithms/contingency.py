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
    pairs = block.rows.astype(np.float64)
    return Contingency.of(pairs, np.ones(len(pairs), np.int64))


def contingency(run: Run) -> csr_array:
    """Return the contingency table of rows of two labels, without empty rows and columns.

    Both axes are in the order of the labels.
    """
    found = run(Pass("kmeans-contingency", contingency_chunk, None, by_row_number=False))
    (_, i), (_, j) = (np.unique(labels, return_inverse=True) for labels in found.pairs.T)
    return csr_array((found.counts, (i, j)), shape=(i.max(initial=-1) + 1, j.max(initial=-1) + 1))
