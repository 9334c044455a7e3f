"""What the estimators share: all that can be done with a set of centers, however it was found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from daskmeans.algorithms.assignment import Assignment, CenterSet, measure
from daskmeans.algorithms.rowwise import (
    RowFunction,
    cosine_distance_rows,
    distance_rows,
    fill,
    label_rows,
    map_lazily,
)
from daskmeans.algorithms.rowwise_spark import DISTANCES, PREDICTION, with_column
from daskmeans.algorithms.spherical import inertia_by
from daskmeans.blocks.inputs import ArrayLike, as_dask_array, is_lazy
from daskmeans.blocks.spark_rows import is_spark
from daskmeans.estimators.centers import nearest_of
from daskmeans.estimators.notebook import ShownInNotebooks
from daskmeans.estimators.rows import (
    as_spark_rows,
    check_named,
    check_rows,
    in_one_block,
    runner_over,
)
from daskmeans.estimators.saving import save
from daskmeans.passes.events import Event, IterationEnded
from daskmeans.typing import Array, Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class FittedCenters(
    ShownInNotebooks,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Labels, measures, draws and saves by the centers that `fit` of a subclass finds.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), float64
    labels_ : ndarray or dask array of shape (n_samples,), int32
    inertia_ : float
    n_features_in_ : int
    """

    n_clusters: int
    verbose: int
    metric: Metric
    cluster_centers_: Array
    labels_: Any
    inertia_: float
    n_features_in_: int

    def fit(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> Any:
        """Compute the clustering."""
        raise NotImplementedError

    def _what_to_save(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what was fitted as JSON and arrays."""
        raise NotImplementedError

    def _take_saved(self, fitted: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Become fitted by these; raise KeyError, TypeError or ValueError if they cannot be."""
        raise NotImplementedError

    def fit_predict(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Compute the clustering and return `labels_`.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        labels : ndarray or dask array of shape (n_samples,), int32
            Lazy for rows that are lazy or in a store.

        Raises
        ------
        ValueError
            As in `fit`.

        Examples
        --------
        >>> from daskmeans import KMeans
        >>> KMeans(2, random_state=0).fit_predict([[0.0], [1.0], [9.0]]).tolist()
        [0, 0, 1]
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Compute the clustering and return the distances of X to the centers.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        distances : ndarray or dask array of shape (n_samples, n_clusters)
            As `transform` gives them.

        Raises
        ------
        ValueError
            As in `fit`.

        Examples
        --------
        >>> from daskmeans import KMeans
        >>> KMeans(2, random_state=0).fit_transform([[0.0], [1.0], [9.0]]).tolist()
        [[0.5, 9.0], [0.5, 8.0], [8.5, 0.0]]
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def predict(self, X: ArrayLike) -> Any:
        """Return the label of the nearest center for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As in `fit`.

        Returns
        -------
        labels : ndarray or dask array of shape (n_samples,), int32
            Lazy for rows that are lazy or in a store: nothing is read until it is computed. Of a
            Spark DataFrame the DataFrame with a column "prediction" more.

        Raises
        ------
        ValueError
            If X has NaN, infinity, with "cosine" a row of zeros, or another number of features than
            the fit; for lazy rows, values are looked at when the result is computed.

        Examples
        --------
        >>> from daskmeans import KMeans
        >>> model = KMeans(2, random_state=0).fit([[0.0], [1.0], [9.0]])
        >>> model.predict([[5.0], [2.0]]).tolist()
        [1, 0]
        """
        return self._for_each_row(X, label_rows)

    def transform(self, X: ArrayLike) -> Any:
        """Return the distance of each row to each center: Euclidean, or with "cosine" cosine's.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As in `fit`.

        Returns
        -------
        distances : ndarray or dask array of shape (n_samples, n_clusters)
            float32 for float32 rows, else float64. Lazy as in `predict`. Of a Spark DataFrame the
            DataFrame with a column "distances" more, of float64.

        Raises
        ------
        ValueError
            As in `predict`.

        Examples
        --------
        >>> from daskmeans import KMeans
        >>> model = KMeans(2, random_state=0).fit([[0.0], [1.0], [9.0]])
        >>> model.transform([[5.0]]).tolist()
        [[4.5, 4.0]]
        """
        return self._for_each_row(
            X, cosine_distance_rows if self.metric == "cosine" else distance_rows
        )

    def score(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the negated inertia of X for these centers. Reads all rows.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        float
            Minus the weighted sum of the squared distances of rows to their centers.

        Raises
        ------
        ValueError
            As in `predict`.

        Examples
        --------
        >>> from daskmeans import KMeans
        >>> model = KMeans(2, random_state=0).fit([[0.0], [1.0], [9.0]])
        >>> model.score([[2.5], [9.0]])
        -4.0
        """
        check_is_fitted(self)
        with runner_over(self, X, sample_weight, reset=False) as run:
            costs = measure(run, [Assignment(self._center_set())], keep_labels=False)
        return -inertia_by(self.metric, costs.inertias()[0])

    def plot(self, X: ArrayLike | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw the clusters among the rows, or without rows the profiles of the centers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), optional
            As in `fit`; two passes read it. See `daskmeans.plots.clusters`, and
            `daskmeans.plots.profiles` for none.
        ax : matplotlib Axes, optional
            Where to draw; a new figure's by default.

        Returns
        -------
        matplotlib Axes
            What was drawn into.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> from daskmeans import KMeans
        >>> KMeans(2, random_state=0).fit([[0.0], [1.0], [9.0]]).plot().get_title()
        'Cluster profiles'
        """
        from daskmeans.plots.clusters import clusters
        from daskmeans.plots.profiles import profiles

        check_is_fitted(self)
        return profiles(self, ax=ax) if X is None else clusters(self, X, ax=ax)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted model to one file, which `daskmeans.load` reads.

        Labels are not part of it, and neither are parameters that are functions or RandomState
        objects: predictions need none of these.

        Parameters
        ----------
        path : str or path
            A file, or a URL of any file system that fsspec can write. It is whole or not there.
        overwrite : bool, default=False
            Replace a model that is there. Anything else stays in any case.

        Raises
        ------
        OutputExistsError
            If something is there that is not to be replaced.
        OutputError
            If the file cannot be written.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import tempfile
        >>> from daskmeans import KMeans, load
        >>> path = tempfile.mkdtemp() + "/model"
        >>> KMeans(2, random_state=0).fit([[0.0], [1.0], [9.0]]).save(path)
        >>> load(path).predict([[7.0]]).tolist()
        [1]
        """
        save(self, path, overwrite=overwrite)

    def _center_set(self) -> CenterSet:
        return nearest_of(self.cluster_centers_)

    def _for_each_row(self, X: ArrayLike, function: RowFunction) -> Any:
        """Return labels of rows, or distances: now for rows in memory, else where they are used."""
        check_is_fitted(self)
        if is_spark(X):
            return self._with_column(X, function)
        rows = check_rows(self, X, reset=False)
        if is_lazy(X):
            return self._lazily(as_dask_array(X), function)
        n_columns, dtype = self._result_of(function, rows.dtype)
        found = np.empty(len(rows) if n_columns is None else (len(rows), n_columns), dtype)
        fill(function, rows, self._center_set(), found, self.metric)
        return found

    def _lazy_labels(self, X: ArrayLike, sizes: tuple[int, ...] | None = None) -> Any:
        """Return labels of the rows of a fit, made when they are used, whatever the rows are."""
        if is_spark(X):
            return self._with_column(X, label_rows)
        array = as_dask_array(X) if is_lazy(X) else in_one_block(check_rows(self, X, reset=False))
        return self._lazily(array, label_rows, sizes)

    def _result_of(
        self, function: RowFunction, dtype: np.dtype[Any]
    ) -> tuple[int | None, np.dtype[Any]]:
        """Return columns (None: one number a row) and dtype of what rows of a dtype give."""
        if function is label_rows:
            return None, np.dtype(np.int32)
        narrow = dtype == np.float32
        return len(self.cluster_centers_), np.dtype(np.float32 if narrow else np.float64)

    def _lazily(
        self, array: da.Array, function: RowFunction, sizes: tuple[int, ...] | None = None
    ) -> da.Array:
        n_columns, dtype = self._result_of(function, array.dtype)
        centers = self._center_set()
        return map_lazily(function, array, centers, dtype, n_columns, sizes, self.metric)

    def _with_column(self, X: ArrayLike, function: RowFunction) -> Any:
        """Return a Spark DataFrame with one column more."""
        rows = as_spark_rows(X, fitted=self)
        check_named(self, rows)
        name = PREDICTION if function is label_rows else DISTANCES
        return with_column(rows, function, self._center_set(), name, self.metric)

    def _print_iteration(self, event: Event) -> None:
        if self.verbose and isinstance(event, IterationEnded):
            print(
                f"Iteration {event.iteration}, inertia {event.inertia}, "
                f"center shift {event.center_shift}."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if isinstance(state.get("labels_"), da.Array) or is_spark(state.get("labels_")):
            # They hold the graph of the rows, and with it rows that are in memory.
            state = {name: value for name, value in state.items() if name != "labels_"}
        return state
