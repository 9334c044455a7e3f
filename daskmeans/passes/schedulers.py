"""Which dask scheduler is current, what it has, and the threads and processes of our own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import dask
import dask.multiprocessing
import dask.threaded
import threadpoolctl
from dask.base import get_scheduler
from dask.callbacks import Callback
from dask.system import CPU_COUNT

from daskmeans.errors import ClusterError

Scheduler: TypeAlias = Callable[..., Any]

# What a worker without a memory limit is taken to have.
_UNLIMITED_WORKER = 4 << 30


def current_scheduler() -> Scheduler:
    """Return the `get` function of the scheduler that dask would use now.

    Raises
    ------
    ClusterError
        If it is that of an asynchronous client.
    """
    if "distributed" not in sys.modules and dask.config.get("scheduler", None) is None:
        # dask would import distributed to ask for a client, half the time of a process's first fit.
        return dask.threaded.get
    try:
        return get_scheduler() or dask.threaded.get
    except RuntimeError as error:
        if "asynchronous" not in str(error):
            raise
        raise ClusterError(
            f"{error}. k-means waits for the results of its passes: run it in a thread, by "
            "asyncio.to_thread, with a synchronous client of its own for the same scheduler."
        ) from error


def local_scheduler() -> Scheduler:
    """Return the `get` for work that stays in this process: threads, unless dask is synchronous."""
    return dask.get if current_scheduler() is dask.get else dask.threaded.get


def is_local(scheduler: Scheduler) -> bool:
    """Tell whether a scheduler's tasks run in this process."""
    return scheduler in (dask.get, dask.threaded.get)


def needs_no_graph(scheduler: Scheduler) -> bool:
    """Tell whether threads of our own may stand in for a scheduler.

    A pool or callbacks of the user's are given a graph.
    """
    return is_local(scheduler) and dask.config.get("pool", None) is None and not Callback.active


def thread_count() -> int:
    """Return how many tasks the local scheduler runs at a time, as dask counts them."""
    return threads_of(local_scheduler())


def threads_of(scheduler: Scheduler) -> int:
    """Return how many tasks a scheduler runs at a time now."""
    if scheduler is dask.get:
        return 1
    client = distributed_client(scheduler)
    if client is not None:
        return sum(client.nthreads().values())
    return int(dask.config.get("num_workers", None) or CPU_COUNT)


def distributed_client(scheduler: Scheduler) -> Any:
    """Return the Client whose `get` the scheduler is, or None."""
    owner = getattr(scheduler, "__self__", None)
    return owner if type(owner).__module__.startswith("distributed") else None


def leave_workers_pool() -> None:
    """Give up the place of this task among those that its worker runs at a time, if it is one.

    A fit inside of a task waits for others, which may be sent to the same worker: with its place
    held they would wait for each other.
    """
    from distributed import secede
    from distributed.threadpoolexecutor import thread_state

    # Only threads that do tasks have it, and it is false once one of them has left.
    if getattr(thread_state, "proceed", False):
        secede()


def cluster_memory(client: Any, *, free: bool) -> int:
    """Return the bytes that the workers may hold together, or what they have free of them."""
    total = 0
    for worker in client.scheduler_info(n_workers=-1)["workers"].values():
        limit = int(worker["memory_limit"] or _UNLIMITED_WORKER)
        used = int(worker.get("metrics", {}).get("memory", 0)) if free else 0
        total += max(0, limit - used)
    return total


@cache
def _blas() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


def blas_on_one_thread() -> Any:
    """Context that holds BLAS to one thread: blocks are the parallelism, and bits must not vary."""
    return _blas().limit(limits=1, user_api="blas")


@cache
def thread_pool(n_threads: int) -> ThreadPoolExecutor:
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


@dataclass(frozen=True)
class _InLastingPool:
    """dask's multiprocessing `get`, in processes that outlive a pass."""

    n_workers: int

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        pool = _process_pool(self.n_workers)
        try:
            return dask.multiprocessing.get(graph, keys, pool=pool, **options)
        except BrokenProcessPool:
            _process_pool.cache_clear()
            raise


def with_process_pool(scheduler: Scheduler) -> Scheduler:
    """Give dask's multiprocessing scheduler a lasting pool, unless the user configured one."""
    if scheduler is not dask.multiprocessing.get or dask.config.get("pool", None) is not None:
        return scheduler
    return _InLastingPool(int(dask.config.get("num_workers", None) or CPU_COUNT))


def takes_callbacks(scheduler: Scheduler) -> bool:
    """Tell whether a scheduler is one of dask's own, which call back after each task."""
    return (
        is_local(scheduler)
        or scheduler is dask.multiprocessing.get
        or isinstance(scheduler, _InLastingPool)
    )
