"""How tasks of dask's schedulers and of a cluster say which blocks they are done with.

dask's own schedulers call back after each task. The tasks of a cluster, which may be few and long,
send the numbers of blocks through its scheduler to the client that waits for them, each worker some
at a time: the scheduler is never asked, and has no task more.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import dask
from dask.callbacks import local_callbacks
from dask.typing import Key as TaskKey

from daskmeans.passes.schedulers import (
    Scheduler,
    current_scheduler,
    distributed_client,
    leave_workers_pool,
    takes_callbacks,
)
from daskmeans.passes.tally import Numbers, Tally

# Messages a second that all workers together send to their scheduler, which takes some 30 us each.
_MOST_MESSAGES = 200
# Passes of which a worker process remembers what it has not sent yet.
_MOST_PASSES = 64


def get_counted(
    scheduler: Scheduler,
    graph: Any,
    key: Any,
    tally: Tally | None,
    numbers: Mapping[TaskKey, Numbers],
) -> Any:
    """Compute a key of a graph, or a list of keys, and tell meanwhile how far that is.

    Parameters
    ----------
    scheduler : function
        A dask `get` function. Of one of the user's own nothing is told.
    graph, key : see dask
    tally : Tally or None
    numbers : mapping
        For the keys of tasks the blocks that are done with them. Those of a cluster say so
        themselves, see `reported`.
    """
    if tally is None:
        return scheduler(graph, key)
    client = distributed_client(scheduler)
    if client is not None:
        return _gathered(client, client.get(graph, [key], sync=False), [()], tally)[0]
    if not takes_callbacks(scheduler):
        return scheduler(graph, key)
    with _callbacks(tally, numbers) as callbacks:
        return scheduler(graph, key, callbacks=callbacks)


def compute_counted(values: Sequence[Any], tally: Tally | None) -> None:
    """Compute delayed values on the current scheduler, and tell meanwhile how many are done.

    Parameters
    ----------
    values : sequence of Delayed
        Each is a block.
    tally : Tally or None
    """
    scheduler = current_scheduler()
    client = distributed_client(scheduler)
    if tally is not None and client is not None:
        leave_workers_pool()
        _gathered(client, client.compute(values), [(i,) for i in range(len(values))], tally)
    elif tally is not None and takes_callbacks(scheduler):
        with _callbacks(tally, {value.key: (i,) for i, value in enumerate(values)}) as callbacks:
            dask.compute(*values, callbacks=callbacks)
    else:
        dask.compute(*values)


@contextmanager
def _callbacks(tally: Tally, numbers: Mapping[TaskKey, Numbers]) -> Iterator[list[Any]]:
    """Context that gives what one of dask's own schedulers is to call back, for one graph."""

    def count(key: TaskKey, *_: Any) -> None:
        tally(numbers.get(key, ()))

    # As a scheduler itself would: callbacks of the user's are not for graphs inside of the tasks.
    with local_callbacks() as active:
        yield [*active, (None, None, None, count, None)]


def _gathered(client: Any, futures: Any, numbers: Sequence[Numbers], tally: Tally) -> list[Any]:
    """Return the results of futures, with which some blocks are done, and let go of them."""
    try:
        wait_for_cluster(list(zip(futures, numbers, strict=True)), tally)
        return list(client.gather(futures))
    finally:
        for future in futures:
            future.release()


def wait_for_cluster(futures: Sequence[tuple[Any, Numbers]], tally: Tally | None) -> None:
    """Wait until futures are computed, or failed: whoever asks for results is told then.

    Parameters
    ----------
    futures : sequence of (Future, block numbers)
        The blocks that are done once the future is.
    tally : Tally or None
    """
    # `distributed.wait` asks for a default client, which a fit in another thread may have changed.
    for future, numbers in futures:
        if tally is None:
            if not future.done():
                future.exception()
            continue
        while not future.done():
            # Its result may take longer to come than the pause: that is for whoever gathers it.
            with suppress(TimeoutError):
                future.exception(timeout=tally.pause)
            if tally.is_due:
                # A client knows what is done; nothing is asked for it.
                for other, done in futures:
                    if done and other.done():
                        tally.add(done)
                tally.tell()
        tally(numbers)


class Report:
    """Sends the numbers of blocks from a task to the client of its pass; travels with the pass.

    Parameters
    ----------
    topic : str
        Of the events of a cluster, what the client listens to.
    token : str
        Of the pass.
    every : float
        Seconds between two messages of a worker.
    """

    def __init__(self, topic: str, token: str, every: float) -> None:
        self._topic = topic
        self._token = token
        self._every = every
        self._began = time.monotonic()

    def __reduce__(self) -> tuple[Any, ...]:
        # Made anew where it comes to: by its age a task knows whether a first block took long.
        return type(self), (self._topic, self._token, self._every)

    def __call__(self, numbers: Numbers) -> None:
        """Count blocks in a task."""
        from distributed import get_worker

        with _lock:
            unsent = _unsent.setdefault((self._topic, self._token), _Unsent(self._began))
            unsent.numbers.extend(numbers)
            if time.monotonic() - unsent.sent_at < self._every:
                return
            message = [self._token, unsent.numbers]
            unsent.numbers, unsent.sent_at = [], time.monotonic()
            while len(_unsent) > _MOST_PASSES:
                _unsent.popitem(last=False)
        get_worker().log_event(self._topic, message)


class _Unsent:
    """Blocks that a worker's threads have done, until there is a message of them."""

    def __init__(self, since: float) -> None:
        self.sent_at = since
        self.numbers: list[int] = []


_lock = threading.Lock()
_unsent: OrderedDict[tuple[str, str], _Unsent] = OrderedDict()

# The tallies that each client has messages for, by the tokens of their passes.
_listening: weakref.WeakKeyDictionary[Any, dict[str, Tally]] = weakref.WeakKeyDictionary()


@contextmanager
def reported(
    client: Any, tally: Tally | None, token: str
) -> Iterator[Callable[[Numbers], None] | None]:
    """Context that gives what counts blocks in the tasks of a cluster; None where nobody asks."""
    if tally is None:
        yield None
        return
    topic = f"daskmeans-{client.id}"
    with _lock:
        if client not in _listening:
            tallies: dict[str, Tally] = {}

            def hear(event: tuple[float, Any]) -> None:
                _, (of_pass, numbers) = event
                # Messages may come after the results that they tell of.
                known = tallies.get(of_pass)
                if known is not None:
                    known.add(numbers)

            client.subscribe_topic(topic, hear)
            _listening[client] = tallies
    _listening[client][token] = tally
    try:
        yield Report(topic, token, max(tally.every, len(client.nthreads()) / _MOST_MESSAGES))
    finally:
        del _listening[client][token]
