"""KMeans: scikit-learn's estimator, on rows of any size."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn import cluster
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from daskmeans.algorithms.kmeans import Fitted, Seeding, fit
from daskmeans.algorithms.restarts import IterationRecord
from daskmeans.algorithms.stop_reasons import MAX_ITER, TOLERANCE, is_converged
from daskmeans.algorithms.watch import Callback, Watch
from daskmeans.blocks.inputs import ArrayLike, is_lazy
from daskmeans.errors import ModelFormatError
from daskmeans.estimators.centers import init_of
from daskmeans.estimators.checkpoint import (
    Checkpoint,
    check_replaceable,
    checkpoint_writer,
    read_checkpoint,
)
from daskmeans.estimators.exchange import (
    ExportedDtype,
    centers_of,
    take_from_sklearn,
    to_sklearn,
)
from daskmeans.estimators.fitted_centers import FittedCenters
from daskmeans.estimators.notebook import passes_shown
from daskmeans.estimators.parameters import checks_parameters
from daskmeans.estimators.rows import runner_over
from daskmeans.estimators.saving import (
    checked_centers,
    checked_numbers,
    checked_sizes,
    saved_by_name,
)
from daskmeans.passes.events import observing
from daskmeans.typing import Array, Metric

if TYPE_CHECKING:
    from daskmeans.plots.html import Summary

_log = logging.getLogger("daskmeans")

_SAVED = ("inertia_", "n_iter_", "stop_reason_", "n_passes_", "bytes_read_")


@saved_by_name
class KMeans(FittedCenters):
    """K-means clustering of rows in memory, in a store, or in a dask collection.

    Exact Lloyd iterations with scikit-learn's semantics. Rows are read block by block and are never
    gathered; the answer is the same to the bit for any chunking, scheduler and number of workers.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    init : {"auto", "refined", "k-means++", "k-means||", "random"}, array-like of shape \
            (n_clusters, n_features) or callable, default="auto"
        Initial centers:

        - "auto": "refined" for more than four times the rows of a sample (1,000 a cluster, at
          least 10,000, within 256 MB unless two a cluster take more), else "k-means++".
        - "refined": restarts of greedy k-means++ race on a random sample of the rows in memory, and
          the best converges there. Full passes start from close to where they would end.
        - "k-means++": scikit-learn's greedy k-means++, on all rows if they are few (at most 10,000,
          or 1,000 a cluster, within 256 MB), else on a random sample of so many. For more than
          1,000 clusters plain k-means++ of twice as many rows, of which those are given up that
          cost least: the work of a few passes over these rows.
        - "k-means||": candidates drawn in `init_rounds` passes over all rows, reduced to centers by
          weighted k-means. Finds small clusters that a sample may miss.
        - "random": rows drawn at random.
        - an array of centers, of any accepted kind.
        - a function called with (X, n_clusters, random_state=...) that returns an array.
    n_init : "auto" or int, default="auto"
        Number of restarts with different seeds; the one with the lowest inertia is kept. All
        restarts share each pass over the rows. "auto" is 10 for "random" and functions, else 1.
        For "refined" it is the number of restarts that race on the sample, by "auto" 16, less
        for more than 100 clusters, and 1 for more than 1,000. One of them makes full passes.
    max_iter : int, default=300
        Largest number of iterations.
    tol : float, default=1e-4
        Iterations stop once the sum of squared center shifts is at most `tol` times the mean of the
        features' variances.
    rtol : float, default=0
        Iterations also stop once one of them lowers the inertia by less than this share of it.
        For rows that each pass reads: after "refined" the first passes gain most.
    max_passes : int, default=None
        Largest number of passes over the rows, at least 2: the first one, which checks and samples
        them, those of the iterations, and the last one, which measures `inertia_`. "k-means||"
        makes its rounds in any case, and labels_ of the best of several restarts, where they are
        NumPy, take one more.
    max_seconds : float, default=None
        No iteration is begun after so many seconds of a fit. One that runs is ended, and the last
        pass, which measures `inertia_`, is made in any case.
    persist : {"auto", True, False}, default="auto"
        Keep rows of a store or dask collection in memory during the fit: in this process, or on the
        workers of a cluster. "auto" does if they fit in half of the memory that is free there, and
        logs what it chose under the name "daskmeans". Otherwise each pass reads them.
    verbose : int, default=0
        Print a line after each iteration.
    random_state : int, RandomState instance or None, default=None
        Determines seeding. An int gives the same result each time, and so does an array as `init`
        whatever this is.
    algorithm : {"auto", "lloyd", "elkan"}, default="auto"
        "lloyd" computes every distance in every iteration. "auto" keeps bounds on distances for
        each row, and computes those that the bounds do not rule out wherever that is less work.
        Rows of 256 features and more are compared along their leading principal axes first
        where these hold most of the variance, as they do for embeddings.
        The answer is the same to the bit. "elkan" is scikit-learn's name, and here another one for
        "auto".
    oversampling_factor : float, default=2.0
        For "k-means||": candidates drawn in a round, in units of `n_clusters`.
    init_rounds : int, default=5
        For "k-means||": rounds, each one pass over the rows. More are made while there are fewer
        than `n_clusters` distinct candidates.
    metric : {"euclidean", "cosine"}, default="euclidean"
        "cosine" is spherical k-means, as with Spark's `distanceMeasure="cosine"`: rows count by
        their directions, centers are directions, and the cost of a row is 1 less the cosine of the
        angle between it and its center. Rows are divided by their lengths as they are read (float32
        rows and small integers to float32); rows in memory once, into a copy. A row of zeros has no
        direction and is refused, whatever its weight.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), float64
        Centers. float64 for float32 rows too: rounding them would move rows far from the origin to
        other clusters, and labels would not match the centers. For "cosine" of length 1.
    labels_ : ndarray or dask array of shape (n_samples,), int32
        Label of each row: NumPy for rows in memory and memory maps, else a lazy dask array with the
        rows' chunks, which is computed when it is used. Lazy labels are left out of a pickle. Of a
        Spark DataFrame what `predict` returns.
        After Ctrl-C they are lazy for any rows.
    cluster_sizes_ : ndarray of shape (n_clusters,), int64
        Rows of each cluster: how often its number is in `labels_`, whatever the weights. None after
        Ctrl-C, which ends a fit before its last pass.
    inertia_ : float
        Weighted sum of the squared distances of rows to their centers, for "cosine" of the cosine
        distances; the sum is rounded once.
        After Ctrl-C that of the last iteration, NaN if there was none.
    n_iter_ : int
        Number of iterations run.
    history_ : list of IterationRecord
        For each iteration the inertia, center shift, seconds, relocated clusters, changed labels,
        the share of the distances that was computed, passes and bytes read.
    stop_reason_ : str
        Why the iterations ended: "center shift zero", "tolerance", "relative tolerance",
        "max_iter", "max_passes", "max_seconds", "callback" or "interrupted".
    converged_ : bool
        Whether they ended for one of the first three reasons.
    n_passes_ : int
        Passes over the rows that the fit made, those before its checkpoint included. The pass by
        which `resume` knows the rows again is not counted.
    bytes_read_ : int
        Bytes of rows, by their size in memory, that it read: those of a store or computed by dask,
        without those that were found in memory or kept there.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only for a DataFrame whose column names are text.

    See Also
    --------
    k_means : The same as a function.

    Notes
    -----
    Lloyd, "Least squares quantization in PCM", 1982. Labels are decided as by float64 differences
    (ties to the lowest center), sums are exact integers of quantised rows; the error of a center
    is about 2**-(62 - log2 n) of the column's range. A weight below that share of the largest
    weight counts as 0.

    With "cosine" all of this holds for rows of length 1: seeds are drawn by squared distances of
    such rows, which are twice the cosine distances; `tol` is in units of their variance; and a
    cluster whose rows cancel out keeps its center. Dhillon and Modha, "Concept decompositions for
    large sparse text data using clustering", Machine Learning 42, 2001.
    Sparse rows have the labels that they have as dense ones. Every distance is computed for them,
    whatever `algorithm` is, and from the values that are stored alone. Centers are dense: they and
    the sums of each thread take 8 bytes a cluster and feature.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from daskmeans import KMeans
    >>> X = da.from_array(np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]), chunks=2)
    >>> kmeans = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> kmeans.cluster_centers_
    array([[ 1.,  2.],
           [10.,  2.]])
    >>> kmeans.labels_.compute()
    array([0, 0, 0, 1, 1, 1], dtype=int32)
    >>> kmeans.predict([[0, 0], [12, 3]])
    array([0, 1], dtype=int32)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [
            StrOptions({"auto", "refined", "k-means++", "k-means||", "random"}),
            callable,
            "array-like",
        ],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "rtol": [Interval(Real, 0, 1, closed="left")],
        "max_passes": [Interval(Integral, 2, None, closed="left"), None],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "persist": [StrOptions({"auto"}), bool],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "algorithm": [StrOptions({"auto", "lloyd", "elkan"})],
        "oversampling_factor": [Interval(Real, 0, None, closed="neither")],
        "init_rounds": [Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions({"euclidean", "cosine"})],
    }

    cluster_sizes_: Array | None
    n_iter_: int
    history_: list[IterationRecord]
    stop_reason_: str
    n_passes_: int
    bytes_read_: int

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | ArrayLike | Callable[..., ArrayLike] = "auto",
        n_init: str | int = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        rtol: float = 0.0,
        max_passes: int | None = None,
        max_seconds: float | None = None,
        persist: bool | Literal["auto"] = "auto",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        algorithm: str = "auto",
        oversampling_factor: float = 2.0,
        init_rounds: int = 5,
        metric: Metric = "euclidean",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.rtol = rtol
        self.max_passes = max_passes
        self.max_seconds = max_seconds
        self.persist = persist
        self.verbose = verbose
        self.random_state = random_state
        self.algorithm = algorithm
        self.oversampling_factor = oversampling_factor
        self.init_rounds = init_rounds
        self.metric = metric

    @checks_parameters
    def fit(
        self,
        X: ArrayLike,
        y: None = None,
        sample_weight: ArrayLike | None = None,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 30.0,
    ) -> KMeans:
        """Compute the clustering.

        Ctrl-C ends the iterations and leaves a model with the centers of the last whole one,
        `converged_` false, and a warning. Before there are initial centers it is raised.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NumPy array, memory map, dask array (any chunks, unknown sizes included), zarr.Array,
            h5py.Dataset, pandas or dask DataFrame, xarray.DataArray with two dimensions; a SciPy
            sparse matrix or array, or a dask array of such blocks, which never become dense; or a
            Spark DataFrame, of which `daskmeans.spark.spark_rows` chooses columns.
        y : None
            Ignored, here for scikit-learn's interface.
        sample_weight : array-like or dask array of shape (n_samples,), or str, default=None
            Non-negative weights. Weight 2 counts as the row given twice. None means 1 each. Of a
            Spark DataFrame the name of a column.
        callback : function (IterationState) -> object, default=None
            Called after each iteration. A true value that it returns ends the fit.
        checkpoint : str or path, default=None
            File, or URL that fsspec can write, from which `resume` goes on with the fit, should its
            process end. It is written once there are initial centers, then between iterations, and
            is whole at any moment. A fit that has ended is overwritten there.
        checkpoint_every : float, default=30.0
            Seconds between two writes, at least; 0 writes after each iteration.

        Returns
        -------
        self : KMeans
            Fitted.

        Raises
        ------
        OutputExistsError
            If the checkpoint is that of a fit that has not ended, or another file.
        OutputError
            If the checkpoint cannot be written.
        ValueError
            For rows that k-means cannot take: NaN, infinity, text, complex numbers, wrong shapes,
            fewer rows than clusters, with "cosine" zeros; for weights that are negative or not one
            a row.
        TooLargeError, ClusterError
            If the threads here, or of a worker, have no room for the sums of so many clusters:
            three times n_clusters x (n_features + 2) numbers of 8 bytes each.
        """
        if checkpoint is not None:
            check_replaceable(checkpoint)
        return self._fit(X, sample_weight, callback, checkpoint, checkpoint_every)

    @classmethod
    def resume(
        cls,
        checkpoint: str | os.PathLike[str],
        X: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        callback: Callback | None = None,
        checkpoint_every: float = 30.0,
        max_seconds: float | None = None,
    ) -> KMeans:
        """Go on with a fit from its checkpoint, and end with the bits of one that never stopped.

        Rows may be chunked and stored differently, and the scheduler may be another one. A pass
        over them checks that they are the same: their number, the ranges of their columns and a
        sample. The checkpoint goes on being written.

        `history_` is that of the whole fit too; only what iterations cost may differ: seconds,
        bytes and distances, and `n_changed`, which is None where nothing is remembered of rows.

        Parameters
        ----------
        checkpoint : str or path
            What `fit` was given. Of the parameters it keeps those that are not objects: of the
            model that is returned `init` and `random_state` are the defaults where they were.
        X, sample_weight, callback, checkpoint_every
            As in `fit`.
        max_seconds : float, default=None
            Instead of what the fit began with. Counts anew in any case.

        Returns
        -------
        KMeans
            Fitted.

        Raises
        ------
        ModelFormatError
            If the checkpoint is missing, damaged, or of a newer format.
        ValueError
            If rows or weights are not those that the fit began with.

        Examples
        --------
        >>> import numpy as np, tempfile
        >>> from daskmeans import KMeans
        >>> X = np.random.default_rng(0).normal(size=(1000, 2))
        >>> path = tempfile.mkdtemp() + "/fit.checkpoint"
        >>> stopped = KMeans(3, random_state=0).fit(
        ...     X, checkpoint=path, callback=lambda state: state.iteration == 2
        ... )
        >>> stopped.n_iter_, stopped.stop_reason_
        (2, 'callback')
        >>> resumed = KMeans.resume(path, X)
        >>> whole = KMeans(3, random_state=0).fit(X)
        >>> np.array_equal(resumed.cluster_centers_, whole.cluster_centers_)
        True
        """
        saved = read_checkpoint(checkpoint)
        try:
            model = cls(**saved.parameters)
            if max_seconds is not None:
                model.max_seconds = max_seconds
            model._validate_params()
        except (TypeError, ValueError) as error:
            raise ModelFormatError(
                f"The parameters in the checkpoint {checkpoint} are not those of "
                f"{cls.__name__}: {error}"
            ) from error
        return model._fit(X, sample_weight, callback, checkpoint, checkpoint_every, saved)

    def _fit(
        self,
        X: ArrayLike,
        sample_weight: ArrayLike | None,
        callback: Callback | None,
        checkpoint: str | os.PathLike[str] | None,
        checkpoint_every: float,
        resumed: Checkpoint | None = None,
    ) -> KMeans:
        watch = Watch(self.max_seconds, callback, save_every=checkpoint_every)
        with (
            runner_over(self, X, sample_weight, reset=True, persist=self.persist) as run,
            observing(self._print_iteration),
        ):
            seeding = self._seeding(X)
            fitted = fit(
                run,
                self.n_clusters,
                seeding,
                max_iter=self.max_iter,
                tol=self.tol,
                rtol=self.rtol,
                max_passes=self.max_passes,
                algorithm=self.algorithm,
                random_state=check_random_state(self.random_state),
                keep_labels=not is_lazy(X),
                watch=watch,
                save=None if checkpoint is None else checkpoint_writer(self, checkpoint),
                resumed=None if resumed is None else resumed.state,
            )
        _log.info("Fit ended after %d iterations: %s.", fitted.n_iter, fitted.reason)
        if self.verbose:
            ended = "Converged" if is_converged(fitted.reason) else "Stopped"
            print(f"{ended} after {fitted.n_iter} iterations: {fitted.reason}.")
        # Sizes that were unknown have been counted meanwhile.
        return self._keep(fitted, X, run.source.known_sizes)

    def _keep(self, fitted: Fitted, X: ArrayLike, sizes: tuple[int, ...]) -> KMeans:
        """Take over what a fit found; labels that it left out are made when they are used."""
        self.cluster_centers_ = fitted.centers
        self.inertia_ = fitted.inertia
        self.n_iter_ = fitted.n_iter
        self.history_ = fitted.history
        self.stop_reason_ = fitted.reason
        self.n_passes_ = fitted.n_passes
        self.bytes_read_ = fitted.bytes_read
        self.cluster_sizes_ = fitted.sizes
        self.labels_ = fitted.labels
        if self.labels_ is None:
            self.labels_ = self._lazy_labels(X, sizes)
        return self

    @property
    def converged_(self) -> bool:
        """Whether iterations ended because nothing, or little enough, changed any more."""
        return is_converged(self.stop_reason_)

    def _seeding(self, X: ArrayLike) -> Seeding:
        init, n_init = init_of(self, X), self.n_init
        if isinstance(init, np.ndarray):
            if n_init not in ("auto", 1):
                warnings.warn(
                    "Explicit initial center position passed: performing only one init in "
                    f"{type(self).__name__} instead of n_init={n_init}.",
                    RuntimeWarning,
                    stacklevel=5,
                )
            n_init = 1
        n_starts = None if n_init == "auto" else int(n_init)
        if n_starts is None and (callable(init) or (isinstance(init, str) and init == "random")):
            n_starts = 10
        return Seeding(init, n_starts, self.oversampling_factor, self.init_rounds)

    def to_sklearn(self, dtype: ExportedDtype = "float64") -> cluster.KMeans:
        """Return a fitted `sklearn.cluster.KMeans` with these centers.

        Its labels are those of this model, but for rows about as near to two centers: scikit-learn
        decides between them by distances that it rounds, |x|^2 - 2 x c + |c|^2 in the dtype of the
        rows. That is a share of 1e-15 or so of |x|^2 in float64. In float32 it is 1e-6 and the
        centers are rounded too, so rows far from the origin should be exported for "float64".

        Parameters
        ----------
        dtype : {"float64", "float32"}, default="float64"
            Dtype of the centers. scikit-learn takes floating rows of this dtype alone; integers
            need "float64".

        Returns
        -------
        sklearn.cluster.KMeans
            `labels_` is there if it is a NumPy array here. Parameters that scikit-learn does not
            know are left out; seeding that it does not know is "k-means++".

        Raises
        ------
        ValueError
            If the metric is "cosine", which scikit-learn does not have.
        NotFittedError

        Examples
        --------
        >>> import numpy as np
        >>> from daskmeans import KMeans
        >>> X = np.array([[1.0], [2.0], [9.0]])
        >>> model = KMeans(2, random_state=0).fit(X)
        >>> bool((model.to_sklearn().predict(X) == model.labels_).all())
        True
        """
        return to_sklearn(self, dtype)

    @classmethod
    def from_sklearn(cls, model: cluster.KMeans) -> KMeans:
        """Return a model with the centers of a fitted `sklearn.cluster.KMeans`.

        Parameters
        ----------
        model : sklearn.cluster.KMeans
            Fitted.

        Returns
        -------
        KMeans
            With an empty `history_`. `stop_reason_` is "max_iter" if so many iterations were made,
            else "tolerance".

        Raises
        ------
        TypeError
            If it is of another class.
        NotFittedError

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn import cluster
        >>> from daskmeans import KMeans
        >>> theirs = cluster.KMeans(2, random_state=0).fit(np.array([[1.0], [2.0], [9.0]]))
        >>> KMeans.from_sklearn(theirs).cluster_centers_.tolist()
        [[1.5], [9.0]]
        """
        made = cls()
        take_from_sklearn(made, model, cluster.KMeans)
        made.cluster_centers_ = centers_of(model)
        labels = getattr(made, "labels_", None)
        made.cluster_sizes_ = (
            None if labels is None else np.bincount(labels, minlength=len(centers_of(model)))
        )
        made.history_, made.n_passes_, made.bytes_read_ = [], 0, 0
        made.stop_reason_ = MAX_ITER if model.n_iter_ == model.max_iter else TOLERANCE
        return made

    def _summary(self) -> Summary:
        from daskmeans.plots.axes import names_of_features
        from daskmeans.plots.html import Summary

        sizes = self.cluster_sizes_
        facts: dict[str, Any] = {} if sizes is None else {"rows": int(sizes.sum())}
        facts |= {
            "features": self.n_features_in_,
            "inertia": self.inertia_,
            "iterations": self.n_iter_,
            "converged" if self.converged_ else "not converged": self.stop_reason_,
            "passes": passes_shown(self.n_passes_, self.bytes_read_),
        }
        inertias = [record.inertia for record in self.history_]
        if sizes is not None:
            # The last pass found that of the centers which the last iteration left.
            inertias.append(self.inertia_)
        return Summary(
            facts,
            "inertia by iteration",
            inertias,
            self.cluster_centers_,
            names_of_features(self),
            {} if sizes is None else {"rows": sizes},
        )

    def _what_to_save(self) -> tuple[dict[str, Any], dict[str, Array]]:
        fitted: dict[str, Any] = {name: getattr(self, name) for name in _SAVED}
        fitted["history_"] = [asdict(record) for record in self.history_]
        arrays = {"cluster_centers_": self.cluster_centers_}
        if self.cluster_sizes_ is not None:
            arrays["cluster_sizes_"] = self.cluster_sizes_
        return fitted, arrays

    def _take_saved(self, fitted: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.cluster_centers_ = checked_centers(
            arrays["cluster_centers_"], self.n_clusters, self.n_features_in_, self.metric
        )
        self.cluster_sizes_ = None
        if "cluster_sizes_" in arrays:
            self.cluster_sizes_ = checked_sizes(arrays["cluster_sizes_"], self.n_clusters)
        self.inertia_ = float(fitted["inertia_"])
        self.n_iter_ = int(fitted["n_iter_"])
        self.stop_reason_ = str(fitted["stop_reason_"])
        self.n_passes_ = int(fitted["n_passes_"])
        self.bytes_read_ = int(fitted["bytes_read_"])
        self.history_ = [
            IterationRecord(**checked_numbers(record)) for record in fitted["history_"]
        ]
