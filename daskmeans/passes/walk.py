"""Walk over many blocks in one task: read the next one while the kernel works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, Generic

from daskmeans.blocks.block import Block
from daskmeans.partials import PartialT, Sums
from daskmeans.passes.plan import BlockReading, Pass, merge
from daskmeans.passes.tally import Tally, counted, wait_for_threads

ReadBlock = Callable[[], Block]


class RunningMerge(Generic[PartialT]):
    """Partials merged as they come, two of the same number of blocks at a time.

    So each is merged as often as in a tree, and no more than a logarithm of their number is held.
    Sums are added to a single one: of many clusters they may be as large as a block.
    """

    def __init__(self) -> None:
        self._levels: list[PartialT | None] = []

    def add(self, partial: PartialT) -> None:
        if isinstance(partial, Sums) and self._levels:
            self._levels = [merge(self._levels[0], partial)]
            return
        for level, other in enumerate(self._levels):
            if other is None:
                self._levels[level] = partial
                return
            self._levels[level] = None
            partial = merge(other, partial)
        self._levels.append(partial)

    def result(self) -> PartialT | None:
        """Return the merged partial; None if nothing was added."""
        found = [partial for partial in self._levels if partial is not None]
        return merge(*found) if found else None


def walk(
    step: Pass[PartialT], readings: Iterator[ReadBlock], *, read_ahead: bool
) -> PartialT | None:
    """Run a pass over some blocks; at most two of them are held at a time.

    Parameters
    ----------
    step : Pass
    readings : iterator of functions () -> Block
    read_ahead : bool
        Read the next block in a thread of its own, for reading that waits or decompresses.

    Returns
    -------
    Partial
        None for no blocks.
    """
    merged: RunningMerge[PartialT] = RunningMerge()
    if not read_ahead:
        for reading in readings:
            merged.add(step.chunk(reading(), step.parameters))
        return merged.result()
    with ThreadPoolExecutor(1, thread_name_prefix="daskmeans-read") as reader:
        coming = _submitted(reader, readings)
        while coming is not None:
            block = coming.result()
            # The future before is let go here, and with it its block, before a third one is read.
            coming = _submitted(reader, readings)
            merged.add(step.chunk(block, step.parameters))
            del block
    return merged.result()


def _submitted(reader: Executor, readings: Iterator[ReadBlock]) -> Any:
    reading = next(readings, None)
    return None if reading is None else reader.submit(reading)


def walk_in_threads(
    step: Pass[PartialT],
    readings: list[ReadBlock],
    *,
    n_threads: int,
    read_ahead: bool,
    pool: Executor | None = None,
    tally: Tally | None = None,
) -> PartialT:
    """Run a pass over all blocks in threads of this process; each takes the next that is left.

    Parameters
    ----------
    step : Pass
    readings : list of functions () -> Block
    n_threads : int
        With 1 all is done in the calling thread, but for reading ahead.
    read_ahead : bool
    pool : Executor, optional
        Threads to use, which must not be waited for by what `readings` do.
    tally : Tally, optional
        Told of each block that is done.
    """
    step = counted(step, tally)
    left = deque(readings)
    n_threads = min(n_threads, len(left))

    def walk_what_is_left() -> PartialT | None:
        try:
            return walk(step, _taken_from(left), read_ahead=read_ahead)
        except BaseException:
            # The other threads begin nothing more.
            left.clear()
            raise

    if n_threads == 1:
        found = [walk_what_is_left()]
    else:
        started = (
            nullcontext(pool)
            if pool is not None
            else ThreadPoolExecutor(n_threads, thread_name_prefix="daskmeans")
        )
        with started as threads:
            walks = [threads.submit(walk_what_is_left) for _ in range(n_threads)]
            try:
                if tally is not None:
                    wait_for_threads(walks, tally)
                found = [each.result() for each in walks]
            finally:
                # An interrupt from the keyboard comes here alone.
                left.clear()
    return merge(*(partial for partial in found if partial is not None))


def _taken_from(left: deque[ReadBlock]) -> Iterator[ReadBlock]:
    """Yield what is left of a queue that several threads take from."""
    while True:
        try:
            reading = left.popleft()
        except IndexError:
            return
        yield reading


def walk_over(step: Pass[PartialT], readings: tuple[BlockReading, ...]) -> PartialT:
    """The task of a run of blocks in a graph."""
    found = walk(step, iter(readings), read_ahead=len(readings) > 1)
    assert found is not None
    return found


def runs_of_blocks(n_blocks: int, n_runs: int) -> list[range]:
    """Split blocks into at most so many runs of neighbours, of sizes that differ by one at most.

    Examples
    --------
    >>> runs_of_blocks(7, 3)
    [range(0, 2), range(2, 4), range(4, 7)]
    """
    n_runs = min(n_blocks, n_runs)
    edges = [n_blocks * i // n_runs for i in range(n_runs + 1)]
    return [range(a, b) for a, b in pairwise(edges)]
