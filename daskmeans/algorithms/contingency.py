"""How often each pair of two labellings comes together, counted in one pass."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from daskmeans.algorithms.survey import Run
from daskmeans.blocks.block import Block
from daskmeans.partials import Contingency
from daskmeans.passes.plan import Pass


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
