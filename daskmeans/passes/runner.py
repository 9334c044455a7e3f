"""Run passes over a row source: in threads of this process, or as graphs of a dask scheduler."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from typing import Any

import dask
import psutil

from daskmeans.blocks.block import Block
from daskmeans.blocks.chains import held_elsewhere, unchained
from daskmeans.blocks.source import Key, Part, Readable, RowSource
from daskmeans.partials import PartialT
from daskmeans.passes.cluster_checks import check_client, check_fits, explained
from daskmeans.passes.events import PassEnded, PassStarted, tell
from daskmeans.passes.graph import (
    Graph,
    TaskKey,
    blocks_of_tasks,
    graph_of_blocks,
    graph_of_walks,
)
from daskmeans.passes.in_order import Fold, State, fold_blocks
from daskmeans.passes.persist import Persist, decide, gathered_here, placed_on_cluster
from daskmeans.passes.plan import BlockReading, Pass
from daskmeans.passes.reports import get_counted, reported
from daskmeans.passes.resident import ResidentBlocks
from daskmeans.passes.room import check_room
from daskmeans.passes.schedulers import (
    Scheduler,
    blas_on_one_thread,
    cluster_memory,
    current_scheduler,
    distributed_client,
    is_local,
    leave_workers_pool,
    needs_no_graph,
    thread_pool,
    threads_of,
    with_process_pool,
)
from daskmeans.passes.tally import CountedOrder, Tally, counted
from daskmeans.passes.walk import ReadBlock, walk_in_threads

# Row state gets one part in this many of the memory.
_STATE_SHARE = 8
# Tasks of a pass for each thread: the last one to end then holds up the rest for a part of an
# eighth of the pass.
_WALKS_A_THREAD = 8


class Runner:
    """Runs passes over one row source.

    Parameters
    ----------
    source : RowSource
    scheduler : function, optional
        A dask `get` function; default the current scheduler's.
    persist : {"auto", True, False}, default=False
        Keep rows that are lazy or in a store in memory once they were read. "auto" does if they
        fit in half of what is free.
    own_threads : bool
        Stay away from a pool and from callbacks that dask is configured with.

    Attributes
    ----------
    source : RowSource
        The rows, placed where the scheduler's workers reach them without copying them each pass.
    n_passes : int
        Passes run so far.
    """

    def __init__(
        self,
        source: RowSource,
        scheduler: Scheduler | None = None,
        *,
        persist: Persist = False,
        own_threads: bool = False,
    ) -> None:
        self._scheduler = with_process_pool(scheduler or current_scheduler())
        self._client = distributed_client(self._scheduler)
        self._here = own_threads or needs_no_graph(self._scheduler)
        self.source = source
        # As it was given: tasks of its graph may be what a cluster's workers die of.
        self._given = source
        self.n_passes = 0
        self._n_reads = 0
        # Partials of so many bytes were found to fit.
        self._room_for = 0
        self._persist = persist
        # Whether rows are in memory; and blocks that are kept as soon as they are read.
        self._resident = False
        self._kept: dict[int, Block] | None = None
        # Blocks that a fold has left for the next one.
        self._left: dict[int, Block] = {}
        self._readings: list[BlockReading] | None = None
        self._on_workers: ResidentBlocks | None = None
        self._token = uuid.uuid4().hex
        self._numbers = count()
        if self._client is not None:
            leave_workers_pool()
            check_client(self._client)
            if source.in_memory:
                check_fits(self._client, source, kept=True)
                # Once, in its blocks, instead of with every pass.
                self.source = placed_on_cluster(self._client, source)
        self._place()

    def _place(self) -> None:
        """Decide what stays in memory between passes, once the number of rows is known."""
        if self.source.sizes is None:
            return
        apart = unchained(self.source)
        if self._client is not None:
            self._resident = held_elsewhere(self.source)
            if not self._resident:
                check_fits(self._client, self.source, kept=self._persist is True)
        else:
            self._resident = apart is not None and _all_resident(apart)
        if not self._resident and decide(self.source, self._persist, self._scheduler, self._client):
            if self._client is None and self._here and apart is not None:
                self._kept = {}
            else:
                self._n_reads += 1
                if self._client is not None:
                    self.source = placed_on_cluster(self._client, self.source)
                else:
                    self.source = gathered_here(self.source, self._scheduler)
                apart = unchained(self.source)
                self._resident = True
        if self._client is not None and self._resident:
            self._on_workers = ResidentBlocks(self._client, self.source)
        self._readings = None if apart is None else _readings(apart)

    def learn_sizes(self, sizes: tuple[int, ...]) -> None:
        """Take over the rows of each block, counted in a pass."""
        self.source = self.source.with_sizes(sizes)
        self._given = self._given.with_sizes(sizes)
        self._place()

    def learn_bytes(self, n_bytes: int) -> None:
        """Take over the size of sparse rows, found in a pass."""
        self.source = replace(self.source, sparse_bytes=n_bytes)
        self._given = replace(self._given, sparse_bytes=n_bytes)
        self._place()

    @property
    def bytes_read(self) -> int:
        """Bytes of rows, by their size in memory, that were read or computed so far.

        0 for rows that were in memory, and until their number and size are known.
        """
        if self._n_reads == 0 or self.source.sizes is None:
            return 0
        return self._n_reads * (self.source.n_bytes or 0)

    @property
    def row_state_bytes(self) -> int:
        """Bytes that may be kept of all rows between passes, where the tasks will find them.

        A part of the memory of this process for its threads, and of the workers that hold the
        blocks for a cluster. 0 for rows that are read anew in each pass: there may be any number
        of them, and reading is what takes the time.
        """
        if self._client is not None:
            total = cluster_memory(self._client, free=False) if self._resident else 0
            return total // _STATE_SHARE
        if is_local(self._scheduler) and (self._resident or self._kept is not None):
            return int(psutil.virtual_memory().available) // _STATE_SHARE
        return 0

    def __call__(self, step: Pass[PartialT]) -> PartialT:
        """Run a pass and return the merged partial of all blocks."""
        n_blocks = self.source.n_blocks
        if step.partial_bytes > self._room_for:
            check_room(step.partial_bytes, threads_of(self._scheduler), self._client)
            self._room_for = step.partial_bytes
        tell(PassStarted(step.name, n_blocks))
        started = time.perf_counter()
        self.n_passes += 1
        in_memory = self._resident or (self._kept is not None and len(self._kept) == n_blocks)
        self._n_reads += not in_memory
        result: PartialT
        # The tasks of a user's graph may use BLAS; kernels do not.
        quiet = self._client is not None or (self._here and in_memory)
        explaining = nullcontext() if self._client is None else explained(self._given)
        tally = Tally.of(step.name, self.source)
        with explaining, nullcontext() if quiet else blas_on_one_thread():
            if self._here and self._readings is not None:
                result = self._walk_here(step, self._readings, in_memory, tally)
            elif self._client is not None:
                result = self._run_on_cluster(step, self._client, tally)
            else:
                token = self._new_token()
                graph, key = self._graph(step, token)
                numbers = (
                    {}
                    if tally is None
                    else blocks_of_tasks(graph, f"{step.name}-{token}", n_blocks)
                )
                result = get_counted(self._scheduler, graph, key, tally, numbers)
        if tally is not None:
            tally.finish()
        n_rows = None if self.source.sizes is None else self.source.n_rows
        tell(PassEnded(step.name, n_blocks, time.perf_counter() - started, n_rows))
        return result

    def fold(
        self,
        fold: Fold[State],
        order: Iterable[tuple[int, Any]],
        state: State,
        *,
        keep: bool = False,
    ) -> Iterator[State]:
        """Take a state through blocks in a given order; yield it after each, see `fold_blocks`.

        With `keep`, blocks read here stay in memory until the next fold has used them.
        """
        readings: Sequence[ReadBlock] | None = self._readings
        if readings is not None and self._client is None:
            readings = [
                _HandedOn(reading, self._left, keep=keep) for reading in self._readings or ()
            ]
        explaining = nullcontext() if self._client is None else explained(self._given)
        with explaining:
            counting = CountedOrder(fold.name, self.source, order)
            states = fold_blocks(fold, counting, state, self.source, readings, self._scheduler)
            for used in states:
                counting.used_one()
                yield used

    def _run_on_cluster(self, step: Pass[PartialT], client: Any, tally: Tally | None) -> PartialT:
        token = self._new_token()
        result: PartialT
        with reported(client, tally, token) as report:
            step = counted(step, report)
            if self._on_workers is not None:
                result = self._on_workers(step, token, tally)
            else:
                graph, key = self._graph(step, token)
                result = get_counted(self._scheduler, graph, key, tally, {})
        return result

    def _walk_here(
        self,
        step: Pass[PartialT],
        readings: list[BlockReading],
        in_memory: bool,
        tally: Tally | None,
    ) -> PartialT:
        n_threads = threads_of(self._scheduler) if len(readings) > 1 else 1
        kept = self._kept
        todo: list[ReadBlock] = list(readings)
        if kept is not None:
            todo = [_Keeping(reading, kept) for reading in readings]
        return walk_in_threads(
            step,
            todo,
            n_threads=n_threads,
            read_ahead=not in_memory and self._scheduler is not dask.get,
            # Reading may run anything, another fit too, for which these threads would not be free.
            pool=thread_pool(n_threads) if in_memory and n_threads > 1 else None,
            tally=tally,
        )

    def _new_token(self) -> str:
        return f"{self._token}-{next(self._numbers)}"

    def graph(self, step: Pass[PartialT]) -> tuple[Graph, TaskKey]:
        """Return the tasks of a pass, and the key of its result."""
        return self._graph(step, self._new_token())

    def _graph(self, step: Pass[PartialT], token: str) -> tuple[Graph, TaskKey]:
        if self._readings is None:
            return graph_of_blocks(step, self.source, token)
        n_walks = self.source.n_blocks
        if not self._resident:
            n_walks = _WALKS_A_THREAD * threads_of(self._scheduler)
        return graph_of_walks(step, self._readings, n_walks, token, apart=self._client is not None)


class _Keeping:
    """Reads a block once and keeps it."""

    def __init__(self, reading: BlockReading, kept: dict[int, Block]) -> None:
        self._reading = reading
        self._kept = kept

    def __call__(self) -> Block:
        number = self._reading.number
        if number not in self._kept:
            self._kept[number] = self._reading()
        return self._kept[number]


class _HandedOn:
    """Reads a block, or takes the one that was left, and may leave it for the next."""

    def __init__(self, reading: BlockReading, left: dict[int, Block], *, keep: bool) -> None:
        self._reading = reading
        self._left = left
        self._keep = keep

    def __call__(self) -> Block:
        number = self._reading.number
        block = self._left.pop(number) if number in self._left else self._reading()
        if self._keep:
            self._left[number] = block
        return block


def run_here(source: RowSource) -> Runner:
    """Return a runner that works in this thread: for few rows, whatever the current scheduler."""
    return Runner(source, dask.get, own_threads=True)


def _readable(part: Part) -> Readable:
    assert not isinstance(part, Key)
    return part


def _all_resident(apart: RowSource) -> bool:
    return all(_readable(part).resident for parts in apart.parts for part in parts)


def _readings(apart: RowSource) -> list[BlockReading]:
    """Return how each block of a source without a graph is read."""
    return [
        BlockReading(
            number,
            start,
            size,
            apart.n_features,
            None if apart.weights is None else _readable(apart.weights[number]),
            tuple(_readable(part) for part in parts),
            apart.divides,
        )
        for number, (start, size, parts) in enumerate(
            zip(apart.starts or (), apart.known_sizes, apart.parts, strict=True)
        )
    ]
