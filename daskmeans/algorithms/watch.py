"""What looks at a fit after each iteration, and may end it: the user, a clock, a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from daskmeans.algorithms.fit_state import LloydState
from daskmeans.algorithms.restarts import Restart
from daskmeans.algorithms.stop_reasons import CALLBACK, INTERRUPTED, MAX_SECONDS, StopReason
from daskmeans.algorithms.survey import Run
from daskmeans.typing import Array


@dataclass(frozen=True)
class IterationState:
    """What a callback is told after an iteration; of several restarts, of the best one.

    Attributes
    ----------
    iteration : int
        Counts from 1.
    inertia : float
        Of the new centers over the rows as they were assigned.
    center_shift : float
        Sum of squared distances between old and new centers.
    centers : ndarray of shape (n_clusters, n_features), float64
        The new centers, a copy.
    n_passes : int
        Passes over the rows so far.
    seconds : float
        Since the fit began or was resumed.
    n_running : int
        Restarts that have not converged yet.

    Examples
    --------
    >>> from daskmeans import IterationState, KMeans
    >>> def good_enough(state: IterationState) -> bool:
    ...     return state.inertia < 2
    >>> X = [[0.0], [1.0], [2.0], [8.0], [9.5]]
    >>> KMeans(2, init=[[0.0], [1.0]], tol=0).fit(X, callback=good_enough).stop_reason_
    'center shift zero'
    """

    iteration: int
    inertia: float
    center_shift: float
    centers: Array
    n_passes: int
    seconds: float
    n_running: int


Callback: TypeAlias = Callable[[IterationState], object]


@dataclass(frozen=True)
class Watch:
    """How iterations are looked after.

    Attributes
    ----------
    max_seconds : float or None
        No iteration is begun after so many.
    callback : function (IterationState) -> object, or None
        Ends the iterations by a true value.
    save : function (LloydState), or None
        Called before the first iteration, after the last one and in between.
    save_every : float
        Seconds from one call to the next, at least.
    started : float
        When the fit began, by `time.perf_counter`.
    """

    max_seconds: float | None = None
    callback: Callback | None = None
    save: Callable[[LloydState], None] | None = None
    save_every: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def over(
        self,
        iterations: Iterator[float],
        run: Run,
        restarts: Sequence[Restart],
        limit: float | None,
    ) -> bool:
        """Make iterations until they end or are to end; tell whether Ctrl-C ended them.

        Every restart is then left as it was after the last whole iteration.

        Parameters
        ----------
        iterations : iterator of float
            Makes an iteration whenever the next value is asked for, which is the center shift at
            which a restart stops.
        run : function (Pass) -> Partial
        restarts : sequence of Restart
        limit : float or None
            Center shift at which a restart stops, if it is known already.
        """
        state = self._state_of(run, restarts, limit)
        reason: StopReason
        saved = None
        try:
            while True:
                if saved is None or time.perf_counter() - saved >= self.save_every:
                    self._save(state)
                    saved = time.perf_counter()
                if self.max_seconds is not None and self._seconds() >= self.max_seconds:
                    reason = MAX_SECONDS
                    break
                limit = next(iterations, None)
                if limit is None:
                    self._save(self._state_of(run, restarts, state.limit, finished=True))
                    return False
                state = self._state_of(run, restarts, limit)
                if self.callback is not None and self.callback(self._told(state)):
                    reason = CALLBACK
                    break
        except KeyboardInterrupt:
            for restart, before in zip(restarts, state.restarts, strict=True):
                restart.restore(before)
            reason = INTERRUPTED
        # Before reasons are written down: whoever resumes goes on with what was still running.
        self._save(state)
        for restart in restarts:
            if restart.running:
                restart.result.reason = reason
        return reason == INTERRUPTED

    def _state_of(
        self, run: Run, restarts: Sequence[Restart], limit: float | None, *, finished: bool = False
    ) -> LloydState:
        states = tuple(restart.state(with_sums=self.save is not None) for restart in restarts)
        finished = finished or not any(state.running for state in states)
        return LloydState(states, limit, run.n_passes, run.bytes_read, finished)

    def _save(self, state: LloydState) -> None:
        if self.save is not None:
            self.save(state)

    def _seconds(self) -> float:
        return time.perf_counter() - self.started

    def _told(self, state: LloydState) -> IterationState:
        iteration = max(restart.n_iter for restart in state.restarts)
        moved = [restart for restart in state.restarts if restart.n_iter == iteration]
        best = min(moved, key=lambda restart: restart.history[-1].inertia)
        return IterationState(
            iteration,
            best.history[-1].inertia,
            best.history[-1].center_shift,
            best.centers.copy(),
            state.n_passes,
            self._seconds(),
            sum(restart.running for restart in state.restarts),
        )
