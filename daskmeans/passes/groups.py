"""Blocks that stay in the memory of one worker between passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmeans.blocks.block import Block
from daskmeans.kernels.csr import joined
from daskmeans.passes.plan import Pass

# A kernel's call costs as much as some hundred rows: smaller blocks are joined to larger ones.
_SMALL_BLOCK_BYTES, _JOINED_BYTES = 512 << 10, 2 << 20


@dataclass(frozen=True)
class Group:
    """Blocks in the memory of one worker, and the same rows in blocks worth a kernel's call.

    The arrays are those of the blocks themselves, so a group takes no memory of its own but for
    small blocks, which are copied, and for rows that are to be divided by their lengths.
    """

    blocks: tuple[Block, ...]
    joined: tuple[Block, ...]

    @classmethod
    def of(cls, blocks: Iterable[Block]) -> Group:
        """Return the group of some blocks."""
        found = tuple(blocks)
        return cls(found, tuple(_joined(found)))

    def blocks_for(self, step: Pass[Any]) -> tuple[Block, ...]:
        """Return the blocks in the form in which a pass may have them."""
        return self.blocks if step.by_row_number else self.joined


def _joined(blocks: Iterable[Block]) -> list[Block]:
    """Return the rows of small blocks in fewer ones, numbered by the first, without row numbers."""
    found: list[Block] = []
    small: list[Block] = []
    size = 0

    def close() -> None:
        nonlocal small, size
        if len(small) > 1:
            rows = joined([block.rows for block in small])
            weights = None
            if small[0].weights is not None:
                weights = np.concatenate([block.row_weights() for block in small])
            numbers = tuple(block.number for block in small)
            found.append(Block(numbers[0], None, rows, weights, numbers))
        else:
            found.extend(small)
        small, size = [], 0

    for block in blocks:
        if block.rows.nbytes >= _SMALL_BLOCK_BYTES:
            found.append(block)
            continue
        if size + block.rows.nbytes > _JOINED_BYTES:
            close()
        small.append(block)
        size += block.rows.nbytes
    close()
    return found
