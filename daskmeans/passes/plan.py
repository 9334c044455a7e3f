"""What a pass is, and the task of one block. The same on every scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from dask.task_spec import TaskRef

from daskmeans.blocks.block import Block, as_rows, make_block
from daskmeans.blocks.chains import Chain
from daskmeans.blocks.source import Key, Part, Readable, RowRange
from daskmeans.errors import DaskMeansError, RowsError
from daskmeans.kernels.csr import AnyRows, side_by_side
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
    by_row_number : bool
        The chunk asks where its rows are among all. If not, small blocks may be joined for it.
    partial_bytes : int
        Bytes of a partial that is large, of this pass or of one that is to come; 0: not known to
        be. It is compared with the memory that there is before the pass begins.
    """

    name: str
    chunk: Callable[[Block, Any], PartialT]
    parameters: Any
    by_row_number: bool = True
    partial_bytes: int = 0


@dataclass(frozen=True)
class BlockTask(Generic[PartialT]):
    """The task of a single block: read, check, compute."""

    chunk: Callable[[Block, Any], PartialT]
    parameters: Any
    number: int
    n_features: int
    n_rows: int | None
    divide: bool

    def __call__(self, start: int | None, weights: Any, *parts: Any) -> PartialT:
        read = [_taken(part) for part in parts]
        block = make_block(
            self.number,
            start,
            read,
            _taken(weights),
            self.n_features,
            self.n_rows,
            divide=self.divide,
        )
        return self.chunk(block, self.parameters)


def argument(part: Part | None) -> Any:
    """Return what stands for a part in a task: a reference to the task that makes it, or itself."""
    return TaskRef(part.key) if isinstance(part, Key) else part


def _taken(part: Any) -> Any:
    """Return what another task made, or read it."""
    return part.read() if isinstance(part, (RowRange, Chain)) else part


@dataclass(frozen=True)
class BlockReading:
    """What a task has to know to read and check a block by itself."""

    number: int
    start: int
    n_rows: int
    n_features: int
    weights: Readable | None
    parts: tuple[Readable, ...]
    divide: bool

    def __call__(self) -> Block:
        try:
            weights = None if self.weights is None else self.weights.read()
            parts = [part.read() for part in self.parts]
        except (MemoryError, DaskMeansError):
            raise
        except Exception as error:
            raise RowsError(
                f"Block {self.number} of X (rows {self.start} to {self.start + self.n_rows - 1}) "
                f"cannot be read or computed: {type(error).__name__}: {error}."
            ) from error
        return make_block(
            self.number,
            self.start,
            parts,
            weights,
            self.n_features,
            self.n_rows,
            divide=self.divide,
        )


def handed_over(step: Pass[PartialT]) -> Pass[PartialT]:
    """The task that is a pass itself, where it is too large to travel with each other task."""
    return step


def join_parts(*parts: Any) -> AnyRows:
    """The task that reads the rows of a block and only keeps them."""
    return side_by_side([as_rows(_taken(part)) for part in parts])


@dataclass(frozen=True)
class DividedRows:
    """The task that reads the rows of a block and keeps them divided by their lengths."""

    number: int
    start: int
    n_features: int

    def __call__(self, *parts: Any) -> AnyRows:
        read = [_taken(part) for part in parts]
        return make_block(self.number, self.start, read, None, self.n_features, divide=True).rows


def rows_until(start: int, rows: Any) -> int:
    """The task that numbers the rows after a block of unknown size: its start plus its rows."""
    return start + int(rows.shape[0])


def merge(*partials: PartialT) -> PartialT:
    """The task of an inner node of the merge tree."""
    return partials[0] if len(partials) == 1 else type(partials[0]).combine(partials)


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
