"""k-means++ for many clusters, for the work of a few passes over the rows that it draws from.

Greedy k-means++ measures every row to several candidates for each of the k centers, one center
after the other. Here a batch of candidates is drawn by the distances to the centers so far, and a
candidate is kept with the chance that the batch's earlier ones have left of its squared distance:
what is kept is drawn exactly as plain k-means++ draws (Cohen-Addad, Lattanzi, Norouzi-Fard, Sohler
and Svensson, "Fast and accurate k-means++ via rejection sampling", NeurIPS 2020). What greedy draws
gain, that seldom two centers fall into one cluster, comes from drawing more than k rows and giving
up those that cost least to leave out (Ward, "Hierarchical grouping to optimize an objective
function", 1963).
"""

from __future__ import annotations

import dask
import numpy as np

from daskmeans.algorithms.assignment import CenterSet
from daskmeans.algorithms.rowwise import distance_rows, fill
from daskmeans.blocks.block import Block, working_dtype
from daskmeans.kernels.csr import AnyRows, as_dense
from daskmeans.kernels.joining import cheapest_to_join
from daskmeans.passes.schedulers import local_scheduler
from daskmeans.typing import Array, Weights

# Rows drawn, in units of the number of clusters.
_OVERSAMPLING = 2
# Centers whose neighbors are looked for at a time, and among how many: products of so many stay
# in the second-level cache. Fixed, for BLAS rounds by the shape.
_TILE, _OTHERS = 128, 2048
# Candidates of a batch: more make the distances between them the larger part of the work.
_LARGEST_BATCH = 512


def many_rows(
    rows: AnyRows,
    weights: Weights | None,
    shift: Array,
    n_clusters: int,
    random_state: np.random.RandomState,
) -> Array:
    """Seed by k-means++; return positions in `rows`, of shape (k,).

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        At least k of them.
    weights : ndarray of shape (m,), optional
        None means 1 each.
    shift : ndarray of shape (d,), float64
        Close to the mean, exact in float32.
    n_clusters : int
    random_state : RandomState
    """
    if weights is None:
        weights = np.ones(len(rows))
    n_drawn = min(_OVERSAMPLING * n_clusters, len(rows))
    chosen, labels = _plain_rows(rows, weights, shift, n_drawn, random_state)
    if len(chosen) < n_clusters:
        # Fewer distinct rows than clusters: the rest are repeated.
        others = np.setdiff1d(np.arange(len(rows)), chosen)
        others = others[np.argsort(-weights[others], kind="stable")]
        return np.concatenate((chosen, others[: n_clusters - len(chosen)]))
    attracted = np.bincount(labels, weights, minlength=len(chosen))
    centers = as_dense(rows[chosen]).astype(working_dtype(rows.dtype))
    centers -= shift.astype(centers.dtype)
    return chosen[_costly(centers, attracted, n_clusters)]


def _plain_rows(
    rows: AnyRows, weights: Weights, shift: Array, n_drawn: int, random_state: np.random.RandomState
) -> tuple[Array, Array]:
    """Draw by k-means++ so many rows, or all that differ; return positions, and nearest ones."""
    chosen = np.empty(n_drawn, np.int64)
    chosen[:1] = _drawn(weights, random_state.random_sample(1))
    nearest = np.zeros(len(rows), [("label", np.int64), ("sq_distance", np.float64)])
    nearest["sq_distance"] = np.inf
    known, n_chosen = 0, 1
    while True:
        latest = CenterSet.make(as_dense(rows[chosen[known:n_chosen]]), shift)
        fill(_Nearer(known), rows, latest, nearest)
        known = n_chosen
        rates = weights * nearest["sq_distance"]
        if n_chosen == n_drawn or not rates.any():
            return chosen[:n_chosen], nearest["label"]
        # Of a batch that is small beside the centers so far, few candidates are turned down.
        n_candidates = min(_LARGEST_BATCH, 1 + n_chosen // 2)
        candidates = _drawn(rates, random_state.random_sample(n_candidates))
        kept = _kept(
            rows[candidates],
            nearest["sq_distance"][candidates],
            shift,
            random_state.random_sample(n_candidates),
        )
        taken = candidates[kept][: n_drawn - n_chosen]
        chosen[n_chosen : n_chosen + len(taken)] = taken
        n_chosen += len(taken)


class _Nearer:
    """Takes new centers into account, numbered from `first`, for rows that know their nearest."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __call__(self, block: Block, centers: CenterSet, nearest: Array) -> None:
        labels, found = centers.label_and_measure(block)
        nearer = found < nearest["sq_distance"]
        nearest["sq_distance"][nearer] = found[nearer]
        nearest["label"][nearer] = labels[nearer] + self._first


def _drawn(rates: Array, uniform: Array) -> Array:
    """Return the positions that uniform numbers below 1 draw by rates, none of rate 0."""
    cumulative = np.cumsum(rates)
    last = int(np.searchsorted(cumulative, cumulative[-1]))
    return np.minimum(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"), last)


def _kept(candidates: AnyRows, before: Array, shift: Array, uniform: Array) -> list[int]:
    """Return which candidates are kept, in their order.

    Parameters
    ----------
    candidates : ndarray of shape (t, d)
    before : ndarray of shape (t,), float64
        Their squared distances to the centers so far, by which they were drawn.
    shift : ndarray of shape (d,), float64
    uniform : ndarray of shape (t,)
        Numbers below 1 that decide.
    """
    distances = np.empty((len(candidates), len(candidates)))
    fill(distance_rows, candidates, CenterSet.make(as_dense(candidates), shift), distances)
    sq_distances = distances**2
    left = before.copy()
    kept = []
    for number in range(len(candidates)):
        if uniform[number] * before[number] < left[number]:
            kept.append(number)
            np.minimum(left, sq_distances[number], out=left)
    return kept


def _costly(centers: Array, weights: Array, n_kept: int) -> Array:
    """Return which centers are left when those that cost least joined their neighbors, (n_kept,).

    Parameters
    ----------
    centers : ndarray of shape (m, d), float32 or float64
        Close to the origin.
    weights : ndarray of shape (m,), float64
        Of the rows that each attracts.
    n_kept : int
    """
    centers = centers.copy()
    smallest = weights[weights > 0].min() / 2
    weights = (np.maximum(weights, smallest) / weights.max()).astype(centers.dtype)
    left = np.arange(len(centers))
    neighbors = np.zeros(len(centers), np.int64)
    costs = np.zeros(len(centers), centers.dtype)
    stale = left
    while len(left) > n_kept:
        _find_neighbors(centers, weights, left, stale, neighbors, costs)
        touched = np.zeros(len(centers), bool)
        gone = np.zeros(len(centers), bool)
        for number in left[np.argsort(costs[left], kind="stable")][: len(left) - n_kept]:
            other = neighbors[number]
            # Costs of what has changed in this round are not known any more.
            if touched[number] or touched[other]:
                continue
            lighter, heavier = (
                (number, other) if weights[number] <= weights[other] else (other, number)
            )
            share = weights[lighter] / (weights[lighter] + weights[heavier])
            centers[heavier] += share * (centers[lighter] - centers[heavier])
            weights[heavier] += weights[lighter]
            touched[[lighter, heavier]] = True
            gone[lighter] = True
        left = left[~gone[left]]
        stale = left[touched[left] | touched[neighbors[left]]]
    return left


def _find_neighbors(
    centers: Array, weights: Array, left: Array, stale: Array, neighbors: Array, costs: Array
) -> None:
    """Find for some centers the one that they are joined with at the least cost; in place."""
    half_norms = (centers**2).sum(axis=1) / 2
    others = [left[start : start + _OTHERS] for start in range(0, len(left), _OTHERS)]
    parts = [(np.ascontiguousarray(centers[numbers].T), numbers) for numbers in others]

    def of_tile(numbers: Array) -> None:
        best, cost = np.zeros(len(numbers), np.int64), np.full(len(numbers), np.inf, centers.dtype)
        places, tile = np.searchsorted(left, numbers), centers[numbers]
        for part, (transposed, of_part) in enumerate(parts):
            first = part * _OTHERS
            cheapest_to_join(
                tile @ transposed,
                half_norms[numbers],
                weights[numbers],
                half_norms[of_part],
                weights[of_part],
                places - first,
                first,
                best,
                cost,
            )
        neighbors[numbers], costs[numbers] = left[best], cost

    tiles = (stale[start : start + _TILE] for start in range(0, len(stale), _TILE))
    tasks = [dask.delayed(of_tile, pure=False)(tile) for tile in tiles]
    dask.compute(*tasks, scheduler=local_scheduler())
