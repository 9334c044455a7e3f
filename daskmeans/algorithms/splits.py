"""Split clusters in two by k-means, many of them and several tries at each in the same passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from daskmeans.algorithms.assignment import changed_rows
from daskmeans.algorithms.center_tree import CenterTree
from daskmeans.algorithms.growing_tree import Cluster, KnownTree, Rules, SplitInit
from daskmeans.algorithms.leaf_samples import LeafSamples
from daskmeans.algorithms.lloyd import dequantised
from daskmeans.algorithms.seeding import distinct_rows, kmeans_plusplus_rows, random_rows
from daskmeans.algorithms.spherical import directions_of_means, inertia_by, unit_centers
from daskmeans.algorithms.survey import Quantisation, Run, Surveyed
from daskmeans.blocks.block import Block
from daskmeans.kernels.csr import as_dense
from daskmeans.kernels.labelled_sums import sum_labelled
from daskmeans.kernels.lloyd import CLEAN
from daskmeans.partials import MetricSums
from daskmeans.passes.events import IterationEnded, IterationStarted, tell
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array


@dataclass(frozen=True)
class SplitParameters:
    """What a block has to know for one iteration of all splits.

    Attributes
    ----------
    trees : tuple of CenterTree
        One for each try. Rows that do not count are led to the last label.
    n_labels : tuple of int
    quantisation : Quantisation
    """

    trees: tuple[CenterTree, ...]
    n_labels: tuple[int, ...]
    quantisation: Quantisation


def split_chunk(block: Block, parameters: SplitParameters) -> MetricSums:
    """Sum and count the rows of a block by the leaves of each tree."""
    quantisation = parameters.quantisation
    integers: list[Array] = []
    for tree, n_labels in zip(parameters.trees, parameters.n_labels, strict=True):
        labels = tree.label(block)
        sums = np.zeros((n_labels, len(quantisation.shift)), np.int64)
        for part, rows, weights in block.tiles():
            weights = np.ldexp(weights, -quantisation.weight_exponent)
            shift, scale = quantisation.shift, quantisation.scale
            if sum_labelled(rows, labels[part], weights, shift, scale, sums) != CLEAN:
                raise changed_rows(block)
        integers += [sums, np.bincount(labels, minlength=n_labels)]
    return MetricSums(tuple(integers), ())


@dataclass
class Try:
    """One try to split one cluster: two centers on their way.

    Attributes
    ----------
    cluster : Cluster
    number : int
        Among the tries to split it.
    rows : ndarray of shape (m, d), float64
        Rows of the cluster that are at hand, among them two different ones.
    centers : ndarray of shape (2, d), float64
    n_iter : int
    last : bool
        The centers stay; what is left is to sum the rows by them.
    shift, cost : float
        Of the last iteration: squared way of the centers, and what its rows cost to their means.
    halves : tuple of two Cluster, or None
        What it came to.
    """

    cluster: Cluster
    number: int
    rows: Array
    centers: Array
    n_iter: int = 0
    last: bool = False
    shift: float = 0.0
    cost: float = 0.0
    halves: tuple[Cluster, Cluster] | None = None

    @property
    def inertia(self) -> float:
        assert self.halves is not None
        return sum(half.inertia for half in self.halves)


def split_all(
    run: Run,
    surveyed: Surveyed,
    rules: Rules,
    samples: LeafSamples,
    root: Cluster,
    wanted: Sequence[Cluster],
    limit: float,
) -> None:
    """Split clusters, all in the same passes. One whose rows are all equal is found indivisible."""
    known = KnownTree.of(root)
    tries: list[Try] = []
    numbers = {id(cluster): i for i, cluster in enumerate(wanted)}
    at_hand = samples.of(known.labelled(numbers), len(wanted))
    for cluster, part in zip(wanted, at_hand, strict=True):
        if part is None:
            cluster.divisible = False
            continue
        for number in range(rules.n_init):
            random_state = _random_state(rules.seed, cluster.path, number)
            centers = _initial_pair(rules.init, part, random_state)
            tries.append(Try(cluster, number, np.asarray(part.sample, np.float64), centers))
    iteration = 0
    while any(each.halves is None for each in tries):
        iteration += 1
        tell(IterationStarted(iteration, rules.max_iter))
        running = [each for each in tries if each.halves is None]
        _iterate(run, surveyed, rules, known, running, limit)
        n_left = sum(each.halves is None for each in running)
        cost, shift = sum(each.cost for each in running), sum(each.shift for each in running)
        tell(IterationEnded(iteration, inertia_by(surveyed.metric, cost), shift, n_left))
    best: dict[int, Try] = {}
    for each in tries:
        other = best.get(id(each.cluster))
        # scikit-learn's rule: what is no better but for rounding does not replace an earlier try.
        if other is None or each.inertia < other.inertia * (1 - 1e-6):
            best[id(each.cluster)] = each
    for each in best.values():
        each.cluster.children = each.halves


def _iterate(
    run: Run, surveyed: Surveyed, rules: Rules, known: KnownTree, running: list[Try], limit: float
) -> None:
    """Make one iteration of some tries in one pass."""
    # A cluster is once in a tree: its second try goes into the second tree, and so on.
    numbers = sorted({each.number for each in running})
    rounds = [[each for each in running if each.number == number] for number in numbers]
    trees = tuple(
        known.with_pairs([(each.cluster, each.centers) for each in several]) for several in rounds
    )
    n_labels = tuple(2 * len(several) + 1 for several in rounds)
    parameters = SplitParameters(trees, n_labels, surveyed.quantisation)
    found = run(Pass("kmeans-bisect", split_chunk, parameters, by_row_number=False))
    for i, several in enumerate(rounds):
        sums, counts = found.integers[2 * i : 2 * i + 2]
        for place, each in enumerate(several):
            pair = slice(2 * place, 2 * place + 2)
            _advance(surveyed, rules, each, sums[pair], counts[pair], limit)


def _advance(
    surveyed: Surveyed, rules: Rules, each: Try, sums: Array, counts: Array, limit: float
) -> None:
    """Move the centers of a try, given the sums of its rows by them; or end it there."""
    means, weights, within = _means_of(surveyed, sums)
    exponent = int(surveyed.quantisation.weight_exponent)
    each.shift, each.cost = 0.0, math.ldexp(float(within.sum()), exponent)
    if each.last:
        _end(surveyed, each, means, weights, within, counts)
        return
    full = sums[:, -1] > 0
    centers = np.where(full[:, None], means, each.centers)
    if surveyed.metric == "cosine":
        centers = directions_of_means(centers, each.centers)
    for empty in np.flatnonzero(~full):
        # Of equal initial centers, and of those that a user's function made, one may have no rows.
        sq_distances = ((each.rows - centers[1 - empty]) ** 2).sum(axis=1)
        centers[empty] = each.rows[np.argmax(sq_distances)]
        if surveyed.metric == "cosine":
            centers = unit_centers(centers)
    each.n_iter += 1
    each.shift = float(((centers - each.centers) ** 2).sum())
    if each.shift == 0.0:
        _end(surveyed, each, means, weights, within, counts)
        return
    each.centers = centers
    each.last = each.shift <= limit or each.n_iter == rules.max_iter


def _end(
    surveyed: Surveyed, each: Try, means: Array, weights: Array, within: Array, counts: Array
) -> None:
    """Make clusters of the two halves of a try whose centers stay."""
    costs = within + weights * ((means - each.centers) ** 2).sum(axis=1)
    exponent = int(surveyed.quantisation.weight_exponent)
    left, right = (
        Cluster(
            (*each.cluster.path, side),
            each.centers[side],
            int(counts[side]),
            inertia_by(surveyed.metric, math.ldexp(float(costs[side]), exponent)),
        )
        for side in (0, 1)
    )
    each.halves = left, right


def _means_of(surveyed: Surveyed, sums: Array) -> tuple[Array, Array, Array]:
    """Return means (k, d), weights (k,) and sums of squares around the means (k,) of clusters."""
    totals, weights, squares = dequantised(surveyed, sums)
    offsets = totals / np.where(weights > 0, weights, 1.0)[:, None]
    within = np.maximum(squares - (offsets * totals).sum(axis=1), 0.0)
    return surveyed.shift + offsets, weights, within


def mean_of_all(run: Run, surveyed: Surveyed) -> Array:
    """Return the center of all rows, by a pass."""
    d = surveyed.n_features
    alone = CenterTree.of(np.zeros((1, d)), np.full((1, 2), -1, np.int32))
    parameters = SplitParameters((alone,), (1,), surveyed.quantisation)
    found = run(Pass("kmeans-bisect", split_chunk, parameters, by_row_number=False))
    means, _, _ = _means_of(surveyed, found.integers[0])
    if surveyed.metric == "cosine":
        first = surveyed.sample[surveyed.first_drawn : surveyed.first_drawn + 1]
        first = unit_centers(as_dense(first))
        means = directions_of_means(means, first)
    return means[0]


def _initial_pair(init: SplitInit, part: Surveyed, random_state: np.random.RandomState) -> Array:
    """Return two initial centers for a split, of shape (2, d), float64."""
    if callable(init):
        pair = init(np.asarray(part.sample), random_state)
    else:
        part = distinct_rows(part, 2)
        draw = kmeans_plusplus_rows if init == "k-means++" else random_rows
        pair = as_dense(part.sample[draw(part, 2, random_state)])
    return unit_centers(pair) if part.metric == "cosine" else pair


def _random_state(seed: int, path: tuple[int, ...], number: int) -> np.random.RandomState:
    """Return random numbers of one try to split one cluster, whatever else is split with it."""
    sequence = np.random.SeedSequence([seed, number, len(path), *path])
    return np.random.RandomState(np.random.MT19937(sequence))


def mean_variance(surveyed: Surveyed) -> float:
    """Return the mean over the features of the variance, of the sample."""
    rows = surveyed.sample.astype(np.float64) - surveyed.shift
    return float(rows.var(axis=0).mean())
