"""Judge models by several metrics, all of them in the same passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from daskmeans.algorithms.assignment import CenterSet
from daskmeans.algorithms.labelled import Clustering
from daskmeans.algorithms.seeding import new_seed
from daskmeans.algorithms.spherical import inertia_by
from daskmeans.algorithms.survey import Run, survey
from daskmeans.blocks.inputs import ArrayLike
from daskmeans.estimators.centers import center_set_of
from daskmeans.estimators.rows import metric_of, runner_over
from daskmeans.metrics.registry import (
    METRICS,
    SILHOUETTE,
    check_names,
    check_sample_size,
    drawn,
    label_sample,
    needs_survey,
    values_of,
)

DEFAULT_METRICS = (
    "inertia",
    "simplified_silhouette",
    "davies_bouldin",
    "calinski_harabasz",
    "sizes",
)


def evaluate(
    models: Any,
    X: ArrayLike,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    sample_weight: ArrayLike | None = None,
    sample_size: int = 2_000,
    random_state: int | np.random.RandomState | None = 0,
) -> dict[str, Any]:
    """Judge one or more models by several metrics, in at most three passes over the rows.

    Results are the same, to the bit, in any chunking and on any scheduler.

    Parameters
    ----------
    models : fitted model, or sequence or mapping of such
        With `cluster_centers_`, as `KMeans` has.
    X : array-like of shape (n_samples, n_features)
        Rows, of any kind that `KMeans.fit` takes.
    metrics : sequence of str
        Any of

        - "inertia": weighted sum of squared distances to the model's centers, or of cosine
          distances for a model with ``metric="cosine"``;
        - "simplified_silhouette": the silhouette by distances to the model's centers [1]_;
        - "silhouette": scikit-learn's, of a sample of `sample_size` rows [2]_;
        - "squared_euclidean_silhouette" and "cosine_silhouette": Spark's, exact and of all
          rows [3]_;
        - "davies_bouldin" and "calinski_harabasz": as in scikit-learn;
        - "sizes" and "spreads": for each cluster its weight, which without weights is its rows, and
          the root mean squared distance of its rows to their mean.

        Inertia and simplified silhouette take one pass. The others depend on labels alone. For a
        model with ``metric="cosine"`` all are of the rows divided by their lengths, among which
        squared Euclidean distances are twice the cosine distances.
    sample_weight : array-like or dask array of shape (n_samples,), default=None
        Non-negative weights. Weight 2 counts as the row given twice, save in Spark's silhouettes,
        where a row leaves out its whole weight when it is compared with its cluster, as in Spark.
        "silhouette" takes none.
    sample_size : int, default=2000
        Rows that "silhouette" is of, at most 10,000.
    random_state : int, RandomState instance or None, default=0
        Draws these rows.

    Returns
    -------
    dict of str to float or ndarray
        A float for each metric, or for several models a float64 array of shape (n_models,). "sizes"
        and "spreads" are arrays of shape (n_clusters,), or lists of these. NaN where a metric is
        not defined: for most there have to be from 2 clusters to one fewer than rows.

    Raises
    ------
    ValueError
        For unknown metrics; for rows without a direction, for "cosine_silhouette"; for models with
        different `metric`; as `KMeans.predict`.
    NotFittedError
        For models that are not fitted.

    References
    ----------
    .. [1] Hruschka, Campello and de Castro, "Evolving clusters in gene-expression data",
       Information Sciences 176, 2006.
    .. [2] Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster
       analysis", Journal of Computational and Applied Mathematics 20, 1987.
    .. [3] The notes to `org.apache.spark.ml.evaluation.ClusteringEvaluator`: sums of distances to
       the rows of a cluster in closed form.

    Examples
    --------
    >>> from daskmeans import KMeans
    >>> from daskmeans.metrics import evaluate
    >>> X = [[0.0], [1.0], [8.0], [9.5]]
    >>> found = evaluate(KMeans(2, random_state=0).fit(X), X, ["inertia", "davies_bouldin"])
    >>> found["inertia"], round(found["davies_bouldin"], 3)
    (1.625, 0.152)
    """
    several = isinstance(models, (Mapping, Sequence))
    listed = list(
        models.values() if isinstance(models, Mapping) else models if several else [models]
    )
    check_names(metrics, list(METRICS), sample_weight is not None)
    check_sample_size(sample_size)
    if not listed:
        raise ValueError("models is empty: pass at least one fitted model.")
    for model in listed:
        check_is_fitted(model, "cluster_centers_")
    by = sorted({metric_of(model) for model in listed})
    if len(by) > 1:
        raise ValueError(
            "models have metric='cosine' and metric='euclidean': rows are divided by their lengths "
            "for one of them only. Evaluate each kind by itself."
        )
    centers = [center_set_of(model) for model in listed]
    with runner_over(listed[0], X, sample_weight, reset=False, persist="auto") as run:
        for each in centers:
            if each.centers.shape[1] != run.source.n_features:
                raise ValueError(
                    f"models have centers of {run.source.n_features} and of "
                    f"{each.centers.shape[1]} features: all have to be fitted to the same columns."
                )
        seed = new_seed(check_random_state(random_state))
        found = metrics_of_centers(run, centers, metrics, sample_size, seed)
    if not several:
        return {name: values[0] for name, values in found.items()}
    return {
        name: values if METRICS[name].better == "none" else np.array(values, dtype=np.float64)
        for name, values in found.items()
    }


def metrics_of_centers(
    run: Run, centers: Sequence[CenterSet], metrics: Sequence[str], sample_size: int, seed: int
) -> dict[str, list[Any]]:
    """Return each metric for each set of centers."""
    clusterings = [Clustering(len(each.centers), each) for each in centers]
    surveyed = sampled = None
    if needs_survey(metrics):
        surveyed = survey(run, 1, seed, seeding=False)
    if surveyed is not None and SILHOUETTE in metrics:
        rows = surveyed.sample[drawn(surveyed, sample_size, seed)].astype(np.float64)
        sampled = rows, label_sample(clusterings, rows)
    found = values_of(run, clusterings, metrics, surveyed, sampled)
    if "inertia" in found:
        found["inertia"] = [inertia_by(run.source.metric, each) for each in found["inertia"]]
    return found
