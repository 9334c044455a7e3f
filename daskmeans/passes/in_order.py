"""Blocks one after the other, each read and prepared while those before it are being used.

A pass merges what all blocks yield in any order. A fold is for what depends on the order: its state
goes from block to block, and is the same to the bit wherever and in whatever numbers they are read.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import dask
from dask.task_spec import Task

from daskmeans.blocks.block import Block
from daskmeans.blocks.chains import tasks_behind
from daskmeans.blocks.source import RowSource
from daskmeans.passes.graph import Graph
from daskmeans.passes.plan import BlockTask, argument
from daskmeans.passes.schedulers import (
    Scheduler,
    blas_on_one_thread,
    distributed_client,
    is_local,
    threads_of,
)
from daskmeans.passes.walk import ReadBlock

State = TypeVar("State")
# Blocks that are being read or wait to be used, for each thread that reads.
_AHEAD = 2


@dataclass(frozen=True)
class Fold(Generic[State]):
    """What happens to the blocks.

    Attributes
    ----------
    name : str
        What a reader of the dask dashboard sees.
    prepare : function (Block, parameters) -> object
        Depends on no other block, and may run for several at a time. A module-level function.
    step : function (State, object) -> State
        Takes the state from one block to the next. Where a cluster reads, it runs on the worker
        that has read the block, so the state travels and the rows stay.
    """

    name: str
    prepare: Callable[[Block, Any], Any]
    step: Callable[[State, Any], State]


@dataclass(frozen=True)
class _Prepared:
    """The task of one block."""

    prepare: Callable[[Block, Any], Any]
    parameters: Any
    reading: ReadBlock

    def __call__(self) -> Any:
        return self.prepare(self.reading(), self.parameters)


def fold_blocks(
    fold: Fold[State],
    order: Iterable[tuple[int, Any]],
    state: State,
    source: RowSource,
    readings: Sequence[ReadBlock] | None,
    scheduler: Scheduler,
) -> Iterator[State]:
    """Yield the state after each block.

    Parameters
    ----------
    fold : Fold
    order : iterable of (block number, parameters)
        The parameters are handed to `prepare`. Asked for a few blocks ahead.
    state : State
    source : RowSource
    readings : sequence of functions () -> Block, or None
        How each block is read where the source has no graph.
    scheduler : function
        A dask `get` function.
    """
    client = distributed_client(scheduler)
    if client is not None:
        return _on_cluster(fold, order, state, source, readings, client)
    return _here(fold, order, state, source, readings, scheduler)


def _here(
    fold: Fold[State],
    order: Iterable[tuple[int, Any]],
    state: State,
    source: RowSource,
    readings: Sequence[ReadBlock] | None,
    scheduler: Scheduler,
) -> Iterator[State]:
    def prepared(number: int, parameters: Any) -> Any:
        if readings is not None:
            return _Prepared(fold.prepare, parameters, readings[number])()
        graph, key = _block_graph(fold, source, number, parameters)
        return scheduler(graph, key)

    if scheduler is dask.get:
        with blas_on_one_thread():
            for number, parameters in order:
                state = fold.step(state, prepared(number, parameters))
                yield state
        return
    # Where a block is a graph, the scheduler has threads or processes of its own.
    n_threads = threads_of(scheduler) if readings is not None and is_local(scheduler) else 1
    left = iter(order)
    with ThreadPoolExecutor(n_threads, thread_name_prefix="daskmeans-read") as readers:
        coming = deque(readers.submit(prepared, *each) for each in islice(left, _AHEAD * n_threads))
        try:
            while coming:
                block = coming.popleft().result()
                coming.extend(readers.submit(prepared, *each) for each in islice(left, 1))
                with blas_on_one_thread():
                    state = fold.step(state, block)
                del block
                yield state
        finally:
            for each in coming:
                each.cancel()


def _on_cluster(
    fold: Fold[State],
    order: Iterable[tuple[int, Any]],
    state: State,
    source: RowSource,
    readings: Sequence[ReadBlock] | None,
    client: Any,
) -> Iterator[State]:
    def prepared(number: int, parameters: Any) -> Any:
        if readings is not None:
            task = _Prepared(fold.prepare, parameters, readings[number])
            key = f"{fold.name}-rows-{uuid.uuid4().hex}"
            graph: Graph = {key: Task(key, task, _data_producer=True)}
        else:
            graph, key = _block_graph(fold, source, number, parameters)
        return client.get(graph, key, sync=False)

    left = iter(order)
    n_threads = threads_of(client.get)
    coming = deque(prepared(*each) for each in islice(left, _AHEAD * n_threads))
    while coming:
        block = coming.popleft()
        # The state is handed over whole, not as the future of the step before: a lost worker then
        # costs the blocks that it held, and no step is made again.
        stepped = client.submit(
            fold.step, state, block, key=f"{fold.name}-{uuid.uuid4().hex}", priority=1
        )
        coming.extend(prepared(*each) for each in islice(left, 1))
        state = stepped.result()
        del block, stepped
        yield state


def _block_graph(
    fold: Fold[Any], source: RowSource, number: int, parameters: Any
) -> tuple[Graph, str]:
    """Return the tasks that read and prepare one block, and the key of the last one."""
    parts = source.parts[number]
    weights = None if source.weights is None else source.weights[number]
    arguments = [argument(part) for part in (weights, *parts)]
    key = f"{fold.name}-rows-{uuid.uuid4().hex}"
    size = None if source.sizes is None else source.sizes[number]
    start = None if source.starts is None else source.starts[number]
    task = Task(
        key,
        BlockTask(fold.prepare, parameters, number, source.n_features, size, source.divides),
        start,
        *arguments,
    )
    graph: Graph = {key: task}
    for needed in task.dependencies:
        graph.update(
            {
                each: source.graph[each]
                for each in tasks_behind(source.graph, needed)
                if each in source.graph
            }
        )
    return graph, key
