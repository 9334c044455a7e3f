"""Metrics one by one, with scikit-learn's signatures; `evaluate` shares passes among several."""

from __future__ import annotations

from typing import Any

import numpy as np

from daskmeans.blocks.inputs import ArrayLike
from daskmeans.errors import RowsError
from daskmeans.metrics.evaluate import evaluate
from daskmeans.metrics.labelled_rows import metrics_of_labels
from daskmeans.typing import Array


def inertia(X: ArrayLike, labels: Any, *, sample_weight: ArrayLike | None = None) -> float:
    """Return the weighted sum of the squared distances of rows to the centers of their clusters.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows, of any kind that `KMeans.fit` takes.
    labels : array-like or dask array of shape (n_samples,), or fitted model
        Integers if lazy; in memory anything that sorts. Distances are to the means of the labelled
        rows; those of a model to its centers.
    sample_weight : array-like or dask array of shape (n_samples,), default=None
        Non-negative weights. Weight 2 counts as the row given twice.

    Returns
    -------
    float
        The same in any chunking and on any scheduler.

    Raises
    ------
    ValueError
        As `KMeans.fit`; if there is not one label a row.

    Examples
    --------
    >>> from daskmeans.metrics import inertia
    >>> inertia([[0.0], [1.0], [8.0], [9.5]], [0, 0, 1, 1])
    1.625
    """
    return float(_value("inertia", X, labels, sample_weight=sample_weight))


def simplified_silhouette_score(
    X: ArrayLike, labels: Any, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the mean silhouette by distances to centers instead of to all rows.

    Parameters
    ----------
    X, labels, sample_weight
        As in `inertia`.

    Returns
    -------
    float
        From -1 to 1, higher is better.

    Raises
    ------
    ValueError
        If there are not from 2 clusters to one fewer than rows; as in `inertia`.

    Notes
    -----
    For the distance a of a row to the center of its cluster, and b to the nearest other center, the
    mean of (b - a) / max(a, b): from -1 to 1, higher is better. Centers are as for `inertia`.
    Hruschka, Campello and de Castro, "Evolving clusters in gene-expression data", Information
    Sciences 176, 2006.

    Examples
    --------
    >>> from daskmeans.metrics import simplified_silhouette_score
    >>> round(simplified_silhouette_score([[0.5], [1.0], [8.0], [9.5]], [0, 0, 1, 1]), 6)
    0.937069
    """
    return _defined("simplified_silhouette", X, labels, sample_weight=sample_weight)


def squared_euclidean_silhouette_score(
    X: ArrayLike, labels: Any, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the mean silhouette by squared distances, of all rows, as Spark's evaluator does.

    Parameters
    ----------
    X, labels, sample_weight
        As in `inertia`.

    Returns
    -------
    float
        From -1 to 1, higher is better.

    Raises
    ------
    ValueError
        If there are not from 2 clusters to one fewer than rows; as in `inertia`.

    Notes
    -----
    Equal to `silhouette_score(X, labels, metric="sqeuclidean")` of scikit-learn, at a cost of
    n_samples * n_clusters: the mean squared distance of x to the rows of a cluster is
    |x - mean|^2 + variance. See `org.apache.spark.ml.evaluation.ClusteringEvaluator`. With weights
    a row leaves out its whole weight when it is compared with its cluster, as there.

    Examples
    --------
    >>> from daskmeans.metrics import squared_euclidean_silhouette_score
    >>> round(squared_euclidean_silhouette_score([[0.5], [1.0], [8.0], [9.5]], [0, 0, 1, 1]), 6)
    0.980029
    """
    return _defined("squared_euclidean_silhouette", X, labels, sample_weight=sample_weight)


def cosine_silhouette_score(
    X: ArrayLike, labels: Any, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the mean silhouette by cosine distances, of all rows, as Spark's evaluator does.

    Parameters
    ----------
    X, labels, sample_weight
        As in `inertia`.

    Returns
    -------
    float
        From -1 to 1, higher is better.

    Raises
    ------
    ValueError
        If there are not from 2 clusters to one fewer than rows; if a row is zero; as `inertia`.

    Notes
    -----
    Equal to `silhouette_score(X, labels, metric="cosine")` of scikit-learn: half of the squared
    distance of two rows of length 1 is their cosine distance. See
    `squared_euclidean_silhouette_score`, also for weights.

    Examples
    --------
    >>> from daskmeans.metrics import cosine_silhouette_score
    >>> round(cosine_silhouette_score([[0.5], [1.0], [8.0], [9.5]], [0, 0, 1, 1]), 6)
    0.0
    """
    return _defined("cosine_silhouette", X, labels, sample_weight=sample_weight)


def davies_bouldin_score(
    X: ArrayLike, labels: Any, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the Davies-Bouldin index: how close clusters are for their spreads; lower is better.

    Parameters
    ----------
    X, labels, sample_weight
        As in `inertia`.

    Returns
    -------
    float
        0 or more, lower is better.

    Raises
    ------
    ValueError
        If there are not from 2 clusters to one fewer than rows; as in `inertia`.

    Notes
    -----
    As `sklearn.metrics.davies_bouldin_score`. Davies and Bouldin, "A cluster separation measure",
    IEEE Transactions on Pattern Analysis and Machine Intelligence 1, 1979, definition 5.

    Examples
    --------
    >>> from daskmeans.metrics import davies_bouldin_score
    >>> round(davies_bouldin_score([[0.5], [1.0], [8.0], [9.5]], [0, 0, 1, 1]), 6)
    0.125
    """
    return _defined("davies_bouldin", X, labels, sample_weight=sample_weight)


def calinski_harabasz_score(
    X: ArrayLike, labels: Any, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the ratio of the variances between and within clusters; higher is better.

    Parameters
    ----------
    X, labels, sample_weight
        As in `inertia`.

    Returns
    -------
    float
        0 or more, higher is better.

    Raises
    ------
    ValueError
        If there are not from 2 clusters to one fewer than rows; as in `inertia`.

    Notes
    -----
    As `sklearn.metrics.calinski_harabasz_score`. Calinski and Harabasz, "A dendrite method for
    cluster analysis", Communications in Statistics 3, 1974.

    Examples
    --------
    >>> from daskmeans.metrics import calinski_harabasz_score
    >>> round(calinski_harabasz_score([[0.5], [1.0], [8.0], [9.5]], [0, 0, 1, 1]), 6)
    102.4
    """
    return _defined("calinski_harabasz", X, labels, sample_weight=sample_weight)


def silhouette_score(
    X: ArrayLike,
    labels: Any,
    *,
    sample_size: int = 2_000,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """Return scikit-learn's mean silhouette of rows that are drawn at random in one pass.

    Parameters
    ----------
    X, labels
        As in `inertia`.
    sample_size : int, default=2000
        Rows of the sample, at most 10,000; all rows if there are fewer.
    random_state : int, RandomState instance or None, default=0
        Draws them, the same in any chunking.

    Returns
    -------
    float
        From -1 to 1, higher is better.

    Raises
    ------
    ValueError
        If the sample has not from 2 clusters to one fewer than rows; as in `inertia`.

    Notes
    -----
    Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis", Journal of Computational and Applied Mathematics 20, 1987.

    Examples
    --------
    >>> from daskmeans.metrics import silhouette_score
    >>> round(silhouette_score([[0.5], [1.0], [8.0], [9.5]], [0, 0, 1, 1]), 6)
    0.874138
    """
    return _defined("silhouette", X, labels, sample_size=sample_size, random_state=random_state)


def cluster_sizes(X: ArrayLike, labels: Any, *, sample_weight: ArrayLike | None = None) -> Array:
    """Return the weight of each cluster: its rows, where there are no weights.

    Parameters
    ----------
    X, labels, sample_weight
        As in `inertia`.

    Returns
    -------
    ndarray of shape (n_clusters,), float64
        In the order of the labels. Of lazy labels every number from the smallest to the largest has
        its place.

    Raises
    ------
    ValueError
        As in `inertia`.

    Examples
    --------
    >>> from daskmeans.metrics import cluster_sizes
    >>> cluster_sizes([[0.0], [1.0], [8.0]], ["a", "a", "b"]).tolist()
    [2.0, 1.0]
    """
    sizes: Array = _value("sizes", X, labels, sample_weight=sample_weight)
    return sizes


def cluster_spreads(X: ArrayLike, labels: Any, *, sample_weight: ArrayLike | None = None) -> Array:
    """Return the root mean squared distance of each cluster's rows to their mean.

    Parameters
    ----------
    X, labels, sample_weight
        As in `inertia`.

    Returns
    -------
    ndarray of shape (n_clusters,), float64
        In the order of the labels, as `cluster_sizes`; NaN for a cluster without rows.

    Raises
    ------
    ValueError
        As in `inertia`.

    Examples
    --------
    >>> from daskmeans.metrics import cluster_spreads
    >>> cluster_spreads([[0.0], [1.0], [8.0]], [0, 0, 1]).tolist()
    [0.5, 0.0]
    """
    spreads: Array = _value("spreads", X, labels, sample_weight=sample_weight)
    return spreads


def _value(metric: str, X: ArrayLike, labels: Any, **options: Any) -> Any:
    if hasattr(labels, "predict"):
        return evaluate(labels, X, [metric], **options)[metric]
    return metrics_of_labels(X, labels, [metric], **options)[metric]


def _defined(metric: str, X: ArrayLike, labels: Any, **options: Any) -> float:
    value = float(_value(metric, X, labels, **options))
    if np.isnan(value):
        raise RowsError(
            f"The {metric.replace('_', ' ')} is not defined for these labels: there have to be "
            "from 2 clusters to one fewer than rows (or than sampled rows)."
        )
    return value
