"""Initial centers: greedy k-means++ on a sample, k-means|| in a few passes, or drawn rows."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.cluster import kmeans_plusplus

from daskmeans.algorithms.assignment import Assignment, CenterSet
from daskmeans.algorithms.draws import FIRST_SEEDING_DRAW, clocks_of
from daskmeans.algorithms.lloyd import LloydParameters, lloyd, lloyd_chunk
from daskmeans.algorithms.many_seeds import many_rows
from daskmeans.algorithms.survey import SAMPLE_MIN_ROWS, Run, Surveyed, survey
from daskmeans.blocks.block import Block
from daskmeans.blocks.row_state import new_fit
from daskmeans.blocks.weights import source_in_memory
from daskmeans.kernels.csr import AnyRows, CSRRows, as_dense, equal_rows
from daskmeans.kernels.csr_sums import as_sums
from daskmeans.partials import ClusterSums, KeyedRows
from daskmeans.passes.events import unobserved
from daskmeans.passes.plan import Pass
from daskmeans.passes.runner import run_here
from daskmeans.passes.schedulers import blas_on_one_thread
from daskmeans.typing import Array, Metric

# Restarts among the candidates of k-means|| cost no pass over the rows.
_REDUCTION_STARTS = 5
# Of more clusters greedy k-means++ takes as long as hundreds of passes over what it seeds from.
# Seconds of a processor on 200,000 x 64: 10 for 512 clusters, so about 450 for 16,384, which take
# `many_rows` 18 and a pass 2.4.
MOST_GREEDY = 1000

# To make one takes longer than to set its state.
_copied = np.random.RandomState(0)
_copying = threading.Lock()


def new_seed(random_state: np.random.RandomState) -> int:
    """Draw 64 bits that key the draws of rows, without advancing the state."""
    # scikit-learn's seeding draws from the state next, and from the same one gives the same seeds.
    with _copying:
        _copied.set_state(random_state.get_state())
        high, low = _copied.randint(0, 2**32, size=2, dtype=np.uint64)
    return int(high) << 32 | int(low)


def distinct_rows(surveyed: Surveyed, n_clusters: int) -> Surveyed:
    """Return few rows as distinct rows with weights, in an order that their values determine.

    So the seeds of a small data set depend neither on the order of its rows nor on whether a row is
    given twice or has weight 2. Anything else is returned as it is: a sample of many rows, and rows
    of which fewer than `n_clusters` differ.
    """
    if surveyed.n_rows > min(SAMPLE_MIN_ROWS, len(surveyed.sample)):
        return surveyed
    weights = surveyed.sample_weights
    if weights is None:
        weights = np.ones(surveyed.n_rows)
    hashes = _row_hashes(surveyed.sample)
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    if not equal_rows(surveyed.sample[first][group], surveyed.sample):
        return surveyed  # two different rows share a hash
    totals = np.bincount(group, weights)
    kept = np.flatnonzero(totals > 0)
    if len(kept) < n_clusters:
        return surveyed
    return replace(
        surveyed.chosen(first[kept]),
        sample_weights=totals[kept],
        first_drawn=int(np.argmax(group[surveyed.first_drawn] == kept)),
    )


def _row_hashes(rows: AnyRows) -> Array:
    """Return 64 bits a row that depend on its values alone, -0.0 counting as 0.0."""
    hashes = np.zeros(len(rows), np.uint64)
    if isinstance(rows, CSRRows):
        stored = rows.without_zeros().compact()
        mixed = stored.data.astype(np.float64).view(np.uint64)
        for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
            mixed = (mixed ^ stored.indices.astype(np.uint64)) * np.uint64(factor)
            mixed ^= mixed >> np.uint64(29)
        np.add.at(hashes, stored.row_numbers(), mixed)
        return hashes
    for column in rows.T:
        hashes ^= (column.astype(np.float64) + 0.0).view(np.uint64)
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    return hashes


def kmeans_plusplus_rows(
    surveyed: Surveyed,
    n_clusters: int,
    random_state: np.random.RandomState,
    n_local_trials: int | None = None,
) -> Array:
    """Seed by scikit-learn's greedy k-means++; return positions in the sample, shape (k,).

    On all rows if the sample holds them all, else on the sample with its weights. Arthur and
    Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007. For more than
    `MOST_GREEDY` clusters, unless `n_local_trials` asks for greedy draws, by `many_rows`.
    """
    with blas_on_one_thread():
        return greedy_rows(surveyed, n_clusters, random_state, n_local_trials)


def greedy_rows(
    surveyed: Surveyed,
    n_clusters: int,
    random_state: np.random.RandomState,
    n_local_trials: int | None = None,
) -> Array:
    """Do as `kmeans_plusplus_rows`, where BLAS is on one thread already."""
    if n_local_trials is None and n_clusters > MOST_GREEDY:
        return many_rows(
            surveyed.sample, surveyed.sample_weights, surveyed.shift, n_clusters, random_state
        )
    # Shifted as scikit-learn's KMeans does it: distances between rows far from the origin would
    # lose their digits in float32.
    dtype = np.float32 if surveyed.sample.dtype == np.float32 else np.float64
    rows: Any
    if isinstance(surveyed.sample, CSRRows):
        rows = surveyed.sample.astype(dtype).to_scipy()
    else:
        rows = surveyed.sample.astype(dtype, order="C") - surveyed.shift.astype(dtype)
    weights = surveyed.sample_weights
    _, chosen = kmeans_plusplus(
        rows,
        n_clusters,
        sample_weight=None if weights is None else weights.astype(rows.dtype),
        random_state=random_state,
        n_local_trials=n_local_trials,
    )
    return np.asarray(chosen)


def random_rows(surveyed: Surveyed, n_clusters: int, random_state: np.random.RandomState) -> Array:
    """Draw rows of the sample without replacement, by weight; return positions, shape (k,)."""
    weights = surveyed.sample_weights
    if weights is None:
        weights = np.ones(len(surveyed.sample))
    if np.count_nonzero(weights) < n_clusters:
        # Too few rows to draw from: those with weight, then others.
        return np.argsort(-weights, kind="stable")[:n_clusters]
    share = weights / weights.sum()
    return np.asarray(
        random_state.choice(len(surveyed.sample), size=n_clusters, replace=False, p=share)
    )


@dataclass(frozen=True)
class RoundParameters:
    """What a block has to know for a round of k-means||.

    Attributes
    ----------
    seed, purpose : int
        Key of the round's draws.
    n_drawn : int
    candidates : CenterSet
    """

    seed: int
    purpose: int
    n_drawn: int
    candidates: CenterSet


def round_chunk(block: Block, parameters: RoundParameters) -> KeyedRows:
    """Draw distinct rows of a block with rates weight times squared distance to the candidates."""
    _, rates = parameters.candidates.label_and_measure(block)
    if block.weights is not None:
        rates *= block.weights
    keys = clocks_of(block, parameters.seed, parameters.purpose, rates)
    chosen = np.flatnonzero(np.isfinite(keys))
    return KeyedRows.smallest(
        parameters.n_drawn,
        keys[chosen],
        block.first_row + chosen,
        block.rows[chosen],
        block.row_weights()[chosen],
        distinct=True,
    )


def kmeans_parallel(
    run: Run,
    surveyed: Surveyed,
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    oversampling_factor: float,
    rounds: int,
) -> Array:
    """Seed by k-means||; return centers of shape (k, d), float64.

    Bahmani, Moseley, Vattani, Kumar and Vassilvitskii, "Scalable k-means++", VLDB 2012. Each round
    is one pass: the `oversampling_factor * n_clusters` rows with the smallest exponential clocks of
    rate weight times squared distance are a sample without replacement of that size, and need not
    know the total cost. A last pass weighs the candidates by the rows that they attract; greedy
    k-means++ and Lloyd on the weighted candidates reduce them to k.

    Rounds are added while there are fewer candidates than clusters and rows left that differ from
    all of them.
    """
    n_drawn = max(1, round(oversampling_factor * n_clusters))
    seed = new_seed(random_state)
    first = surveyed.first_drawn
    candidates = as_dense(surveyed.sample[first : first + 1])
    done = 0
    while done < rounds or len(candidates) < n_clusters:
        centers = CenterSet.make(candidates, surveyed.shift)
        drawn = run(
            Pass(
                "kmeans-sample",
                round_chunk,
                RoundParameters(seed, FIRST_SEEDING_DRAW + done, n_drawn, centers),
            )
        )
        if not len(drawn.rows):
            break
        candidates = np.concatenate((candidates, as_dense(drawn.rows)))
        done += 1
    if len(candidates) < n_clusters:
        # The data have fewer distinct rows than clusters: the rest are repeated.
        repeated = np.resize(candidates, (n_clusters, candidates.shape[1]))
        return np.ascontiguousarray(repeated)
    if len(candidates) == n_clusters:
        return candidates
    weights = _attracted_weights(run, surveyed, candidates)
    return _reduced(candidates, weights, n_clusters, random_state, surveyed.metric)


def _attracted_weights(run: Run, surveyed: Surveyed, candidates: Array) -> Array:
    """Return for each candidate the summed weight of the rows nearest to it, up to a factor."""
    centers = CenterSet.make(candidates, surveyed.shift)
    parameters = LloydParameters((Assignment(centers),), surveyed.quantisation)
    found: ClusterSums = run(Pass("kmeans-weigh", lloyd_chunk, parameters))
    weights: Array = as_sums(found.sums[0])[:, -1] / surveyed.quantisation.scale[-1]
    return weights


def _reduced(
    candidates: Array,
    weights: Array,
    n_clusters: int,
    random_state: np.random.RandomState,
    metric: Metric,
) -> Array:
    """Cluster weighted candidates: the best of a few greedy k-means++ starts, after Lloyd."""
    kept = weights > 0
    if np.count_nonzero(kept) >= n_clusters:
        candidates, weights = candidates[kept], weights[kept]
    run = run_here(source_in_memory(candidates, weights, metric))
    with unobserved(), new_fit() as name:
        surveyed = survey(run, n_clusters, new_seed(random_state))
        starts = [
            as_dense(surveyed.sample[kmeans_plusplus_rows(surveyed, n_clusters, random_state)])
            for _ in range(_REDUCTION_STARTS if n_clusters <= MOST_GREEDY else 1)
        ]
        results = lloyd(run, surveyed, starts, name, max_iter=100, tol=1e-4).results
    return min(results, key=lambda result: result.history[-1].inertia).centers
