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
class PassAdvanced:
    """Some blocks of a pass are done: told now and then, and only while one takes long.

    A pass that has told of some ends with one of all. It is told of other long work on blocks too:
    reading rows into memory, an epoch of mini-batches, writing a store.

    Attributes
    ----------
    name : str
        As of `PassStarted`.
    n_blocks, blocks_done : int
    n_rows, rows_done : int or None
        None for blocks of unknown sizes.
    bytes_done : int or None
        Bytes of these rows in memory; None where that is unknown.
    seconds : float
        Since it began.
    """

    name: str
    n_blocks: int
    blocks_done: int
    n_rows: int | None
    rows_done: int | None
    bytes_done: int | None
    seconds: float

    @property
    def fraction(self) -> float:
        """Share of the rows that are done, or of the blocks where their sizes are unknown."""
        if self.rows_done is not None and self.n_rows:
            return self.rows_done / self.n_rows
        return self.blocks_done / self.n_blocks


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
class SeedingStarted:
    """Initial centers are about to be made: of a sample in memory, or by passes.

    Attributes
    ----------
    n_clusters : int
    """

    n_clusters: int


@dataclass(frozen=True)
class IterationStarted:
    """A Lloyd iteration, or an epoch of mini-batches, is about to begin.

    Attributes
    ----------
    iteration : int
        Counts from 1.
    max_iter : int
        Where it ends, unless the fit converges before.
    """

    iteration: int
    max_iter: int


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


@dataclass(frozen=True)
class StepEnded:
    """A step of a fit by mini-batches is over.

    Attributes
    ----------
    step : int
        Counts from 1.
    smoothed_inertia : float
        Of a row, by the centers that each step began with: an exponentially weighted mean.
    center_shift : float
        Sum of squared distances between old and new centers.
    """

    step: int
    smoothed_inertia: float
    center_shift: float


Event: TypeAlias = (
    PassStarted
    | PassAdvanced
    | PassEnded
    | SeedingStarted
    | IterationStarted
    | IterationEnded
    | StepEnded
)
Observer: TypeAlias = Callable[[Event], None]

_log = logging.getLogger("daskmeans")


def _write_down(event: Event) -> None:
    """Log a pass, at the level for those who look for where the time goes."""
    if isinstance(event, PassEnded):
        _log.debug("Pass %s: %d blocks in %.3f s.", event.name, event.n_blocks, event.seconds)


# Each with the seconds between two `PassAdvanced`; None for those who are told of none.
_observers: ContextVar[tuple[tuple[Observer, float | None], ...]] = ContextVar(
    "daskmeans_observers", default=((_write_down, None),)
)


@contextmanager
def observing(observer: Observer, *, every: float | None = None) -> Iterator[None]:
    """Call `observer` with each event of the work done inside of the context.

    It is called in the thread that does, or waits for, the work.

    Parameters
    ----------
    observer : function (Event)
    every : float, optional
        Be told of what is done inside of passes too, `PassAdvanced`, so many seconds apart at
        least; 0 for all there is. Where nobody asks, blocks are not even counted.

    Examples
    --------
    >>> from daskmeans.passes.events import PassStarted, observing, tell
    >>> with observing(print):
    ...     tell(PassStarted("kmeans-assign", 4))
    PassStarted(name='kmeans-assign', n_blocks=4)
    """
    token = _observers.set((*_observers.get(), (observer, every)))
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


def seconds_between_advances() -> float | None:
    """Return how often somebody wants to know how far a pass is; None if nobody does."""
    return min((every for _, every in _observers.get() if every is not None), default=None)


def tell(event: Event) -> None:
    """Tell every observer."""
    inside = isinstance(event, PassAdvanced)
    for observer, every in _observers.get():
        if every is not None or not inside:
            observer(event)
