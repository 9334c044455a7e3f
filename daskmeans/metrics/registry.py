"""The metrics by name: the sums that each needs, how it follows from them, which way is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from sklearn.metrics import silhouette_score

from daskmeans.algorithms.cluster_scores import calinski_harabasz, davies_bouldin, sizes, spreads
from daskmeans.algorithms.judging import Judged, Wanted, judge
from daskmeans.algorithms.labelled import Clustering
from daskmeans.algorithms.survey import SAMPLE_MIN_ROWS, Run, Surveyed
from daskmeans.blocks.block import Block
from daskmeans.kernels.csr import AnyRows, CSRRows
from daskmeans.typing import Array, Labels

SILHOUETTE = "silhouette"


@dataclass(frozen=True)
class ClusterMetric:
    """A metric of one clustering.

    Attributes
    ----------
    better : {"lower", "higher", "elbow", "none"}
        "none" is that of metrics with a value for each cluster.
    wanted : Wanted
        Sums for clusterings by a model.
    value : function (Judged) -> float or ndarray
    of_labels : Wanted
        Sums for clusterings by labels, which have no centers but their means.
    """

    better: Literal["lower", "higher", "elbow", "none"]
    wanted: Wanted
    value: Callable[[Judged], Any]
    of_labels: Wanted


def _inertia(judged: Judged) -> float:
    to_centers = judged.summed.inertia
    return float(judged.squares.sum()) if np.isnan(to_centers) else to_centers


def _simplified(judged: Judged) -> float:
    to_centers = judged.summed.to_centers
    return judged.simplified if np.isnan(to_centers) else to_centers


_CENTERS, _SPREADS = Wanted(to_centers=True), Wanted(spreads=True)
_SQUARED, _COSINE = Wanted(squared=True), Wanted(cosine=True)

METRICS = {
    "inertia": ClusterMetric("elbow", _CENTERS, _inertia, _SPREADS),
    "simplified_silhouette": ClusterMetric(
        "higher", _CENTERS, _simplified, Wanted(simplified=True)
    ),
    SILHOUETTE: ClusterMetric("higher", Wanted(), lambda _: np.nan, Wanted()),
    "squared_euclidean_silhouette": ClusterMetric(
        "higher", _SQUARED, lambda j: j.squared, _SQUARED
    ),
    "cosine_silhouette": ClusterMetric("higher", _COSINE, lambda j: j.cosine, _COSINE),
    "davies_bouldin": ClusterMetric("lower", _SPREADS, davies_bouldin, _SPREADS),
    "calinski_harabasz": ClusterMetric("higher", _SPREADS, calinski_harabasz, _SPREADS),
    "sizes": ClusterMetric("none", Wanted(), sizes, Wanted()),
    "spreads": ClusterMetric("none", _SPREADS, spreads, _SPREADS),
}

_PEOPLE = {"davies_bouldin": "Davies-Bouldin", "calinski_harabasz": "Calinski-Harabasz"}


def spelled(name: str) -> str:
    """Return a metric's name as prose has it.

    Examples
    --------
    >>> spelled("davies_bouldin"), spelled("simplified_silhouette")
    ('Davies-Bouldin', 'simplified silhouette')
    """
    return _PEOPLE.get(name, name.replace("_", " "))


def check_names(names: Sequence[str], known: Sequence[str], weighted: bool) -> None:
    """Raise for names of metrics that are not known, and for weights that one does not take.

    Raises
    ------
    TypeError, ValueError
    """
    if isinstance(names, str):
        raise TypeError(f"metrics={names!r} has to be a list of names: pass [{names!r}].")
    for name in names:
        if name not in known:
            raise ValueError(f"metrics holds {name!r}; known are {', '.join(map(repr, known))}.")
    if weighted and SILHOUETTE in names:
        raise ValueError(
            "metrics holds 'silhouette', which takes no sample_weight: leave one of them out, or "
            "use 'simplified_silhouette' or 'squared_euclidean_silhouette'."
        )


def check_sample_size(sample_size: int) -> None:
    """Raise for a sample that is too small, or more than a survey draws.

    Raises
    ------
    ValueError
    """
    if not 2 <= sample_size <= SAMPLE_MIN_ROWS:
        raise ValueError(
            f"sample_size={sample_size} should be from 2 to {SAMPLE_MIN_ROWS:,}: the silhouette "
            "compares each row of the sample with each other."
        )


def needs_survey(names: Sequence[str]) -> bool:
    """Tell whether metrics of models take more than their own centers."""
    means = any(METRICS[name].wanted not in (_CENTERS, Wanted()) for name in names)
    return means or SILHOUETTE in names


def values_of(
    run: Run,
    clusterings: Sequence[Clustering],
    names: Sequence[str],
    surveyed: Surveyed | None,
    sampled: tuple[AnyRows, list[Labels]] | None,
) -> dict[str, list[Any]]:
    """Return each metric of each clustering, from at most two passes for all.

    Parameters
    ----------
    run : function (Pass) -> Partial
    clusterings : sequence of Clustering
        All by models, or all by labels.
    names : sequence of str
    surveyed : Surveyed or None
        Of the rows without labels; None where only centers are asked about.
    sampled : (rows, labels by each clustering) or None
        What "silhouette" is of.
    """
    by_models = clusterings[0].centers is not None
    wanted = reduce(
        _both,
        (METRICS[name].wanted if by_models else METRICS[name].of_labels for name in names),
        Wanted(),
    )
    found: dict[str, list[Any]] = {}
    if set(names) - {SILHOUETTE}:
        judged = judge(run, clusterings, wanted, surveyed)
        found = {name: [METRICS[name].value(each) for each in judged] for name in names}
    if SILHOUETTE in names and sampled is not None:
        rows, labellings = sampled
        metric = run.source.metric
        found[SILHOUETTE] = [_silhouette(rows, labels, metric) for labels in labellings]
    return {name: found[name] for name in names}


def _both(one: Wanted, other: Wanted) -> Wanted:
    return Wanted(*(a or b for a, b in zip(vars(one).values(), vars(other).values(), strict=True)))


def _silhouette(rows: AnyRows, labels: Labels, metric: str) -> float:
    if not 1 < len(np.unique(labels)) < len(rows):
        return np.nan
    given = rows.to_scipy() if isinstance(rows, CSRRows) else rows
    return float(silhouette_score(given, labels, metric=metric))


def drawn(surveyed: Surveyed, sample_size: int, seed: int) -> Array:
    """Return the places of the rows that "silhouette" is of, in a survey's sample."""
    n = len(surveyed.sample)
    if sample_size >= n:
        return np.arange(n)
    return np.sort(np.random.RandomState(seed % 2**32).choice(n, sample_size, replace=False))


def label_sample(clusterings: Sequence[Clustering], rows: AnyRows) -> list[Labels]:
    """Return the labels of sampled rows by each model."""
    block = Block(0, None, rows, None)
    return [each.centers.label(block) for each in clusterings if each.centers is not None]
