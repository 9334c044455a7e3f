"""MiniBatchKMeans: scikit-learn's estimator for batches, on streams and on rows of any size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn import cluster
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from daskmeans.algorithms.assignment import Assignment, measure
from daskmeans.algorithms.batches import InHand
from daskmeans.algorithms.kmeans import Seeding
from daskmeans.algorithms.minibatch import MiniBatchState, Rules, StepRecord, TimeUnit, step
from daskmeans.algorithms.minibatch_fit import fit_minibatches
from daskmeans.algorithms.minibatch_seeding import seeded
from daskmeans.algorithms.seeding import new_seed
from daskmeans.algorithms.spherical import inertia_by
from daskmeans.algorithms.stop_reasons import MAX_ITER, NO_IMPROVEMENT, is_converged
from daskmeans.blocks.inputs import ArrayLike, is_lazy
from daskmeans.errors import ModelFormatError
from daskmeans.estimators.batches import (
    batch_runner_over,
    local_runner_over,
    names_of,
    several_passes,
)
from daskmeans.estimators.centers import init_of
from daskmeans.estimators.exchange import (
    ExportedDtype,
    centers_of,
    take_from_sklearn,
    to_sklearn_batches,
)
from daskmeans.estimators.fitted_centers import FittedCenters
from daskmeans.estimators.parameters import checks_parameters
from daskmeans.estimators.saving import (
    checked_centers,
    checked_numbers,
    checked_sizes,
    saved_by_name,
)
from daskmeans.kernels.csr import AnyRows, CSRRows
from daskmeans.passes.runner import Runner
from daskmeans.typing import Array, Metric

_log = logging.getLogger("daskmeans")

if TYPE_CHECKING:
    from daskmeans.plots.html import Summary

# Steps of a stream that are remembered.
_MOST_RECORDS = 1000
# What is there after `fit`, or after some calls only.
_SAVED = {"inertia_": float, "n_iter_": int, "stop_reason_": str}


@saved_by_name
class MiniBatchKMeans(FittedCenters):
    """K-means by batches: of a stream that never ends, or of rows too many for whole iterations.

    scikit-learn's estimator, with Spark's forgetting. Each step assigns a batch to the centers and
    moves each center to the weighted mean of all rows that it was ever given. Batches are summed as
    integers, so a step is the same to the bit however its batch is chunked, and `fit` is on any
    scheduler and with any number of workers.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    init : {"k-means++", "random"}, array-like of shape (n_clusters, n_features) or callable, \
            default="k-means++"
        Initial centers: scikit-learn's greedy k-means++ on `init_size` rows, rows drawn at random,
        an array, or a function called with (rows, n_clusters, random_state=...).
    max_iter : int, default=100
        Largest number of epochs of `fit`; each uses every row once.
    batch_size : int, default=1024
        Rows of a step of `fit`. The last step of an epoch may have fewer.
    verbose : int, default=0
        Print a line after each step of `fit`.
    compute_labels : bool, default=True
        Label the rows at the end, and measure `inertia_`: for `fit` this is one pass over them.
    random_state : int, RandomState instance or None, default=None
        Determines seeding, the order of rows and the rows that dead centers move to.
    tol : float, default=0.0
        `fit` ends once the sum of squared center shifts of a step is at most `tol` times the mean
        of the features' variances, estimated from the rows that initial centers are made from.
    max_no_improvement : int or None, default=10
        `fit` ends after so many steps in a row without a new lowest smoothed inertia.
    init_size : int, default=None
        Rows that initial centers are made from. None means three times `batch_size`, or three times
        `n_clusters` where that is more. Of a store they are drawn from four blocks.
    n_init : "auto" or int, default="auto"
        Sets of initial centers, of which the best by the inertia of these rows is used. "auto" is 3
        for "random" and functions, else 1. `partial_fit` makes one.
    reassignment_ratio : float, default=0.01
        Centers with less than this share of the heaviest one's weight move to rows of the batch
        drawn at random, whenever a center has no weight or 10 rows a cluster have come since. 0 for
        never.
    decay : float, default=1.0
        What one unit of time leaves of the weight of the rows so far. 1 forgets nothing: a center
        is the mean of all its rows.
    half_life : float, default=None
        The same in other words: after so many units of time rows count half.
    time_unit : {"batches", "rows"}, default="batches"
        The unit of time: a batch, or a row of one.
    dying_threshold : float, default=None
        Spark's rule for dead centers, instead of `reassignment_ratio`: if the lightest one has less
        than this share of the heaviest one's weight, both share its place and weight. Spark's value
        is 1e-8.
    metric : {"euclidean", "cosine"}, default="euclidean"
        "cosine" is spherical k-means, see `KMeans`: a step moves centers by the rule below among
        rows of length 1, and then brings them back to length 1.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), float64
        Centers. Each step puts a new array here: whoever predicts in another thread sees the
        centers from before a step or after it, and never a part of it.
    counts_ : ndarray of shape (n_clusters,), float64
        Weight of the rows behind each center, less what was forgotten.
    labels_ : ndarray or dask array of shape (n_samples,), int32
        Labels of the rows of `fit`, or of the last batch; lazy as those of `KMeans`. With
        `compute_labels` only.
    cluster_sizes_ : ndarray of shape (n_clusters,), int64
        How many of these rows each cluster has, whatever the weights. With `compute_labels` only.
    inertia_ : float
        Weighted sum of their squared or cosine distances to the centers. Without `compute_labels`
        the smoothed inertia of the batches times the weight of all rows, after `fit` only.
    n_iter_ : int
        Epochs of `fit` that were begun.
    n_steps_ : int
        Batches so far.
    history_ : list of StepRecord
        For each step the rows, the mean inertia before it and smoothed, the center shift, the
        centers that were reassigned or split, and seconds. Of a stream the last 1,000 steps.
    stop_reason_ : str
        Why `fit` ended: "tolerance", "no improvement", "max_iter" or "interrupted".
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)

    See Also
    --------
    KMeans : Whole iterations over all rows.
    daskmeans.stream : Feeds a model from a directory, a growing store or any iterable.

    Notes
    -----
    Sculley, "Web-scale k-means clustering", WWW 2010. The discount is that of Spark's
    `StreamingKMeansModel.update`: a center c with weight n becomes (c n a + m w) / (n a + w) for
    rows of mean m and weight w, where a is `decay`, or `decay` to the power of the batch's rows.

    `fit` uses each row once an epoch, where scikit-learn draws rows with replacement; sample
    weights are weights here, and probabilities there. The order of rows in memory is one random
    permutation; of others, blocks and rows within a block are permuted, so the chunks of a store
    have a say in the result.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans import MiniBatchKMeans
    >>> model = MiniBatchKMeans(n_clusters=2, random_state=0)
    >>> for batch in (np.array([[1.0], [9.0]]), np.array([[3.0], [11.0]])):
    ...     model = model.partial_fit(batch)
    >>> sorted(model.cluster_centers_.ravel().tolist())
    [2.0, 10.0]
    >>> model.counts_.tolist()
    [2.0, 2.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable, "array-like"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
        "compute_labels": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_no_improvement": [Interval(Integral, 0, None, closed="left"), None],
        "init_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "reassignment_ratio": [Interval(Real, 0, None, closed="left")],
        "decay": [Interval(Real, 0, 1, closed="right")],
        "half_life": [Interval(Real, 0, None, closed="neither"), None],
        "time_unit": [StrOptions({"batches", "rows"})],
        "dying_threshold": [Interval(Real, 0, 1, closed="left"), None],
        "metric": [StrOptions({"euclidean", "cosine"})],
    }

    counts_: Array
    cluster_sizes_: Array
    n_iter_: int
    n_steps_: int
    history_: list[StepRecord]
    stop_reason_: str

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | ArrayLike | Callable[..., ArrayLike] = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: str | int = "auto",
        reassignment_ratio: float = 0.01,
        decay: float = 1.0,
        half_life: float | None = None,
        time_unit: TimeUnit = "batches",
        dying_threshold: float | None = None,
        metric: Metric = "euclidean",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.decay = decay
        self.half_life = half_life
        self.time_unit = time_unit
        self.dying_threshold = dying_threshold
        self.metric = metric

    @checks_parameters
    def fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> MiniBatchKMeans:
        """Compute the clustering from batches of the rows, epoch by epoch.

        Blocks of a store or dask array are read ahead while batches are used, in this process or on
        the workers of a cluster; each epoch reads each block once. Ctrl-C ends the steps and leaves
        a model with the centers so far, and a warning.

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
        self : MiniBatchKMeans
            Fitted.

        Raises
        ------
        ValueError
            For rows that k-means cannot take, see `KMeans.fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from daskmeans import MiniBatchKMeans
        >>> X = np.repeat([[1.0], [9.0]], 500, axis=0)
        >>> sorted(MiniBatchKMeans(2, random_state=0).fit(X).cluster_centers_.ravel().tolist())
        [1.0, 9.0]
        """
        rules = self._rules()
        run = local_runner_over(self, X, sample_weight, reset=True)
        random_state = check_random_state(self.random_state)
        fitted = fit_minibatches(
            run,
            self.n_clusters,
            lambda rows: self._batch_seeding(rows, several=True),
            batch_size=self.batch_size,
            init_size=self._rows_for_seeding(),
            rules=rules,
            max_iter=self.max_iter,
            tol=self.tol,
            max_no_improvement=self.max_no_improvement,
            random_state=random_state,
            see=self._print_step,
        )
        _log.info("Fit ended after %d batches: %s.", fitted.state.n_steps, fitted.reason)
        if self.verbose:
            print(f"Ended after {fitted.state.n_steps} steps: {fitted.reason}.")
        self._publish(fitted.state)
        self.history_ = fitted.history
        self.n_iter_ = fitted.n_iter
        self.stop_reason_ = fitted.reason
        if self.compute_labels:
            self._label(run, X)
        else:
            self._forget_labels()
            self.inertia_ = self.history_[-1].smoothed_inertia * fitted.total_weight
        return self

    @checks_parameters
    def partial_fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> MiniBatchKMeans:
        """Move the centers by one batch. The first one makes the initial centers too.

        A batch that raises leaves the model as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The batch, of any kind that `KMeans.fit` takes. Of a dask collection or a store the
            blocks are summed where they are, all for one step.
        y : None
            Ignored, here for scikit-learn's interface.
        sample_weight : array-like or dask array of shape (n_samples,), default=None
            Non-negative weights. None means 1 each.

        Returns
        -------
        self : MiniBatchKMeans
            One step further.

        Raises
        ------
        ValueError
            If the batch has no rows, NaN or infinity, with "cosine" a row of zeros, another number
            of features than the model, weights that k-means cannot take, or, as the first one,
            fewer rows than clusters.
        """
        first = not hasattr(self, "_state")
        before = dict(vars(self))
        try:
            rules = self._rules()
            run = batch_runner_over(self, X, sample_weight, reset=first)
            state = self._first_state(run) if first else self._state
            state, record = step(
                state,
                run,
                rules,
                weighted=sample_weight is not None,
                feature_names=names_of(self),
            )
            self._publish(state)
            self.history_ = [*getattr(self, "history_", [])[1 - _MOST_RECORDS :], record]
            if self.compute_labels:
                self._label(run, X)
        except BaseException:
            # Labels are another walk over the batch, which may fail as well.
            for name in set(vars(self)) - set(before):
                delattr(self, name)
            self.__dict__.update(before)
            raise
        return self

    @property
    def converged_(self) -> bool:
        """Whether `fit` ended because nothing, or little enough, changed any more."""
        return is_converged(self.stop_reason_)

    def _restore(
        self, state: MiniBatchState, feature_names: list[str] | None, metric: Metric
    ) -> None:
        """Go on from a state of a model with as many clusters and the same metric.

        Raises
        ------
        ModelFormatError
            If it has another number of them, or another metric.
        """
        if metric != self.metric:
            raise ModelFormatError(
                f"The checkpoint is of a model with metric={metric!r}, and this one has "
                f"metric={self.metric!r}: give it another checkpoint, or the same metric."
            )
        n_clusters, n_features = state.centers.shape
        if n_clusters != self.n_clusters or state.counts.shape != (n_clusters,):
            raise ModelFormatError(
                f"The checkpoint is of a model with {n_clusters} clusters, and this one is to have "
                f"n_clusters={self.n_clusters}: give it another checkpoint, or the same number."
            )
        self.n_features_in_ = n_features
        if feature_names is not None:
            self.feature_names_in_ = np.asarray(feature_names, dtype=object)
        self._publish(state)

    def to_sklearn(self, dtype: ExportedDtype = "float64") -> cluster.MiniBatchKMeans:
        """Return a fitted `sklearn.cluster.MiniBatchKMeans`, which goes on with `partial_fit`.

        It has the weights behind the centers, so its next batch moves them as it would here; but it
        does not forget: `decay`, `half_life` and `dying_threshold` are left out.

        Parameters
        ----------
        dtype : {"float64", "float32"}, default="float64"
            Dtype of the centers and weights; see `KMeans.to_sklearn`, for labels too.

        Returns
        -------
        sklearn.cluster.MiniBatchKMeans
            Fitted.

        Raises
        ------
        NotFittedError

        Examples
        --------
        >>> import numpy as np
        >>> from daskmeans import MiniBatchKMeans
        >>> model = MiniBatchKMeans(2, random_state=0).partial_fit(np.array([[1.0], [9.0]]))
        >>> theirs = model.to_sklearn().partial_fit(np.array([[3.0], [11.0]]))
        >>> sorted(theirs.cluster_centers_.ravel().tolist())
        [2.0, 10.0]
        """
        return to_sklearn_batches(self, dtype)

    @classmethod
    def from_sklearn(cls, model: cluster.MiniBatchKMeans) -> MiniBatchKMeans:
        """Return a model that goes on from a fitted `sklearn.cluster.MiniBatchKMeans`.

        Parameters
        ----------
        model : sklearn.cluster.MiniBatchKMeans
            Fitted.

        Returns
        -------
        MiniBatchKMeans
            With an empty `history_`; where `fit` ended for another reason than `max_iter`, its
            `stop_reason_` is "no improvement".

        Raises
        ------
        TypeError
            If it is of another class.
        NotFittedError

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn import cluster
        >>> from daskmeans import MiniBatchKMeans
        >>> theirs = cluster.MiniBatchKMeans(2, random_state=0).partial_fit([[1.0], [9.0]])
        >>> model = MiniBatchKMeans.from_sklearn(theirs).partial_fit([[3.0], [11.0]])
        >>> sorted(model.cluster_centers_.ravel().tolist())
        [2.0, 10.0]
        """
        made = cls()
        take_from_sklearn(made, model, cluster.MiniBatchKMeans)
        # scikit-learn has no public name for the weights behind the centers.
        counts = np.array(model._counts, dtype=np.float64)
        seed = new_seed(check_random_state(model.random_state))
        made._publish(
            MiniBatchState(
                centers_of(model), counts, seed, n_steps=model.n_steps_, n_rows=int(counts.sum())
            )
        )
        made.history_ = []
        if hasattr(model, "n_iter_"):
            made.stop_reason_ = MAX_ITER if model.n_iter_ == model.max_iter else NO_IMPROVEMENT
        return made

    def _summary(self) -> Summary:
        from daskmeans.plots.axes import names_of_features
        from daskmeans.plots.html import Summary

        facts: dict[str, Any] = {
            "rows so far": self._state.n_rows,
            "features": self.n_features_in_,
            "steps": self.n_steps_,
        }
        # What is there after `fit`, or with `compute_labels` only.
        if hasattr(self, "stop_reason_"):
            facts["epochs"] = self.n_iter_
            facts["converged" if self.converged_ else "not converged"] = self.stop_reason_
        sizes = getattr(self, "cluster_sizes_", None)
        if hasattr(self, "inertia_"):
            of = "" if sizes is None else f" of {sizes.sum():,} rows"
            facts[f"inertia{of}"] = self.inertia_
        columns = {"weight": self.counts_} | ({} if sizes is None else {"rows": sizes})
        return Summary(
            facts,
            "smoothed mean inertia by step",
            [record.smoothed_inertia for record in self.history_],
            self.cluster_centers_,
            names_of_features(self),
            columns,
        )

    def _what_to_save(self) -> tuple[dict[str, Any], dict[str, Array]]:
        state = asdict(self._state)
        arrays = {"cluster_centers_": state.pop("centers"), "counts_": state.pop("counts")}
        fitted: dict[str, Any] = {"state": state}
        for name in _SAVED:
            if hasattr(self, name):
                fitted[name] = getattr(self, name)
        fitted["history_"] = [record._asdict() for record in self.history_]
        if hasattr(self, "cluster_sizes_"):
            arrays["cluster_sizes_"] = self.cluster_sizes_
        return fitted, arrays

    def _take_saved(self, fitted: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        centers = checked_centers(
            arrays["cluster_centers_"], self.n_clusters, self.n_features_in_, self.metric
        )
        counts = np.asarray(arrays["counts_"], np.float64)
        if counts.shape != (self.n_clusters,) or not (np.isfinite(counts) & (counts >= 0)).all():
            raise ValueError("counts that are not one weight a cluster")
        self._publish(MiniBatchState(centers, counts, **_checked_state(fitted["state"])))
        self.history_ = [StepRecord(**checked_numbers(record)) for record in fitted["history_"]]
        if "cluster_sizes_" in arrays:
            self.cluster_sizes_ = checked_sizes(arrays["cluster_sizes_"], self.n_clusters)
        for name, kind in _SAVED.items():
            if name in fitted:
                setattr(self, name, kind(fitted[name]))

    def _rules(self) -> Rules:
        return Rules.make(
            self.decay,
            self.half_life,
            self.time_unit,
            self.reassignment_ratio,
            self.dying_threshold,
            self.metric,
        )

    def _rows_for_seeding(self) -> int:
        if self.init_size is None:
            return max(3 * self.batch_size, 3 * self.n_clusters)
        if self.init_size < self.n_clusters:
            warnings.warn(
                f"init_size={self.init_size} should be larger than n_clusters={self.n_clusters}. "
                "Setting it to min(3*n_clusters, n_samples)",
                RuntimeWarning,
                stacklevel=4,
            )
            return 3 * self.n_clusters
        return self.init_size

    def _batch_seeding(self, rows: AnyRows, *, several: bool) -> Seeding:
        init = init_of(self, rows.to_scipy() if isinstance(rows, CSRRows) else rows)
        n_init = 1 if isinstance(init, np.ndarray) else self.n_init
        if n_init == "auto":
            n_init = 1 if isinstance(init, str) and init == "k-means++" else 3
        return Seeding(init, int(n_init) if several else 1)

    def _first_state(self, run: Runner | InHand) -> MiniBatchState:
        random_state = check_random_state(self.random_state)
        seed = new_seed(random_state)
        centers = seeded(
            several_passes(run, self.metric),
            self.n_clusters,
            lambda rows: self._batch_seeding(rows, several=False),
            random_state,
            self._rows_for_seeding(),
        )
        return MiniBatchState.begin(centers, seed)

    def _publish(self, state: MiniBatchState) -> None:
        self._state = state
        self.cluster_centers_ = state.centers
        self.counts_ = state.counts
        self.n_steps_ = state.n_steps

    def _label(self, run: Runner | InHand, X: ArrayLike) -> None:
        in_memory = not is_lazy(X)
        costs = measure(run, [Assignment(self._center_set())], keep_labels=in_memory)
        self.inertia_ = inertia_by(self.metric, costs.inertias()[0])
        self.cluster_sizes_ = costs.counts[0]
        self.labels_ = costs.all_labels() if in_memory else self._lazy_labels(X)

    def _forget_labels(self) -> None:
        for name in ("labels_", "cluster_sizes_"):
            self.__dict__.pop(name, None)

    def _print_step(self, record: StepRecord) -> None:
        if self.verbose:
            print(
                f"Step {record.step}: mean batch inertia {record.inertia}, smoothed "
                f"{record.smoothed_inertia}."
            )


def _checked_state(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a saved state holds beside its arrays, of the types that a step needs."""
    state = checked_numbers(fields)
    for name, value in state.items():
        if name == "smoothed_inertia":
            continue
        if type(value) is not int or not 0 <= value < 2**64:
            raise ValueError(f"{name} is {value!r}, not a whole number of 64 bits")
    return state
