"""Run a pass as a dask graph, under whichever scheduler is current.

The graph is new-style tasks: one a block, which reads, checks and computes, and a merge tree.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from functools import cache
from itertools import count
from typing import Any

import dask
import dask.array as da
import dask.multiprocessing
import dask.threaded
import numpy as np
import psutil
import threadpoolctl
from dask.base import get_scheduler
from dask.callbacks import Callback
from dask.system import CPU_COUNT
from dask.task_spec import GraphNode, Task, TaskRef
from dask.typing import Key as TaskKey

from daskmeans.blocks.inputs import row_source
from daskmeans.blocks.source import Key, Part, RowRange, RowSource
from daskmeans.partials import PartialT
from daskmeans.passes.events import PassEnded, PassStarted, tell
from daskmeans.passes.plan import BlockTask, Pass, merge, merge_tree, rows_until

# Row state gets one part in this many of the memory.
_STATE_SHARE = 8
# What a worker without a memory limit is taken to have.
_UNLIMITED_WORKER = 4 << 30


def current_scheduler() -> Callable[..., Any]:
    """Return the `get` function of the scheduler that dask would use now."""
    if "distributed" not in sys.modules and dask.config.get("scheduler", None) is None:
        # dask would import distributed to ask for a client, half the time of a process's first fit.
        return dask.threaded.get
    return get_scheduler() or dask.threaded.get


def local_scheduler() -> Callable[..., Any]:
    """Return the `get` for work that stays in this process: threads, unless dask is synchronous."""
    return dask.get if current_scheduler() is dask.get else dask.threaded.get


def thread_count() -> int:
    """Return the number of threads of the local scheduler, as dask counts it."""
    scheduler = current_scheduler()
    if scheduler is not dask.threaded.get:
        return 1 if scheduler is dask.get else CPU_COUNT
    return int(dask.config.get("num_workers", None) or CPU_COUNT)


def _distributed_client(scheduler: Callable[..., Any]) -> Any:
    """Return the Client whose `get` the scheduler is, or None."""
    owner = getattr(scheduler, "__self__", None)
    return owner if type(owner).__module__.startswith("distributed") else None


@cache
def _blas() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


def blas_on_one_thread() -> Any:
    """Context that holds BLAS to one thread: blocks are the parallelism, and bits must not vary."""
    return _blas().limit(limits=1, user_api="blas")


@cache
def _thread_pool(n_threads: int) -> ThreadPoolExecutor:
    """Return threads that outlive a pass."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="daskmeans")


@cache
def _process_pool(n_workers: int) -> ProcessPoolExecutor:
    """Return worker processes that outlive a pass: dask starts its own anew for each graph."""
    return ProcessPoolExecutor(
        n_workers,
        mp_context=dask.multiprocessing.get_context(),
        initializer=dask.multiprocessing.initialize_worker_process,
    )


def _with_process_pool(scheduler: Callable[..., Any]) -> Callable[..., Any]:
    """Give dask's multiprocessing scheduler a lasting pool, unless the user configured one."""
    if scheduler is not dask.multiprocessing.get or dask.config.get("pool", None) is not None:
        return scheduler
    n_workers = int(dask.config.get("num_workers", None) or CPU_COUNT)

    def get(graph: Any, keys: Any) -> Any:
        try:
            return scheduler(graph, keys, pool=_process_pool(n_workers))
        except BrokenProcessPool:
            _process_pool.cache_clear()
            raise

    return get


class Runner:
    """Runs passes over one row source.

    Parameters
    ----------
    source : RowSource
    scheduler : function, optional
        A dask `get` function; default the current scheduler's.

    Attributes
    ----------
    source : RowSource
        The rows, placed where the scheduler's workers reach them without copying them each pass.
    """

    def __init__(self, source: RowSource, scheduler: Callable[..., Any] | None = None) -> None:
        self._scheduler = _with_process_pool(scheduler or current_scheduler())
        self._client = _distributed_client(self._scheduler)
        self.source = source
        if self._client is not None and source.in_memory:
            self.source = _on_cluster(self._client, source)
        # Rows of this process need no graph on threads of this process, and small fits no
        # millisecond of it a pass. A pool or callbacks of the user's are given one.
        self._direct = (
            self.source.in_memory
            and not self.source.graph
            and self._scheduler in (dask.get, dask.threaded.get)
            and dask.config.get("pool", None) is None
            and not Callback.active
        )
        self._token = uuid.uuid4().hex
        self._numbers = count()
        self._users = Counter(
            key for task in self.source.graph.values() for key in getattr(task, "dependencies", ())
        )

    @property
    def row_state_bytes(self) -> int:
        """Bytes that may be kept of all rows between passes, where the tasks will find them.

        A part of the memory of this process for its threads, and of the workers that hold the
        blocks for a cluster. 0 where a block has no home: in other processes, and on a cluster
        that reads it anew in each pass.
        """
        if self._client is not None:
            return self._resident_bytes() // _STATE_SHARE
        if self._scheduler in (dask.get, dask.threaded.get):
            return int(psutil.virtual_memory().available) // _STATE_SHARE
        return 0

    def _resident_bytes(self) -> int:
        """Memory of the workers if they hold all blocks, else 0."""
        keys = [part.key for parts in self.source.parts for part in parts if isinstance(part, Key)]
        if not keys or not all(_is_held(self.source.graph.get(key)) for key in keys):
            return 0
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(worker["memory_limit"] or _UNLIMITED_WORKER) for worker in workers)

    def __call__(self, step: Pass[PartialT]) -> PartialT:
        """Run a pass and return the merged partial of all blocks."""
        n_blocks = self.source.n_blocks
        tell(PassStarted(step.name, n_blocks))
        started = time.perf_counter()
        result: PartialT
        if self._direct:
            result = merge(*self._map_here(step))
        else:
            graph, key = self.graph(step)
            with nullcontext() if self._client is not None else blas_on_one_thread():
                result = self._scheduler(graph, key)
        tell(PassEnded(step.name, n_blocks, time.perf_counter() - started))
        return result

    def _map_here(self, step: Pass[PartialT]) -> list[PartialT]:
        """Return the partials of all blocks, computed in threads of this process."""
        starts = self.source.starts or ()

        def compute(number: int) -> PartialT:
            parts = self.source.parts[number]
            return self._task(step, number)(starts[number], self._weights(number), *parts)

        numbers = range(self.source.n_blocks)
        if len(numbers) == 1 or self._scheduler is dask.get:
            return [compute(number) for number in numbers]
        return list(_thread_pool(thread_count()).map(compute, numbers))

    def graph(self, step: Pass[PartialT]) -> tuple[dict[TaskKey, Any], TaskKey]:
        """Return the tasks of a pass, and the key of its result."""
        source = self.source
        token = f"{self._token}-{next(self._numbers)}"
        graph: dict[TaskKey, Any] = dict(source.graph)
        below: list[TaskKey] = []
        starts = source.starts
        start: Any = 0
        for number, parts in enumerate(source.parts):
            arguments = [_argument(part) for part in (self._weights(number), *parts)]
            key: TaskKey = (f"{step.name}-{token}", number)
            call = self._task(step, number)
            if starts is not None:
                graph[key] = self._fused(Task(key, call, starts[number], *arguments), parts)
            else:
                # The rows of a block are numbered as soon as those before it have been counted: a
                # chain of tiny tasks beside the blocks, instead of a pass that only counts.
                graph[key] = Task(key, call, start, *arguments)
                counted: TaskKey = (f"kmeans-row-numbers-{token}", number)
                graph[counted] = Task(counted, rows_until, start, arguments[1])
                start = TaskRef(counted)
            below.append(key)
        for level, nodes in enumerate(merge_tree(len(below))):
            keys: list[TaskKey] = []
            for node, children in enumerate(nodes):
                key = (f"kmeans-merge-{token}", level, node)
                graph[key] = Task(key, merge, *(TaskRef(below[child]) for child in children))
                keys.append(key)
            below = keys
        return graph, below[0]

    def learn_sizes(self, sizes: tuple[int, ...]) -> None:
        """Take over the rows of each block, counted in a pass."""
        self.source = self.source.with_sizes(sizes)

    def _weights(self, number: int) -> Part | None:
        return None if self.source.weights is None else self.source.weights[number]

    def _task(self, step: Pass[PartialT], number: int) -> BlockTask[PartialT]:
        source = self.source
        return BlockTask(
            step.chunk,
            step.parameters,
            number,
            source.n_features,
            None if source.sizes is None else source.sizes[number],
        )

    def _fused(self, task: Task, parts: tuple[Part, ...]) -> GraphNode:
        """Join a block's own reading task to its computing task where nothing else uses it."""
        if len(parts) == 1 and isinstance(parts[0], Key):
            reading = self.source.graph[parts[0].key]
            if isinstance(reading, Task) and not self._users[parts[0].key]:
                return Task.fuse(reading, task)
        return task


def run_here(source: RowSource) -> Runner:
    """Return a runner that works in this thread: for few rows, whatever the current scheduler."""
    return Runner(source, dask.get)


def _is_held(node: Any) -> bool:
    """Tell whether a node of a graph is a future: a result that a cluster holds."""
    return type(node).__module__.startswith("distributed")


def _argument(part: Part | None) -> Any:
    return TaskRef(part.key) if isinstance(part, Key) else part


def _on_cluster(client: Any, source: RowSource) -> RowSource:
    """Send an in-memory array to the workers once, in its blocks, instead of with every pass."""
    ranges = [parts[0] for parts in source.parts]
    first = ranges[0]
    assert isinstance(first, RowRange)
    array = da.from_array(np.asarray(first.array), chunks=(source.known_sizes, -1))
    placed = row_source(client.persist(array), feature_names=source.feature_names)
    return RowSource(
        placed.n_features,
        placed.dtype,
        placed.sizes,
        placed.parts,
        weights=source.weights,
        graph=placed.graph,
        feature_names=source.feature_names,
    )
