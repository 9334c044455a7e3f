"""What happens during long work, told to whoever asked: progress bars, the command line, tests.

The logger `daskmeans` is told too, unless `unobserved`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class PassStarted:
    """A pass over all blocks is about to run.

    Attributes
    ----------
    name : str
        What the pass is for, for instance ``"kmeans-assign"``.
    n_blocks : int
        Blocks that it reads.
    """

    name: str
    n_blocks: int


@dataclass(frozen=True)
class PassEnded:
    """A pass is over.

    Attributes
    ----------
    name : str
    n_blocks : int
    seconds : float
    n_rows : int or None
        None for the first pass over blocks of unknown size.
    """

    name: str
    n_blocks: int
    seconds: float
    n_rows: int | None


@dataclass(frozen=True)
class IterationEnded:
    """A Lloyd iteration is over; of several restarts, the best one is told.

    Attributes
    ----------
    iteration : int
        Counts from 1.
    inertia : float
        Of the new centers over the rows as they were assigned.
    center_shift : float
        Sum of squared distances between old and new centers.
    n_running : int
        Restarts that have not converged yet.
    """

    iteration: int
    inertia: float
    center_shift: float
    n_running: int


Event: TypeAlias = PassStarted | PassEnded | IterationEnded
Observer: TypeAlias = Callable[[Event], None]

_log = logging.getLogger("daskmeans")


def _write_down(event: Event) -> None:
    """Log a pass, at the level for those who look for where the time goes."""
    if isinstance(event, PassEnded):
        _log.debug("Pass %s: %d blocks in %.3f s.", event.name, event.n_blocks, event.seconds)


_observers: ContextVar[tuple[Observer, ...]] = ContextVar(
    "daskmeans_observers", default=(_write_down,)
)


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Call `observer` with each event of the work done inside of the context.

    Examples
    --------
    >>> from daskmeans.passes.events import PassStarted, observing, tell
    >>> with observing(print):
    ...     tell(PassStarted("kmeans-assign", 4))
    PassStarted(name='kmeans-assign', n_blocks=4)
    """
    token = _observers.set((*_observers.get(), observer))
    try:
        yield
    finally:
        _observers.reset(token)


@contextmanager
def unobserved() -> Iterator[None]:
    """Tell no observer: for work on a few rows that is none of the user's passes."""
    token = _observers.set(())
    try:
        yield
    finally:
        _observers.reset(token)


def tell(event: Event) -> None:
    """Tell every observer."""
    for observer in _observers.get():
        observer(event)
