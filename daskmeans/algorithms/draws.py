"""Draws of a block's rows: by keys that depend on the numbers of the rows and on no chunking."""

from __future__ import annotations

import numpy as np

from daskmeans.blocks.block import Block
from daskmeans.kernels.random_draws import exponential_keys
from daskmeans.typing import Array

# Purposes: each is a stream of its own for every row.
SAMPLE_DRAW, FIRST_SEEDING_DRAW = 0, 1


def clocks_of(block: Block, seed: int, purpose: int, rates: Array) -> Array:
    """Return when the exponential clock of each row rings: the first m are m rows by their rates.

    Parameters
    ----------
    block : Block
    seed : int
        64 bits.
    purpose : int
    rates : ndarray of shape (r,), float64
        A row of rate 0 has a clock that never rings: infinity.
    """
    clocks = np.empty(len(block))
    exponential_keys(np.uint64(seed), np.uint64(purpose), np.uint64(block.first_row), rates, clocks)
    return clocks
