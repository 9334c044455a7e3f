"""k_means and the seedings as functions, like scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from daskmeans.algorithms.seeding import kmeans_parallel as seed_in_rounds
from daskmeans.algorithms.seeding import kmeans_plusplus_rows, new_seed
from daskmeans.algorithms.spherical import unit_centers
from daskmeans.algorithms.survey import survey
from daskmeans.blocks.inputs import ArrayLike
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.rows import runner_over
from daskmeans.kernels.csr import as_dense
from daskmeans.typing import Array, Metric


def k_means(
    X: ArrayLike,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
    init: str | ArrayLike | Callable[..., ArrayLike] = "auto",
    n_init: str | int = "auto",
    max_iter: int = 300,
    verbose: int = 0,
    tol: float = 1e-4,
    random_state: int | np.random.RandomState | None = None,
    algorithm: str = "auto",
    return_n_iter: bool = False,
    metric: Metric = "euclidean",
) -> tuple[Any, ...]:
    """Cluster rows by k-means; `KMeans` as a function.

    Parameters
    ----------
    X, n_clusters, sample_weight, init, n_init, max_iter, verbose, tol, random_state, algorithm
        As in `KMeans` and its `fit`.
    return_n_iter : bool, default=False
        Return the number of iterations too.
    metric
        As in `KMeans`.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features), float64
        What `cluster_centers_` would be.
    labels : ndarray or dask array of shape (n_samples,), int32
        Lazy for rows that are lazy or in a store.
    inertia : float
        Weighted sum of the squared distances of rows to their centers.
    n_iter : int
        Only with `return_n_iter`.

    Raises
    ------
    ValueError
        As in `KMeans.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans import k_means
    >>> centers, labels, inertia = k_means(np.array([[1.0], [2.0], [9.0]]), 2, random_state=0)
    >>> labels.tolist(), inertia
    ([0, 0, 1], 0.5)
    """
    model = KMeans(
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        verbose=verbose,
        tol=tol,
        random_state=random_state,
        algorithm=algorithm,
        metric=metric,
    ).fit(X, sample_weight=sample_weight)
    result = (model.cluster_centers_, model.labels_, model.inertia_)
    return (*result, model.n_iter_) if return_n_iter else result


def kmeans_plusplus(
    X: ArrayLike,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
    n_local_trials: int | None = None,
    metric: Metric = "euclidean",
) -> tuple[Array, Array]:
    """Choose initial centers by greedy k-means++, on a random sample where the rows are many.

    Parameters
    ----------
    X, n_clusters, sample_weight, random_state
        As in `KMeans` and its `fit`.
    n_local_trials : int, default=None
        Candidates tried for each center; None means 2 + log(n_clusters).
    metric
        As in `KMeans`.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features), float64
        The chosen rows.
    indices : ndarray of shape (n_clusters,), int64
        Their numbers in X.

    Raises
    ------
    ValueError
        As in `KMeans.fit`.

    Notes
    -----
    Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007, with the
    local trials of its section 7.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans import kmeans_plusplus
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> centers, indices = kmeans_plusplus(X, 2, random_state=0)
    >>> centers
    array([[10.,  2.],
           [ 1.,  0.]])
    >>> indices
    array([3, 2])
    """
    generator = check_random_state(random_state)
    model = KMeans(n_clusters, metric=metric)
    model._validate_params()
    with runner_over(model, X, sample_weight, reset=True) as run:
        surveyed = survey(run, n_clusters, new_seed(generator))
    chosen = kmeans_plusplus_rows(surveyed, n_clusters, generator, n_local_trials)
    centers = as_dense(surveyed.sample[chosen])
    if metric == "cosine":
        centers = unit_centers(centers)
    return centers, surveyed.sample_numbers[chosen]


def kmeans_parallel(
    X: ArrayLike,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
    oversampling_factor: float = 2.0,
    init_rounds: int = 5,
    random_state: int | np.random.RandomState | None = None,
    metric: Metric = "euclidean",
) -> Array:
    """Choose initial centers by k-means||, in a few passes over the rows.

    Parameters
    ----------
    X, n_clusters, sample_weight, oversampling_factor, init_rounds, random_state, metric
        As in `KMeans` and its `fit`.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features), float64
        Means of candidates, by weighted k-means.

    Raises
    ------
    ValueError
        As in `KMeans.fit`.

    Notes
    -----
    Bahmani, Moseley, Vattani, Kumar and Vassilvitskii, "Scalable k-means++", VLDB 2012, algorithm
    2, with a fixed number of candidates a round.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans import kmeans_parallel
    >>> X = np.array([[1.0], [2.0], [9.0], [11.0]])
    >>> sorted(kmeans_parallel(X, 2, random_state=0).ravel().tolist())
    [1.5, 10.0]
    """
    generator = check_random_state(random_state)
    model = KMeans(
        n_clusters,
        oversampling_factor=oversampling_factor,
        init_rounds=init_rounds,
        metric=metric,
    )
    model._validate_params()
    with runner_over(model, X, sample_weight, reset=True) as run:
        surveyed = survey(run, n_clusters, new_seed(generator))
        centers = seed_in_rounds(
            run,
            surveyed,
            n_clusters,
            generator,
            oversampling_factor=oversampling_factor,
            rounds=init_rounds,
        )
    return unit_centers(centers) if metric == "cosine" else centers
