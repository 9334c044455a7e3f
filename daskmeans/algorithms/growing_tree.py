"""A tree of clusters while it grows: what is known of each, and by which rules it is split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from daskmeans.algorithms.center_tree import CenterTree
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
class KnownTree:
    """The tree of all splits that are known, whether they count or not."""

    nodes: Array
    children: Array
    places: dict[int, int]

    @classmethod
    def of(cls, root: Cluster) -> KnownTree:
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

    def with_pairs(self, pairs: Sequence[tuple[Cluster, Array]]) -> CenterTree:
        """Return the tree grown by two centers below each of some clusters.

        Those of pair number i have labels 2 i and 2 i + 1; rows of other clusters have the label
        after these.
        """
        n = len(self.nodes)
        nodes = np.concatenate([self.nodes, *(centers for _, centers in pairs)])
        children = np.full((len(nodes), 2), -1, np.int32)
        children[:n] = self.children
        labels = np.full(len(nodes), 2 * len(pairs), np.int32)
        labels[n:] = np.arange(2 * len(pairs))
        for i, (cluster, _) in enumerate(pairs):
            children[self.places[id(cluster)]] = n + 2 * i, n + 2 * i + 1
        return CenterTree(nodes, children, labels)
