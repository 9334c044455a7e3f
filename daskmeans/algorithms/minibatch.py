"""One step of mini-batch k-means: centers move toward the means of a batch, and dead ones move on.

Sculley, "Web-scale k-means clustering", WWW 2010, in scikit-learn's form: a center is the weighted
mean of all rows that it was ever given. Forgetting is that of Spark's StreamingKMeans.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from daskmeans.algorithms.batches import draw_rows, sum_batch
from daskmeans.algorithms.spherical import directions_of_means, inertia_by
from daskmeans.algorithms.survey import RunPass
from daskmeans.partials import Ranges
from daskmeans.typing import Array, Metric

TimeUnit = Literal["batches", "rows"]

# A split moves two centers apart by this share of each coordinate, as Spark does.
_SPLIT_SHARE = 1e-14
# Share of the newest batch in the smoothed inertia where the number of rows to come is unknown.
_SMOOTHING = 0.1
# Rows after which centers with few rows are looked for, in units of the number of centers.
_REASSIGN_EVERY = 10


@dataclass(frozen=True)
class Rules:
    """How centers follow batches.

    Attributes
    ----------
    decay : float
        What a unit of time leaves of the weight of earlier rows; 1 forgets nothing.
    time_unit : {"batches", "rows"}
    reassignment_ratio : float
        Centers whose weight is below this share of the largest one move to random rows.
    dying_threshold : float or None
        The lightest center below this share of the heaviest one's weight takes half of that
        instead.
    metric : {"euclidean", "cosine"}
        For "cosine" the rows have length 1, and each step leaves centers of length 1.
    """

    decay: float = 1.0
    time_unit: TimeUnit = "batches"
    reassignment_ratio: float = 0.01
    dying_threshold: float | None = None
    metric: Metric = "euclidean"

    @classmethod
    def make(
        cls,
        decay: float,
        half_life: float | None,
        time_unit: TimeUnit,
        reassignment_ratio: float,
        dying_threshold: float | None,
        metric: Metric,
    ) -> Rules:
        """Take over parameters of an estimator, of which `half_life` is another word for `decay`.

        Raises
        ------
        ValueError
            If both are given.
        """
        if half_life is not None:
            if decay != 1.0:
                raise ValueError(
                    f"decay={decay} and half_life={half_life} say the same in two ways: give one."
                )
            decay = math.exp(math.log(0.5) / half_life)
        return cls(decay, time_unit, reassignment_ratio, dying_threshold, metric)

    def discount(self, n_rows: int) -> float:
        """Return what is left of earlier weights once a batch of so many rows has come."""
        return self.decay if self.time_unit == "batches" else float(self.decay**n_rows)


class StepRecord(NamedTuple):
    """One step, in `history_`.

    Attributes
    ----------
    step : int
        From 1.
    n_rows : int
        Rows of the batch.
    inertia : float
        Mean squared or cosine distance of the batch's rows to the centers as they were before, by
        weight.
    smoothed_inertia : float
        Exponentially weighted mean of it.
    center_shift : float
        Sum of squared distances between old and new centers.
    n_reassigned : int
        Dead centers that moved to rows of the batch.
    n_split : int
        Dead centers that took half of the heaviest one's weight.
    seconds : float
    """

    step: int
    n_rows: int
    inertia: float
    smoothed_inertia: float
    center_shift: float
    n_reassigned: int
    n_split: int
    seconds: float


@dataclass(frozen=True)
class MiniBatchState:
    """Centers between two batches, and all that the next step depends on.

    Attributes
    ----------
    centers : ndarray of shape (k, d), float64
    counts : ndarray of shape (k,), float64
        Weight of the rows behind each center, what was forgotten left out.
    seed : int
        64 bits that key the draws of rows for dead centers.
    n_steps : int
        Batches so far.
    n_rows : int
        Their rows.
    since_reassigned : int
        Rows since dead centers were last looked for.
    smoothed_inertia : float or None
        None before the second batch: the first one's inertia is that of the initial centers.
    """

    centers: Array
    counts: Array
    seed: int
    n_steps: int = 0
    n_rows: int = 0
    since_reassigned: int = 0
    smoothed_inertia: float | None = None

    @classmethod
    def begin(cls, centers: Array, seed: int) -> MiniBatchState:
        return cls(centers, np.zeros(len(centers)), seed)


def step(
    state: MiniBatchState,
    run: RunPass,
    rules: Rules,
    *,
    weighted: bool,
    total_weight: float | None = None,
    feature_names: tuple[str, ...] | None = None,
    ranges: Ranges | None = None,
) -> tuple[MiniBatchState, StepRecord]:
    """Move the centers by one batch. The state that is given stays as it is.

    Parameters
    ----------
    state : MiniBatchState
    run : function (Pass) -> Partial
        Runs passes over the batch.
    rules : Rules
    weighted : bool
    total_weight : float, optional
        Weight of all rows that there are, from which scikit-learn derives the smoothing.
    feature_names : tuple of str, optional
        For error messages.
    ranges : Ranges, optional
        Of the batch, where they are known.

    Raises
    ------
    RowsError
        If there are no rows, a row is not finite, or no weight is positive.
    """
    started = time.perf_counter()
    found = sum_batch(
        run,
        state.centers,
        weighted=weighted,
        feature_names=feature_names,
        ranges=ranges,
    )
    since_reassigned = state.since_reassigned + found.n_rows
    looks = bool((state.counts == 0).any())
    looks = looks or since_reassigned >= _REASSIGN_EVERY * len(state.centers)
    # Spark, StreamingKMeansModel.update: c' = (c n a + x m) / (n a + m), with the discount a.
    kept = state.counts * rules.discount(found.n_rows)
    counts = kept + found.weights
    share = np.divide(found.weights, counts, out=np.zeros_like(counts), where=found.weights > 0)
    centers = state.centers + share[:, None] * (found.means - state.centers)
    n_reassigned = n_split = 0
    if rules.dying_threshold is not None:
        n_split = _split(centers, counts, rules.dying_threshold, rules.metric)
    elif looks and rules.reassignment_ratio > 0:
        n_reassigned = _reassign(
            centers, counts, rules.reassignment_ratio, run, found.n_rows, state
        )
    if rules.metric == "cosine":
        centers = directions_of_means(centers, state.centers)
    inertia = inertia_by(rules.metric, found.inertia) / found.weight
    smoothed = state.smoothed_inertia
    if state.n_steps:
        alpha = _SMOOTHING
        if total_weight is not None:
            alpha = min(1.0, 2.0 * found.weight / (total_weight + 1.0))
        smoothed = inertia if smoothed is None else (1 - alpha) * smoothed + alpha * inertia
    after = replace(
        state,
        centers=centers,
        counts=counts,
        n_steps=state.n_steps + 1,
        n_rows=state.n_rows + found.n_rows,
        since_reassigned=0 if looks else since_reassigned,
        smoothed_inertia=smoothed,
    )
    record = StepRecord(
        after.n_steps,
        found.n_rows,
        inertia,
        inertia if smoothed is None else smoothed,
        float(((centers - state.centers) ** 2).sum()),
        n_reassigned,
        n_split,
        time.perf_counter() - started,
    )
    return after, record


def _draw_seed(state: MiniBatchState) -> int:
    """Return 64 bits for the draws of a step."""
    sequence = np.random.SeedSequence([state.seed, state.n_steps])
    return int(sequence.generate_state(1, np.uint64)[0])


def _reassign(
    centers: Array, counts: Array, ratio: float, run: RunPass, n_rows: int, before: MiniBatchState
) -> int:
    """Move the lightest centers to rows of the batch, in place; return how many moved.

    scikit-learn's rule: those below `ratio` times the largest weight, at most half as many as the
    batch has rows. They get the smallest weight among the others, so that they are not taken for
    dead at once.
    """
    order = np.argsort(counts, kind="stable")
    # The heaviest center stays, whatever the ratio.
    dead = order[:-1][counts[order[:-1]] < ratio * counts[order[-1]]]
    dead = dead[: n_rows // 2]
    if not len(dead):
        return 0
    rows = draw_rows(run, len(dead), _draw_seed(before))
    dead = dead[: len(rows)]
    centers[dead] = rows
    alive = np.ones(len(counts), dtype=bool)
    alive[dead] = False
    counts[dead] = counts[alive].min()
    return len(dead)


def _split(centers: Array, counts: Array, threshold: float, metric: Metric) -> int:
    """Give the lightest center half of the heaviest one's weight and place, in place.

    Spark's rule: both get the mean of their weights, and stand on either side of where the heaviest
    one stood. Return how many were given such a place, 0 or 1.
    """
    heaviest, lightest = int(np.argmax(counts)), int(np.argmin(counts))
    if not counts[lightest] < threshold * counts[heaviest]:
        return 0
    counts[[heaviest, lightest]] = (counts[heaviest] + counts[lightest]) / 2
    place = centers[heaviest].copy()
    apart = _SPLIT_SHARE * np.maximum(np.abs(place), 1.0)
    if metric == "cosine":
        # Along the axis that is closest to a right angle: any other way they may still have the
        # same direction.
        apart[np.arange(len(place)) != np.argmin(np.abs(place))] = 0.0
    centers[heaviest], centers[lightest] = place + apart, place - apart
    return 1
