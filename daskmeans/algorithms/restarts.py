"""One set of centers on its way: where it led, and what is remembered of the rows meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from daskmeans.algorithms.assignment import Assignment, CenterSet
from daskmeans.algorithms.drift import Drift, centers_a_group
from daskmeans.algorithms.heads import LARGEST_HEAD, HeadChooser, PrincipalAxes
from daskmeans.algorithms.in_parts import by_clusters
from daskmeans.algorithms.stop_reasons import FELL_BEHIND, MAX_ITER, StopReason
from daskmeans.algorithms.survey import Run, Surveyed
from daskmeans.blocks.row_state import StateKey, bytes_a_row
from daskmeans.kernels.csr_sums import MovedRows, SumsOrRows, as_sums
from daskmeans.typing import Array

# Squared distances between these are far from the ends of float32, in which bounds are kept.
_SMALLEST_REACH, _LARGEST_REACH = 1e-12, 1e14
# Multiplications for a row below which bounds cost more than they save; and those up to which to
# keep them costs so much of a pass that it begins once few rows change their label.
_LEAST_WORK, _MOST_WORK_FOR_LATER = 256, 8192
# Such a share of all rows is few.
_FEW = 0.01
# Pass before which centers are grouped anew, and heads are tried again: by then they have left
# where seeding put them, and means have shorter tails than rows.
_GROUPED_AGAIN_AT = 4

# What ends a restart if nothing else does.
_RUNNING: Final = MAX_ITER


@dataclass(frozen=True)
class IterationRecord:
    """One Lloyd iteration.

    Attributes
    ----------
    inertia : float
        Weighted sum of squared distances of the rows to the new centers of their clusters.
    center_shift : float
        Sum over the clusters of the squared distance between old and new center.
    seconds : float
    n_relocated : int
        Empty clusters moved to far rows.
    n_changed : int or None
        Rows whose label changed, all of them in the first iteration. None where labels are not
        kept between iterations, which takes memory.
    distances_computed : float
        Distances between a row and a center that were computed, as a share of all. Where rows and
        centers are first compared along p of d axes, that counts as (p + 1) / d of a
        distance, and finding a row's place along them once as p + 1. Unlike the answer the share
        depends on how rows are split into blocks.
    n_passes : int
        Passes over the rows: 1, and another one where clusters were empty.
    bytes_read : int
        Bytes of rows, by their size in memory, that were read for it: 0 for rows in memory.
    """

    inertia: float
    center_shift: float
    seconds: float
    n_relocated: int
    n_changed: int | None
    distances_computed: float
    n_passes: int
    bytes_read: int


@dataclass
class LloydResult:
    """Where one set of initial centers led.

    Attributes
    ----------
    centers : ndarray of shape (k, d), float64
    n_iter : int
    reason : StopReason
    history : list of IterationRecord
    """

    centers: Array
    n_iter: int = 0
    reason: StopReason = _RUNNING
    history: list[IterationRecord] = field(default_factory=list)


@dataclass(frozen=True)
class RestartState:
    """One set of centers between two iterations.

    Attributes
    ----------
    centers : ndarray of shape (k, d), float64
    previous : ndarray of shape (k, d), float64, or None
        The centers before, by which labels of rows are made again; None before the first iteration.
    sums : ndarray of shape (k, s), int64, or None
        Sums of the rows by the nearest of `previous`, to which changes are added; None too where
        no iteration is to be made from here.
    n_iter : int
    reason : StopReason
        That of a restart which runs is "max_iter".
    history : tuple of IterationRecord
    """

    centers: Array
    previous: Array | None
    sums: Array | None
    n_iter: int
    reason: StopReason
    history: tuple[IterationRecord, ...]

    @property
    def running(self) -> bool:
        """Whether it goes on where iterations are left."""
        return self.reason == _RUNNING


class Restart:
    """One set of centers on its way: what the next assignment needs beside the centers."""

    def __init__(
        self,
        result: LloydResult,
        state: StateKey | None,
        bounded: bool,
        chooser: HeadChooser | None = None,
    ) -> None:
        self.result = result
        self._state = state
        self._bounded = bounded
        self._chooser = chooser
        self._previous: Array | None = None
        self._drift: Drift | None = None
        self._axes: PrincipalAxes | None = None
        self._sums: Array | None = None
        self._still = False

    def assignment(self, surveyed: Surveyed) -> Assignment:
        """Return the assignment to the present centers."""
        centers, step = self.result.centers, self.result.n_iter + 1
        if self._bounded:
            self._start_drift(centers, step, surveyed)
        center_set = CenterSet.make(centers, surveyed.shift, self._drift, self._axes)
        return Assignment(center_set, step, self._state, self._previous, self._still)

    def _start_drift(self, centers: Array, step: int, surveyed: Surveyed) -> None:
        """Begin to keep bounds, or begin anew, where that is due."""
        due = self._drift is None or step == _GROUPED_AGAIN_AT
        if self._axes is not None or not due:
            return
        if self._drift is None and not self._worth_keeping(surveyed):
            return
        if self._chooser is not None:
            self._axes = self._chooser.choose(centers)
        self._drift = Drift.start(centers, step, grouped=self._axes is None)

    def _worth_keeping(self, surveyed: Surveyed) -> bool:
        """Tell whether bounds from this pass on are likely to save more than they cost."""
        k, d = self.result.centers.shape
        if self._chooser is not None or k * d >= _MOST_WORK_FOR_LATER:
            return True
        n_changed = self.result.history[-1].n_changed if self.result.history else None
        return n_changed is not None and n_changed <= _FEW * surveyed.n_rows

    def assigned_sums(self, found: SumsOrRows) -> Array:
        """Return the sums of the assignment, of which `found` may hold the changes alone.

        They are kept for the next one, which adds its changes to them, and are not to be written to
        by others.
        """
        if self._state is None:
            self._sums = as_sums(found)
        elif self._sums is None:
            # A partial may be held elsewhere too, and this is to be written to.
            self._sums = as_sums(found) if isinstance(found, MovedRows) else found.copy()
        elif isinstance(found, MovedRows):
            add_to = partial(found.add_to, self._sums)
            by_clusters(add_to, len(self._sums), found.n_numbers // len(self._sums))
        else:
            self._sums += found
        return self._sums

    def move(self, new: Array, shift: float) -> None:
        """Go on to new centers, whose squared distances to the old ones add up to `shift`."""
        self._previous = self.result.centers
        # Squares of small distances vanish.
        self._still = shift == 0.0 and np.array_equal(self._previous, new)
        if self._drift is not None:
            self._drift = self._drift.after(self._previous, new)
        self.result.centers = new
        self.result.n_iter += 1

    @property
    def running(self) -> bool:
        """Whether it goes on where iterations are left."""
        return self.result.reason == _RUNNING

    def state(self, *, with_sums: bool) -> RestartState:
        """Return all that the next iteration depends on.

        Without sums, which take a copy, no iteration can be made from it.
        """
        result = self.result
        sums = self._sums.copy() if with_sums and self._sums is not None else None
        return RestartState(
            result.centers,
            self._previous,
            sums,
            result.n_iter,
            result.reason,
            tuple(result.history),
        )

    def restore(self, state: RestartState) -> None:
        """Go back, or on, to a state. What is remembered of rows is made again where it differs."""
        result = self.result
        result.centers, result.n_iter = state.centers, state.n_iter
        result.reason, result.history = state.reason, list(state.history)
        self._previous, self._drift = state.previous, None
        self._sums = None if state.sums is None else state.sums.copy()
        self._still = False
        self._axes = None


def _keeps_bounds(surveyed: Surveyed, n_clusters: int) -> bool:
    """Tell whether bounds can be kept for these rows, and can be worth it."""
    reach = float(np.sqrt((surveyed.reach**2).sum()))
    return (
        n_clusters > 1
        and not surveyed.sparse
        and n_clusters * surveyed.n_features >= _LEAST_WORK
        and _SMALLEST_REACH < reach < _LARGEST_REACH
    )


def make_restarts(
    run: Run, surveyed: Surveyed, results: list[LloydResult], fit: str, algorithm: str
) -> list[Restart]:
    """Decide what is remembered of each row between passes: labels and bounds, labels, nothing.

    Parameters
    ----------
    run : function (Pass) -> Partial
    surveyed : Surveyed
    results : list of LloydResult
        With their initial centers, not all of them as many.
    fit, algorithm : see `lloyd.lloyd`
    """
    counts = [len(result.centers) for result in results]
    bounded = [algorithm != "lloyd" and _keeps_bounds(surveyed, k) for k in counts]
    n_groups = [
        -(-k // centers_a_group(k, surveyed.n_features)) if bounds else 0
        for k, bounds in zip(counts, bounded, strict=True)
    ]
    free = run.row_state_bytes
    if surveyed.n_rows * sum(map(bytes_a_row, n_groups)) > free:
        bounded = [False] * len(results)
    remembers = any(bounded) or surveyed.n_rows * bytes_a_row(0) * len(results) <= free
    headed = [
        bounds and HeadChooser.possible(surveyed, k)
        for k, bounds in zip(counts, bounded, strict=True)
    ]
    head_sizes = [LARGEST_HEAD * heads for heads in headed]
    if surveyed.n_rows * sum(map(bytes_a_row, n_groups, head_sizes)) > free:
        headed = [False] * len(results)
    chooser = HeadChooser(surveyed)
    return [
        Restart(
            result,
            StateKey(fit, number) if remembers else None,
            bounds,
            chooser if heads else None,
        )
        for number, (result, bounds, heads) in enumerate(zip(results, bounded, headed, strict=True))
    ]


def still_ahead(restarts: list[Restart]) -> list[Restart]:
    """Drop the slower half of the restarts for each number of clusters; return the others.

    Those with the higher inertia; of an odd number the one in the middle stays. Halving after equal
    numbers of iterations: Jamieson and Talwalkar, "Non-stochastic best arm identification and
    hyperparameter optimization", AISTATS 2016.
    """
    by_count: dict[int, list[Restart]] = {}
    for restart in restarts:
        by_count.setdefault(len(restart.result.centers), []).append(restart)
    ahead = []
    for rivals in by_count.values():
        rivals.sort(key=lambda restart: restart.result.history[-1].inertia)
        half = (len(rivals) + 1) // 2
        ahead += rivals[:half]
        for restart in rivals[half:]:
            # One that has converged has cost what it costs: it stays in the final comparison.
            if restart.running:
                restart.result.reason = FELL_BEHIND
    return ahead
