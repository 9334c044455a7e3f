"""What a pass is, and the task of one block. The same on every scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from daskmeans.blocks.block import Block, make_block
from daskmeans.blocks.source import RowRange
from daskmeans.partials import PartialT


@dataclass(frozen=True)
class Pass(Generic[PartialT]):
    """One walk over all row blocks.

    Attributes
    ----------
    name : str
        What a reader of the dask dashboard sees.
    chunk : function (Block, parameters) -> Partial
        What a block yields. A module-level function, so that workers can import it.
    parameters : object
        Handed to every chunk; small, and picklable.
    """

    name: str
    chunk: Callable[[Block, Any], PartialT]
    parameters: Any


@dataclass(frozen=True)
class BlockTask(Generic[PartialT]):
    """The one task of a block: read, check, compute."""

    chunk: Callable[[Block, Any], PartialT]
    parameters: Any
    number: int
    n_features: int
    n_rows: int | None

    def __call__(self, start: int | None, weights: Any, *parts: Any) -> PartialT:
        read = [part.read() if isinstance(part, RowRange) else part for part in parts]
        if isinstance(weights, RowRange):
            weights = weights.read()
        block = make_block(self.number, start, read, weights, self.n_features, self.n_rows)
        return self.chunk(block, self.parameters)


def rows_until(start: int, rows: Any) -> int:
    """The task that numbers the rows after a block of unknown size: its start plus its rows."""
    return start + len(rows)


def merge(*partials: PartialT) -> PartialT:
    """The task of an inner node of the merge tree."""
    return type(partials[0]).combine(partials)


def merge_tree(n_leaves: int, split_every: int = 8) -> list[list[Sequence[int]]]:
    """Return for each level of the merge tree which nodes of the level below each node merges.

    Examples
    --------
    >>> merge_tree(5, split_every=2)
    [[range(0, 2), range(2, 4), range(4, 5)], [range(0, 2), range(2, 3)], [range(0, 2)]]
    """
    levels: list[list[Sequence[int]]] = []
    width = n_leaves
    while width > 1 or not levels:
        level: list[Sequence[int]] = [
            range(i, min(i + split_every, width)) for i in range(0, width, split_every)
        ]
        levels.append(level)
        width = len(level)
    return levels
