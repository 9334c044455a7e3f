"""Metrics of rows by labels that are given, all of them in the same passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from daskmeans.algorithms.labelled import Clustering
from daskmeans.algorithms.seeding import new_seed
from daskmeans.algorithms.survey import (
    Quantisation,
    SharedSurvey,
    Surveyed,
    block_sizes,
    quantising_scale,
)
from daskmeans.blocks.inputs import ArrayLike, row_source
from daskmeans.blocks.labels import LARGEST_LABEL, too_many_labels, with_labels
from daskmeans.blocks.weights import with_weights
from daskmeans.errors import RowsError
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.rows import check_rows
from daskmeans.kernels.lloyd import sums_width
from daskmeans.metrics.registry import (
    METRICS,
    SILHOUETTE,
    check_names,
    check_sample_size,
    drawn,
    values_of,
)
from daskmeans.passes.runner import Runner
from daskmeans.passes.schedulers import thread_count

# Lazy labels are numbered as they are, and each number between them takes memory for its sums.
_LARGEST_SPAN = 2**20


def metrics_of_labels(
    X: ArrayLike,
    labels: ArrayLike,
    metrics: Sequence[str],
    *,
    sample_weight: ArrayLike | None = None,
    sample_size: int = 2_000,
    random_state: int | np.random.RandomState | None = 0,
) -> dict[str, Any]:
    """Return metrics of rows by their labels; see `evaluate` for the parameters.

    Raises
    ------
    ValueError
        If there is not one label a row; as `evaluate`.
    """
    check_names(metrics, list(METRICS), sample_weight is not None)
    check_sample_size(sample_size)
    run = _open(X, labels, sample_weight)
    seed = new_seed(check_random_state(random_state))
    shared = SharedSurvey.make(run, 1, seed, seeding=False)
    low, high = (int(ends[-1]) for ends in (shared.found.ranges.low, shared.found.ranges.high))
    if max(-low, high) > LARGEST_LABEL:
        raise too_many_labels()
    if high - low >= _LARGEST_SPAN:
        raise RowsError(
            f"labels go from {low:,} to {high:,}, and may span {_LARGEST_SPAN:,} numbers: number "
            "the clusters from 0."
        )
    surveyed = shared.for_clusters(1)
    clustering = Clustering(high - low + 1, None, low)
    sampled = None
    if SILHOUETTE in metrics:
        sample = surveyed.sample[drawn(surveyed, sample_size, seed)].astype(np.float64)
        sampled = sample[:, :-1], [sample[:, -1].astype(np.int32)]
    found = values_of(run, [clustering], metrics, _without_labels(surveyed), sampled)
    return {name: values[0] for name, values in found.items()}


def _open(X: ArrayLike, labels: ArrayLike, sample_weight: ArrayLike | None) -> Runner:
    """Return a runner over checked rows, with their labels as the last column."""
    estimator = KMeans()
    rows = check_rows(estimator, X, reset=True)
    names = getattr(estimator, "feature_names_in_", None)
    source = row_source(rows, n_threads=thread_count(), feature_names=names)
    if source.sizes is None:
        source = source.with_sizes(block_sizes(Runner(source)))
    source = with_labels(source, labels)
    if sample_weight is not None:
        source = with_weights(source, sample_weight)
    return Runner(source, persist="auto")


def _without_labels(surveyed: Surveyed) -> Surveyed:
    """Return a survey of rows with labels as that of the rows alone."""
    d = surveyed.n_features - 1
    shift, reach = surveyed.shift[:d], surveyed.reach[:d]
    padded = np.zeros(sums_width(d))
    padded[:d] = shift
    exponent = surveyed.quantisation.weight_exponent
    return replace(
        surveyed,
        n_features=d,
        shift=shift,
        reach=reach,
        quantisation=Quantisation(padded, quantising_scale(reach, surveyed.n_rows), exponent),
        sample=surveyed.sample[:, :d],
    )
