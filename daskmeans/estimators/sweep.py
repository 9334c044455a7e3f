"""Choose the number of clusters: models for many numbers, fitted in the same passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn import get_config
from sklearn.utils import check_random_state

from daskmeans.algorithms.elbow import elbow
from daskmeans.algorithms.kmeans import Seeding
from daskmeans.algorithms.seeding import new_seed
from daskmeans.algorithms.survey import Run
from daskmeans.algorithms.sweep import fit_each
from daskmeans.blocks.inputs import ArrayLike, is_lazy
from daskmeans.errors import MissingExtraError, RowsError
from daskmeans.estimators.centers import center_set_of
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.rows import runner_over
from daskmeans.metrics.evaluate import metrics_of_centers
from daskmeans.metrics.registry import METRICS, check_names
from daskmeans.typing import Array, Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INITS = ("auto", "refined", "k-means++", "random")
_METRICS = tuple(name for name, metric in METRICS.items() if metric.better != "none")
# Rows that "silhouette" is of.
_SAMPLE_SIZE = 2_000


@dataclass(frozen=True, repr=False)
class SweepResult:
    """Models for several numbers of clusters, and what tells them apart.

    Attributes
    ----------
    models : dict of int to KMeans
        The fitted model for each number of clusters, ascending.
    scores : dict of str to ndarray of shape (len(models),), float64
        Each metric for each model.
    n_passes : int
        Passes over the rows that the fits and the metrics made together.
    bytes_read : int
        Bytes of rows, by their size in memory, that they read.
    """

    models: Mapping[int, KMeans]
    scores: Mapping[str, Array]
    n_passes: int
    bytes_read: int

    def __repr__(self) -> str:
        # The table tells more, in a notebook at once; the models' own are pages of parameters.
        return (
            f"SweepResult(n_clusters={self.n_clusters}, scores={list(self.scores)}, "
            f"n_passes={self.n_passes})"
        )

    @property
    def n_clusters(self) -> tuple[int, ...]:
        """Numbers of clusters, ascending."""
        return tuple(self.models)

    @property
    def elbow(self) -> int | None:
        """Number of clusters at the elbow of the inertia, by Kneedle on its logarithm.

        None if there is none. Needs kneed, of the extra `sweep`.
        """
        inertias = np.array([model.inertia_ for model in self.models.values()])
        return elbow(self.n_clusters, inertias)

    @property
    def best(self) -> dict[str, int | None]:
        """Best number of clusters by each metric: for the inertia the elbow.

        None where there is none. The elbow needs kneed, of the extra `sweep`.
        """
        return {name: self._best(name, values) for name, values in self.scores.items()}

    def _best(self, name: str, values: Array) -> int | None:
        better = METRICS[name].better
        if better == "elbow":
            return self.elbow
        if np.isnan(values).all():
            return None
        place = np.nanargmin(values) if better == "lower" else np.nanargmax(values)
        return self.n_clusters[int(place)]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the inertia against the number of clusters; see `daskmeans.plots.elbow`."""
        from daskmeans.plots.sweeps import elbow as draw

        return draw(self, ax=ax)

    @property
    def _repr_html_(self) -> Callable[[], str]:
        """Show the table in a notebook, the best by each metric in bold.

        Raises
        ------
        AttributeError
            If `sklearn.set_config(display="text")` asks for text.
        """
        if get_config()["display"] != "diagram":
            raise AttributeError("There is no HTML where sklearn's config asks for text.")
        return self._html

    def _html(self) -> str:
        from daskmeans.plots.html import swept

        try:
            best = self.best
        except MissingExtraError as error:
            return swept(self._lines(), {}, note=str(error))
        return swept(self._lines(), best)

    @property
    def table(self) -> Any:
        """A line for each number of clusters: a pandas DataFrame, or else a list of dicts."""
        lines = self._lines()
        try:
            import pandas as pd
        except ImportError:
            return lines
        return pd.DataFrame(lines)

    def _lines(self) -> list[dict[str, Any]]:
        return [
            {
                "n_clusters": n_clusters,
                **{name: float(values[i]) for name, values in self.scores.items()},
                "n_iter": model.n_iter_,
                "stop_reason": model.stop_reason_,
            }
            for i, (n_clusters, model) in enumerate(self.models.items())
        ]


def sweep(
    X: ArrayLike,
    n_clusters: Iterable[int],
    *,
    sample_weight: ArrayLike | None = None,
    metrics: Sequence[str] = ("inertia",),
    init: str = "auto",
    n_init: int = 10,
    drop_restarts: bool = True,
    max_iter: int = 300,
    tol: float = 1e-4,
    rtol: float = 3e-4,
    max_passes: int | None = None,
    persist: bool | Literal["auto"] = "auto",
    random_state: int | np.random.RandomState | None = None,
    algorithm: str = "auto",
    metric: Metric = "euclidean",
) -> SweepResult:
    """Fit k-means for several numbers of clusters, all of them in the same passes over the rows.

    A block that is read serves every model that has not converged, so a sweep reads the rows about
    as often as its slowest fit would alone. Each model is, to the bit, what `KMeans` with the same
    parameters and `random_state` finds for that number alone, where either `drop_restarts` is False
    or `init` comes to "refined".

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows, of any kind that `KMeans.fit` takes.
    n_clusters : iterable of int
        Numbers of clusters, for instance ``range(2, 33)``. Each at least 1, none of them twice.
    sample_weight : array-like or dask array of shape (n_samples,), default=None
        See `KMeans.fit`.
    metrics : sequence of str, default=("inertia",)
        Metrics of each model, columns of the table: those of `daskmeans.metrics.evaluate` that are
        one number a model. Others than "inertia" and "simplified_silhouette" take three passes more
        for all models together, these two at most one.
    init : {"auto", "refined", "k-means++", "random"}, default="auto"
        Initial centers, see `KMeans`: all from the sample that the first pass takes.
    n_init : int, default=10
        Restarts for each number of clusters; the one with the lowest inertia is kept.
    drop_restarts : bool, default=True
        Drop restarts that fall behind others with as many clusters. For "refined" they race on the
        sample: after ten iterations the half with the higher inertia is dropped, and so on, and the
        best converges there; it alone makes full passes. For other `init` the half with the higher
        inertia is dropped every five passes. False lets all of them converge in full passes.
    max_iter, tol
        As in `KMeans`.
    rtol : float, default=3e-4
        A model is done once an iteration lowers its inertia by less than this share of it. More
        than the 0 of `KMeans`: to tell numbers of clusters apart needs no last digits, and one slow
        model would make all passes alone.
    max_passes, persist
        As in `KMeans`.
    random_state : int, RandomState instance or None, default=None
        Determines seeding. An int gives the same result each time.
    algorithm, metric
        As in `KMeans`.

    Returns
    -------
    SweepResult
        Its models are as if fitted one by one, `labels_` included: NumPy for rows in memory, 4
        bytes a row and model. Their `n_passes_` and `bytes_read_` are those of the whole sweep.

    Raises
    ------
    ValueError
        For numbers of clusters below 1, given twice, or above the number of rows; if all rows are
        equal; for unknown metrics; as `KMeans.fit`.

    Notes
    -----
    Starting k + 1 clusters from the centers of k did not lower the inertia at ten restarts, and is
    left out: models of a sweep do not depend on which others are in it.

    Examples
    --------
    >>> import daskmeans
    >>> from daskmeans.datasets import make_blobs
    >>> X = make_blobs(4_000, 3, centers=5, overlap=1e-4, chunks=1_000, random_state=3)
    >>> found = daskmeans.sweep(X, range(2, 11), random_state=0)
    >>> found.elbow
    5
    >>> daskmeans.sweep(X, range(2, 11), metrics=["davies_bouldin"], random_state=0).best
    {'davies_bouldin': 5}
    >>> found.models[5].cluster_centers_.shape
    (5, 3)
    """
    counts = numbers_of_clusters(n_clusters)
    if init not in _INITS:
        raise ValueError(
            f"init={init!r} has to be one of {', '.join(map(repr, _INITS))}: a sweep seeds from "
            "the sample of its first pass."
        )
    check_names(metrics, _METRICS, sample_weight is not None)
    seed = random_state
    if not isinstance(seed, Integral):
        seed = int(check_random_state(random_state).randint(2**31 - 1))
    models = {
        k: KMeans(
            k,
            init=init,
            n_init=n_init,
            max_iter=max_iter,
            tol=tol,
            rtol=rtol,
            max_passes=max_passes,
            persist=persist,
            random_state=int(seed),
            algorithm=algorithm,
            metric=metric,
        )
        for k in counts
    }
    largest = models[counts[-1]]
    largest._validate_params()
    with runner_over(largest, X, sample_weight, reset=True, persist=persist) as run:
        if run.source.sizes is not None and 0 < run.source.n_rows < counts[-1]:
            raise RowsError(
                f"n_clusters goes up to {counts[-1]}, and X has {run.source.n_rows} rows: "
                f"n_samples={run.source.n_rows} should be >= n_clusters. Leave out larger numbers."
            )
        fitted = fit_each(
            run,
            counts,
            Seeding(init, n_init, largest.oversampling_factor, largest.init_rounds),
            drop_restarts=drop_restarts,
            max_iter=max_iter,
            tol=tol,
            rtol=rtol,
            max_passes=max_passes,
            algorithm=algorithm,
            random_state=int(seed),
            keep_labels=not is_lazy(X),
        )
        for k, model in models.items():
            model.n_features_in_ = largest.n_features_in_
            if hasattr(largest, "feature_names_in_"):
                model.feature_names_in_ = largest.feature_names_in_
            model._keep(fitted[k], X, run.source.known_sizes)
        scores = _scores(run, models, metrics, int(seed))
    return SweepResult(models, scores, run.n_passes, run.bytes_read)


def _scores(
    run: Run, models: Mapping[int, KMeans], metrics: Sequence[str], seed: int
) -> dict[str, Array]:
    """Return each metric for each fitted model, in the order of the models."""
    found: dict[str, Any] = {"inertia": [model.inertia_ for model in models.values()]}
    # The fits have told the inertia.
    others = [name for name in metrics if name != "inertia"]
    if others:
        centers = [center_set_of(model) for model in models.values()]
        drawing = new_seed(np.random.RandomState(seed))
        found.update(metrics_of_centers(run, centers, others, _SAMPLE_SIZE, drawing))
    return {name: np.array(found[name], dtype=np.float64) for name in metrics}


def numbers_of_clusters(n_clusters: Iterable[int], argument: str = "n_clusters") -> list[int]:
    """Return numbers of clusters, ascending.

    Raises
    ------
    TypeError, ValueError
        If they are none, or given twice; `argument` is what the caller calls them.
    """
    if not isinstance(n_clusters, Iterable) or isinstance(n_clusters, str):
        raise TypeError(
            f"{argument}={n_clusters!r} has to hold the numbers to sweep over, for instance "
            "range(2, 11). For one number use KMeans."
        )
    counts = list(n_clusters)
    for k in counts:
        if not isinstance(k, Integral) or isinstance(k, bool):
            raise TypeError(f"{argument} has to hold integers, and {k!r} is none.")
        if k < 1:
            raise ValueError(f"{argument} has to hold numbers of at least 1, and {k} is less.")
    if not counts:
        raise ValueError(f"{argument} is empty: give at least one number, such as range(2, 11).")
    twice = sorted({int(k) for k in counts if counts.count(k) > 1})
    if twice:
        raise ValueError(f"{argument} holds {twice[0]} more than once: give each number once.")
    return sorted(map(int, counts))
