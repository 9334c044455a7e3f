"""Bisecting k-means: one cluster is split in two, then another, until there are as many as wanted.

How a cluster is split depends on its own rows alone. So all clusters that may have to be split are
split in the same passes, level by level, and which of the splits count is chosen afterwards, one
after the other: the tree is that of splitting one cluster at a time, at the price of about its
depth times the iterations of a split. Steinbach, Karypis and Kumar, "A comparison of document
clustering techniques", KDD workshop on text mining 2000; shared passes as in Spark.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from daskmeans.algorithms.assignment import changed_rows
from daskmeans.algorithms.center_tree import CenterTree
from daskmeans.algorithms.leaf_samples import LeafSamples
from daskmeans.algorithms.lloyd import dequantised
from daskmeans.algorithms.seeding import distinct_rows, kmeans_plusplus_rows, random_rows
from daskmeans.algorithms.spherical import directions_of_means, inertia_by, unit_centers
from daskmeans.algorithms.survey import Quantisation, Run, Surveyed
from daskmeans.blocks.block import Block
from daskmeans.kernels.labelled_sums import sum_labelled
from daskmeans.kernels.lloyd import CLEAN
from daskmeans.partials import MetricSums
from daskmeans.passes.events import IterationEnded, tell
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array

Strategy: TypeAlias = Literal["biggest_inertia", "largest_cluster"]
SplitInit: TypeAlias = str | Callable[[Array, np.random.RandomState], Array]


@dataclass(eq=False)
class Cluster:
    """A node of the tree while it grows.

    Attributes
    ----------
    path : tuple of int
        The way to it from the root: 0 for left, 1 for right.
    center : ndarray of shape (d,), float64
    n_rows : int
        Rows, whatever their weight.
    inertia : float
        Infinity for the root, of which nobody asks for it.
    children : tuple of two Cluster, or None
        None until it was split.
    divisible : bool
        Whether it is known to hold two different rows with weight, or nothing is known.
    """

    path: tuple[int, ...]
    center: Array
    n_rows: int
    inertia: float
    children: tuple[Cluster, Cluster] | None = None
    divisible: bool = True

    def walk(self) -> Iterator[Cluster]:
        """Yield this cluster and all below it, a parent before its children."""
        waiting = [self]
        while waiting:
            cluster = waiting.pop()
            yield cluster
            waiting += cluster.children or ()


@dataclass(frozen=True)
class Rules:
    """How clusters are chosen and split.

    Attributes
    ----------
    n_clusters : int
    strategy : {"biggest_inertia", "largest_cluster"}
    least_rows : int
        Clusters with fewer rows are not split.
    init : {"k-means++", "random"} or function (rows, random_state) -> ndarray of shape (2, d)
    n_init : int
        Tries at each split, all in the same passes; the one with the lowest inertia is kept.
    max_iter : int
        Of a split.
    tol : float
        In units of the mean variance of the features.
    seed : int
        64 bits that key all draws.
    """

    n_clusters: int
    strategy: Strategy
    least_rows: int
    init: SplitInit
    n_init: int
    max_iter: int
    tol: float
    seed: int

    def score(self, cluster: Cluster) -> float:
        """Return by what clusters are chosen to be split."""
        return cluster.inertia if self.strategy == "biggest_inertia" else float(cluster.n_rows)

    def may_split(self, cluster: Cluster) -> bool:
        """Tell whether a cluster is large enough, and not known to be of equal rows."""
        return cluster.divisible and cluster.n_rows >= self.least_rows


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


def bisect(run: Run, surveyed: Surveyed, rules: Rules) -> CenterTree:
    """Grow a tree by splitting one cluster after the other.

    Parameters
    ----------
    run : function (Pass) -> Partial
    surveyed : Surveyed
    rules : Rules

    Returns
    -------
    CenterTree
        Its leaves are the clusters: `n_clusters`, or fewer if all others are too small to be split.
        If there are fewer different rows, some leaves are equal, and rows reach the first of these.
    """
    samples = LeafSamples(run, surveyed, rules.seed)
    # Center and inertia of the root are those of its halves together: nothing asks for them before.
    root = Cluster((), surveyed.shift, surveyed.n_rows, math.inf)
    limit = rules.tol * _mean_variance(surveyed)
    while True:
        leaves, missing = _chosen(root, rules)
        if missing is None:
            break
        _split_all(run, surveyed, rules, samples, root, _wanted(root, rules, missing), limit)
    if len(leaves) == 1:
        root.center = _mean_of_all(run, surveyed)
    if len(leaves) < rules.n_clusters:
        _warn_of_fewer(leaves, rules)
    return _tree(root, leaves, rules.n_clusters)


def _chosen(root: Cluster, rules: Rules) -> tuple[list[Cluster], Cluster | None]:
    """Split the cluster with the highest score again and again, where the split is known.

    Returns the leaves from left to right, and the cluster that is to be split next if its split is
    not known. Of equal scores the leftmost is taken, as in scikit-learn.
    """
    leaves = [root]
    while len(leaves) < rules.n_clusters:
        places = [i for i, leaf in enumerate(leaves) if rules.may_split(leaf)]
        if not places:
            break
        place = max(places, key=lambda i: rules.score(leaves[i]))
        children = leaves[place].children
        if children is None:
            return leaves, leaves[place]
        leaves[place : place + 1] = children
    return leaves, None


def _wanted(root: Cluster, rules: Rules, missing: Cluster) -> list[Cluster]:
    """Return the clusters whose split may count, and is not known.

    Scores fall from parent to child, so clusters are split in the order of their scores, and none
    of those counts that has as many before it as there are splits.
    """
    found = [cluster for cluster in root.walk() if rules.may_split(cluster)]
    found.sort(key=lambda cluster: (-rules.score(cluster), cluster.path))
    first = found[: rules.n_clusters - 1]
    wanted = [cluster for cluster in first if cluster.children is None]
    # Rounding may have raised a child's score above its parent's.
    return wanted if any(each is missing for each in wanted) else [missing, *wanted]


def _split_all(
    run: Run,
    surveyed: Surveyed,
    rules: Rules,
    samples: LeafSamples,
    root: Cluster,
    wanted: Sequence[Cluster],
    limit: float,
) -> None:
    """Split clusters, all in the same passes. One whose rows are all equal is found indivisible."""
    known = _Known.of(root)
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
    run: Run, surveyed: Surveyed, rules: Rules, known: _Known, running: list[Try], limit: float
) -> None:
    """Make one iteration of some tries in one pass."""
    # A cluster is once in a tree: its second try goes into the second tree, and so on.
    numbers = sorted({each.number for each in running})
    rounds = [[each for each in running if each.number == number] for number in numbers]
    trees = tuple(known.with_pairs(several) for several in rounds)
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


def _mean_of_all(run: Run, surveyed: Surveyed) -> Array:
    """Return the center of all rows, by a pass."""
    d = surveyed.n_features
    alone = CenterTree.of(np.zeros((1, d)), np.full((1, 2), -1, np.int32))
    parameters = SplitParameters((alone,), (1,), surveyed.quantisation)
    found = run(Pass("kmeans-bisect", split_chunk, parameters, by_row_number=False))
    means, _, _ = _means_of(surveyed, found.integers[0])
    if surveyed.metric == "cosine":
        first = unit_centers(surveyed.sample[surveyed.first_drawn : surveyed.first_drawn + 1])
        means = directions_of_means(means, first)
    return means[0]


def _initial_pair(init: SplitInit, part: Surveyed, random_state: np.random.RandomState) -> Array:
    """Return two initial centers for a split, of shape (2, d), float64."""
    if callable(init):
        pair = init(part.sample, random_state)
    else:
        part = distinct_rows(part, 2)
        draw = kmeans_plusplus_rows if init == "k-means++" else random_rows
        pair = np.asarray(part.sample[draw(part, 2, random_state)], dtype=np.float64)
    return unit_centers(pair) if part.metric == "cosine" else pair


def _random_state(seed: int, path: tuple[int, ...], number: int) -> np.random.RandomState:
    """Return random numbers of one try to split one cluster, whatever else is split with it."""
    sequence = np.random.SeedSequence([seed, number, len(path), *path])
    return np.random.RandomState(np.random.MT19937(sequence))


def _mean_variance(surveyed: Surveyed) -> float:
    """Return the mean over the features of the variance, of the sample."""
    rows = surveyed.sample.astype(np.float64) - surveyed.shift
    return float(rows.var(axis=0).mean())


def _warn_of_fewer(leaves: list[Cluster], rules: Rules) -> None:
    found, wanted = len(leaves), rules.n_clusters
    if any(leaf.divisible for leaf in leaves):
        message = (
            f"There are {found} clusters instead of n_clusters={wanted}: all are smaller than "
            f"min_divisible_cluster_size, which is {rules.least_rows} rows."
        )
    else:
        message = (
            f"Number of distinct clusters ({found}) found smaller than n_clusters ({wanted}). "
            "Possibly due to duplicate points in X."
        )
    warnings.warn(message, ConvergenceWarning, stacklevel=5)


def _tree(root: Cluster, leaves: list[Cluster], n_clusters: int) -> CenterTree:
    """Return the tree down to some leaves; if none can be split, the first one is repeated."""
    ends = {id(leaf) for leaf in leaves}
    nodes: list[Array] = []
    children: list[tuple[int, int]] = []

    def add(center: Array) -> int:
        nodes.append(center)
        children.append((-1, -1))
        return len(nodes) - 1

    waiting = [(root, add(root.center))]
    first = 0
    while waiting:
        cluster, node = waiting.pop()
        if id(cluster) in ends:
            first = node if cluster is leaves[0] else first
            continue
        assert cluster.children is not None
        one, other = cluster.children
        children[node] = add(one.center), add(other.center)
        waiting += zip(cluster.children, children[node], strict=True)
    if not any(leaf.divisible for leaf in leaves):
        for _ in range(n_clusters - len(leaves)):
            # Rows go left on a tie.
            children[first] = add(nodes[first]), add(nodes[first])
            first = children[first][0]
    return CenterTree.of(np.array(nodes), np.array(children, dtype=np.int32))


@dataclass(frozen=True)
class _Known:
    """The tree of all splits that are known, whether they count or not."""

    nodes: Array
    children: Array
    places: dict[int, int]

    @classmethod
    def of(cls, root: Cluster) -> _Known:
        clusters = list(root.walk())
        places = {id(cluster): i for i, cluster in enumerate(clusters)}
        children = np.full((len(clusters), 2), -1, np.int32)
        for i, cluster in enumerate(clusters):
            if cluster.children is not None:
                children[i] = [places[id(child)] for child in cluster.children]
        return cls(np.array([cluster.center for cluster in clusters]), children, places)

    def labelled(self, numbers: dict[int, int]) -> CenterTree:
        """Return the tree whose leaves have the labels of their clusters, others -1."""
        labels = np.full(len(self.nodes), -1, np.int32)
        for identity, number in numbers.items():
            labels[self.places[identity]] = number
        return CenterTree(self.nodes, self.children, labels)

    def with_pairs(self, tries: list[Try]) -> CenterTree:
        """Return the tree grown by the centers of some tries.

        Try number i has labels 2 i and 2 i + 1; rows of other clusters have the label after these.
        """
        n = len(self.nodes)
        nodes = np.concatenate([self.nodes, *(each.centers for each in tries)])
        children = np.full((len(nodes), 2), -1, np.int32)
        children[:n] = self.children
        labels = np.full(len(nodes), 2 * len(tries), np.int32)
        labels[n:] = np.arange(2 * len(tries))
        for i, each in enumerate(tries):
            children[self.places[id(each.cluster)]] = n + 2 * i, n + 2 * i + 1
        return CenterTree(nodes, children, labels)


def least_rows(size: float, n_rows: int) -> int:
    """Return from how many rows on a cluster is split: a number of them, or a share of all."""
    return math.ceil(size if size >= 1 else size * n_rows)
