"""Count the blocks of a pass as they are done, and tell now and then how far it is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Generic

from daskmeans.blocks.block import Block
from daskmeans.blocks.source import RowSource
from daskmeans.partials import PartialT
from daskmeans.passes.events import PassAdvanced, seconds_between_advances, tell
from daskmeans.passes.plan import Pass

Numbers = Iterable[int]

# Who wants to be told of everything is, as soon as anything can be seen.
_SHORTEST_WAIT = 0.01


class Tally:
    """Blocks of a pass that are done: counted by any thread, told by the one that made it.

    Blocks may be counted in any order, and more than once: those of a worker that was lost are.

    Parameters
    ----------
    name : str
    numbers : sequence of int
        Of the blocks that the pass goes over.
    sizes : sequence of int, or None
        Rows of each block of the source, by its number; None if they are unknown.
    n_bytes : function () -> int or None
        Of the rows of these blocks; asked once something is told.
    every : float
        Seconds between two events at least. A pass that is over before tells nothing.

    Attributes
    ----------
    every : float
    pause : float
        Seconds that the thread which tells may wait for something else.
    """

    def __init__(
        self,
        name: str,
        numbers: Sequence[int],
        sizes: Sequence[int] | None,
        n_bytes: Callable[[], int | None],
        every: float,
    ) -> None:
        self.pause = max(every, _SHORTEST_WAIT)
        self._name = name
        self._numbers = numbers
        self._sizes = sizes
        self._count_bytes = n_bytes
        self.every = every
        self._thread = threading.get_ident()
        # What other threads have counted, until it is looked at.
        self._counted: deque[int] = deque()
        self._done: set[int] = set()
        self._rows_done = 0
        # Blocks done when it was told last.
        self._told = 0
        self._began = self._told_at = time.monotonic()

    @classmethod
    def of(cls, name: str, source: RowSource, numbers: Sequence[int] | None = None) -> Tally | None:
        """Make the tally of work on a source, or on some blocks of it; None where nobody asks."""
        every = seconds_between_advances()
        if every is None:
            return None
        blocks = range(source.n_blocks) if numbers is None else numbers

        def n_bytes() -> int | None:
            if source.sizes is None or source.n_bytes is None:
                return None
            n_rows = sum(source.sizes[number] for number in blocks)
            return source.n_bytes * n_rows // max(1, source.n_rows)

        return cls(name, blocks, source.sizes, n_bytes, every)

    @classmethod
    def of_parts(
        cls,
        name: str,
        n_parts: int,
        sizes: Sequence[int] | None = None,
        n_bytes: int | None = None,
    ) -> Tally | None:
        """Make the tally of work on parts, of so many rows if that is known, as `of` does."""
        every = seconds_between_advances()
        return None if every is None else cls(name, range(n_parts), sizes, lambda: n_bytes, every)

    # A pass that is over before anything is told of it needs neither.
    @cached_property
    def _n_rows(self) -> int | None:
        return None if self._sizes is None else sum(self._sizes[each] for each in self._numbers)

    @cached_property
    def _n_bytes(self) -> int | None:
        return self._count_bytes()

    def add(self, numbers: Numbers) -> None:
        """Count blocks."""
        self._counted.extend(numbers)

    def __call__(self, numbers: Numbers) -> None:
        """Count blocks; tell if it is time, and this the thread that does."""
        self.add(numbers)
        if threading.get_ident() == self._thread:
            self.tell()

    @property
    def is_due(self) -> bool:
        """Whether it is time to tell."""
        return time.monotonic() - self._told_at >= self.every

    @property
    def is_complete(self) -> bool:
        """Whether all blocks are done."""
        self._take_over()
        return len(self._done) == len(self._numbers)

    def tell(self) -> None:
        """Tell what is new, if it is time."""
        if self.is_due:
            self._take_over()
            self._tell_what_is_new()

    def finish(self) -> None:
        """Tell that all is done, if anything was told or everything is to be."""
        if self._told or self.every == 0:
            self.add(self._numbers)
            self._take_over()
            self._tell_what_is_new()

    def _take_over(self) -> None:
        while self._counted:
            number = self._counted.popleft()
            if number not in self._done:
                self._done.add(number)
                self._rows_done += 0 if self._sizes is None else self._sizes[number]

    def _tell_what_is_new(self) -> None:
        if len(self._done) == self._told:
            return
        self._told = len(self._done)
        self._told_at = time.monotonic()
        n_bytes = None
        if self._n_bytes is not None:
            n_bytes = self._n_bytes * self._rows_done // max(1, self._n_rows or 0)
        tell(
            PassAdvanced(
                self._name,
                len(self._numbers),
                len(self._done),
                self._n_rows,
                None if self._sizes is None else self._rows_done,
                n_bytes,
                self._told_at - self._began,
            )
        )


class CountedOrder:
    """An order in which blocks are used, that counts them; it tells of each epoch by itself.

    Parameters
    ----------
    name : str
    source : RowSource
    order : iterable of (block number, object)
        Asked for ahead of what is used. A sequence is of some blocks; else all come in any order,
        and again and again.
    """

    def __init__(self, name: str, source: RowSource, order: Iterable[tuple[int, Any]]) -> None:
        self._order = order
        self._ahead: deque[int] = deque()
        some = None
        if isinstance(order, Sequence):
            some = list(dict.fromkeys(number for number, _ in order))
        self._make = partial(Tally.of, name, source, some)
        self._tally = self._make()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for number, parameters in self._order:
            if self._tally is not None:
                self._ahead.append(number)
            yield number, parameters

    def used_one(self) -> None:
        """Count the next block."""
        if self._tally is not None:
            self._tally((self._ahead.popleft(),))
            if self._tally.is_complete:
                self._tally.finish()
                self._tally = self._make()


@dataclass(frozen=True)
class CountedChunk(Generic[PartialT]):
    """The chunk of a pass that says which blocks it is done with.

    Attributes
    ----------
    chunk : function (Block, parameters) -> Partial
    count : function (block numbers)
    """

    chunk: Callable[[Block, Any], PartialT]
    count: Callable[[Numbers], None]

    def __call__(self, block: Block, parameters: Any) -> PartialT:
        partial = self.chunk(block, parameters)
        self.count(block.joined or (block.number,))
        return partial


def counted(step: Pass[PartialT], count: Callable[[Numbers], None] | None) -> Pass[PartialT]:
    """Return a pass whose blocks are counted; as it is where nobody asks."""
    return step if count is None else replace(step, chunk=CountedChunk(step.chunk, count))


def wait_for_threads(futures: Iterable[Future[Any]], tally: Tally) -> None:
    """Tell how far threads are until all of them are done, or one has failed."""
    done: set[Future[Any]] = set()
    left = set(futures)
    while left and not any(each.exception() for each in done):
        done, left = wait(left, tally.pause, return_when=FIRST_EXCEPTION)
        tally.tell()
