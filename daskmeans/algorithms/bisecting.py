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

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from daskmeans.algorithms.center_tree import CenterTree
from daskmeans.algorithms.growing_tree import Cluster, Rules
from daskmeans.algorithms.leaf_samples import LeafSamples
from daskmeans.algorithms.splits import mean_of_all, mean_variance, split_all
from daskmeans.algorithms.survey import Run, Surveyed
from daskmeans.typing import Array


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
    limit = rules.tol * mean_variance(surveyed)
    while True:
        leaves, missing = _chosen(root, rules)
        if missing is None:
            break
        split_all(run, surveyed, rules, samples, root, _wanted(root, rules, missing), limit)
    if len(leaves) == 1:
        root.center = mean_of_all(run, surveyed)
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


def least_rows(size: float, n_rows: int) -> int:
    """Return from how many rows on a cluster is split: a number of them, or a share of all."""
    return math.ceil(size if size >= 1 else size * n_rows)
