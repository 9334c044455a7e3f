"""BisectingKMeans: scikit-learn's estimator, on rows of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from daskmeans.algorithms.assignment import Assignment, CenterSet, measure
from daskmeans.algorithms.bisecting import bisect, least_rows
from daskmeans.algorithms.center_tree import CenterTree, TreeCenters
from daskmeans.algorithms.growing_tree import Rules, Strategy
from daskmeans.algorithms.seeding import new_seed
from daskmeans.algorithms.spherical import inertia_by
from daskmeans.algorithms.survey import survey
from daskmeans.blocks.inputs import ArrayLike, is_lazy
from daskmeans.estimators.centers import centers_by
from daskmeans.estimators.fitted_centers import FittedCenters
from daskmeans.estimators.notebook import passes_shown
from daskmeans.estimators.parameters import checks_parameters
from daskmeans.estimators.rows import runner_over
from daskmeans.estimators.saving import checked_centers, checked_sizes, saved_by_name
from daskmeans.passes.events import observing
from daskmeans.typing import Array, Metric

if TYPE_CHECKING:
    from daskmeans.plots.html import Summary

_SAVED = {"inertia_": float, "n_passes_": int, "bytes_read_": int}


@saved_by_name
class BisectingKMeans(FittedCenters):
    """Clustering by splitting one cluster in two, again and again: a tree of clusters.

    scikit-learn's estimator, with Spark's way of reading the rows: all clusters that may have to be
    split are split in the same passes, so that there are about as many of these as the tree is deep
    times the iterations of a split. The tree is that of one split after the other, and the same to
    the bit for any chunking, scheduler and number of workers.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    init : {"k-means++", "random"} or callable, default="random"
        Initial centers of each split: greedy k-means++ or two rows drawn at random, from a sample
        of the cluster's rows; or a function called with (rows of such a sample, 2,
        random_state=...) that returns two centers. The sample has all rows if they are few, else
        at least 50 different ones, if there are so many.
    n_init : int, default=1
        Tries at each split with different seeds; the one with the lowest inertia is kept. All share
        the passes.
    random_state : int, RandomState instance or None, default=None
        Determines initial centers. An int gives the same result each time.
    max_iter : int, default=300
        Largest number of iterations of a split.
    verbose : int, default=0
        Print a line after each iteration.
    tol : float, default=1e-5
        A split is done once the sum of squared center shifts is at most `tol` times the mean of the
        features' variances, which is estimated from a sample of the rows. scikit-learn's 1e-4 is
        not a share of the variance, and so depends on the unit of the features.
    bisecting_strategy : {"biggest_inertia", "largest_cluster"}, default="biggest_inertia"
        Which cluster is split next: the one with the highest inertia, or with most rows. Clusters
        of equal rows come last.
    min_divisible_cluster_size : float, default=1
        Clusters with fewer rows are not split: a number of rows, or below 1 a share of all. Spark's
        `minDivisibleClusterSize`. If it leaves none to be split there are fewer clusters than
        `n_clusters`.
    algorithm : {"lloyd", "elkan"}, default="lloyd"
        For scikit-learn's interface: both are the same computation.
    persist : {"auto", True, False}, default="auto"
        Keep rows of a store or dask collection in memory during the fit, see `KMeans`.
    metric : {"euclidean", "cosine"}, default="euclidean"
        See `KMeans`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), float64
        Centers of the clusters, which are the leaves of the tree from left to right.
    labels_ : ndarray or dask array of shape (n_samples,), int32
        Label of each row, by the way down the tree; lazy as those of `KMeans`. The center of
        another cluster may be nearer.
    cluster_sizes_ : ndarray of shape (n_clusters,), int64
        Rows of each cluster: how often its number is in `labels_`, whatever the weights.
    inertia_ : float
        Weighted sum of the squared distances of rows to the centers of their labels, for "cosine"
        of the cosine distances; the sum is rounded once.
    n_passes_ : int
        Passes over the rows that the fit made.
    bytes_read_ : int
        Bytes of rows that it read, as for `KMeans`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)

    See Also
    --------
    KMeans : Not a tree, and a lower inertia.

    Notes
    -----
    Steinbach, Karypis and Kumar, "A comparison of document clustering techniques", KDD workshop on
    text mining, 2000. With fewer different rows than `n_clusters` centers are repeated, and a
    warning tells of it. `score` goes down the tree too, where scikit-learn takes the nearest
    center.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans import BisectingKMeans
    >>> X = np.array([[1, 1], [3, 1], [2, 1], [10, 1], [10, 0], [10, 2], [10, 8], [10, 9]])
    >>> model = BisectingKMeans(n_clusters=3, random_state=0).fit(X)
    >>> sorted(model.cluster_centers_.tolist())
    [[2.0, 1.0], [10.0, 1.0], [10.0, 8.5]]
    >>> sorted(model.cluster_sizes_.tolist()), model.inertia_
    ([2, 3, 3], 4.5)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "bisecting_strategy": [StrOptions({"biggest_inertia", "largest_cluster"})],
        "min_divisible_cluster_size": [Interval(Real, 0, None, closed="neither")],
        "algorithm": [StrOptions({"lloyd", "elkan"})],
        "persist": [StrOptions({"auto"}), bool],
        "metric": [StrOptions({"euclidean", "cosine"})],
    }

    cluster_sizes_: Array
    n_passes_: int
    bytes_read_: int

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | Callable[..., ArrayLike] = "random",
        n_init: int = 1,
        random_state: int | np.random.RandomState | None = None,
        max_iter: int = 300,
        verbose: int = 0,
        tol: float = 1e-5,
        bisecting_strategy: Strategy = "biggest_inertia",
        min_divisible_cluster_size: float = 1,
        algorithm: str = "lloyd",
        persist: bool | Literal["auto"] = "auto",
        metric: Metric = "euclidean",
    ) -> None:
        self.n_clusters = n_clusters
        self.init: Any = init
        self.n_init = n_init
        self.random_state = random_state
        self.max_iter = max_iter
        self.verbose = verbose
        self.tol = tol
        self.bisecting_strategy = bisecting_strategy
        self.min_divisible_cluster_size = min_divisible_cluster_size
        self.algorithm = algorithm
        self.persist = persist
        self.metric = metric

    @checks_parameters
    def fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> BisectingKMeans:
        """Compute the clustering.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As for `KMeans.fit`.
        y : None
            Ignored, here for scikit-learn's interface.
        sample_weight : array-like or dask array of shape (n_samples,), default=None
            Non-negative weights. None means 1 each.

        Returns
        -------
        self : BisectingKMeans
            Fitted.

        Raises
        ------
        ValueError
            For rows and weights that k-means cannot take, see `KMeans.fit`.
        """
        in_memory = not is_lazy(X)
        with runner_over(self, X, sample_weight, reset=True, persist=self.persist) as run:
            seed = new_seed(check_random_state(self.random_state))
            surveyed = survey(run, self.n_clusters, seed)
            rules = Rules(
                self.n_clusters,
                self.bisecting_strategy,
                least_rows(self.min_divisible_cluster_size, surveyed.n_rows),
                self._pair if callable(self.init) else self.init,
                int(self.n_init),
                self.max_iter,
                self.tol,
                seed,
            )
            with observing(self._print_iteration):
                self._tree = bisect(run, surveyed, rules)
            centers = self._center_set()
            costs = measure(run, [Assignment(centers)], keep_labels=in_memory)
        self.cluster_centers_ = centers.centers
        self.inertia_ = inertia_by(self.metric, costs.inertias()[0])
        self.cluster_sizes_ = costs.counts[0]
        self.n_passes_, self.bytes_read_ = run.n_passes, run.bytes_read
        self.labels_ = (
            costs.all_labels() if in_memory else self._lazy_labels(X, run.source.known_sizes)
        )
        return self

    def _pair(self, rows: Array, random_state: np.random.RandomState) -> Array:
        """Return what the user's function makes of the rows of a cluster."""
        return centers_by(self, self.init, rows, 2, random_state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags

    def _center_set(self) -> CenterSet:
        return TreeCenters.of_tree(self._tree)

    def _summary(self) -> Summary:
        from daskmeans.plots.axes import names_of_features
        from daskmeans.plots.html import Summary

        return Summary(
            {
                "rows": int(self.cluster_sizes_.sum()),
                "features": self.n_features_in_,
                "inertia": self.inertia_,
                "passes": passes_shown(self.n_passes_, self.bytes_read_),
            },
            "",
            [],
            self.cluster_centers_,
            names_of_features(self),
            {"rows": self.cluster_sizes_},
        )

    def _what_to_save(self) -> tuple[dict[str, Any], dict[str, Array]]:
        fitted = {name: getattr(self, name) for name in _SAVED}
        arrays = {
            "nodes": self._tree.nodes,
            "children": self._tree.children,
            "cluster_sizes_": self.cluster_sizes_,
        }
        return fitted, arrays

    def _take_saved(self, fitted: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        nodes = arrays["nodes"]
        nodes = checked_centers(nodes, len(nodes), self.n_features_in_, "euclidean")
        self._tree = CenterTree.of(nodes, _checked_children(arrays["children"], len(nodes)))
        leaves = nodes[self._tree.leaves()]
        if len(leaves) > self.n_clusters:
            raise ValueError(f"{len(leaves)} leaves for n_clusters={self.n_clusters}")
        self.cluster_centers_ = checked_centers(
            leaves, len(leaves), self.n_features_in_, self.metric
        )
        self.cluster_sizes_ = checked_sizes(arrays["cluster_sizes_"], len(leaves))
        for name, kind in _SAVED.items():
            setattr(self, name, kind(fitted[name]))


def _checked_children(array: Array, n_nodes: int) -> Array:
    """Return the children of a saved tree's nodes.

    Raises
    ------
    ValueError
        If they do not make a binary tree.
    """
    if array.dtype != np.int32 or array.shape != (n_nodes, 2) or n_nodes == 0:
        raise ValueError(f"children of shape {array.shape} and dtype {array.dtype}")
    inner = (array >= 0).all(axis=1)
    below = array[inner]
    # Every node but the root is one child of one node before it.
    after = (below > np.flatnonzero(inner)[:, None]).all()
    if (
        not (array[~inner] == -1).all()
        or not after
        or not np.array_equal(np.sort(below.ravel()), np.arange(1, n_nodes))
    ):
        raise ValueError("children that do not make a binary tree")
    return np.ascontiguousarray(array)
