"""Which numbers of clusters `cluster_rows` compares, and which of them it takes."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral

from daskmeans.errors import RowsError
from daskmeans.estimators.sweep import SweepResult, numbers_of_clusters

_MOST_CLUSTERS = 12


def checked_counts(k: str | int, k_range: Iterable[int] | None) -> list[int]:
    """Return the numbers of clusters to compare, ascending.

    Raises
    ------
    TypeError, ValueError
        For others than "auto" or a positive integer; for a range beside an integer.
    """
    if isinstance(k, str) and k == "auto":
        if k_range is None:
            return list(range(2, _MOST_CLUSTERS + 1))
        return numbers_of_clusters(k_range, "k_range")
    if isinstance(k, bool) or not isinstance(k, Integral):
        raise TypeError(f"k={k!r} has to be 'auto' or a number of clusters.")
    if k < 1:
        raise ValueError(f"k={k} should be at least 1.")
    if k_range is not None:
        raise ValueError(f"k_range={k_range!r} is of k='auto', and k={k}: leave one of them out.")
    return [int(k)]


def counts_within(counts: list[int], n_kept: int, n_rows: int, *, asked: bool) -> list[int]:
    """Return the numbers of clusters that so many rows can have.

    Raises
    ------
    RowsError
        If `asked` for more clusters than rows.
    """
    left = f"{n_kept:,} of {n_rows:,} rows are left"
    if counts and counts[-1] > n_kept and asked:
        raise RowsError(f"{counts[-1]} clusters are asked for, and {left}: ask for fewer.")
    return [count for count in counts if count <= n_kept] or [1]


def choice(found: SweepResult, k: str | int) -> tuple[int, str]:
    """Return the number of clusters, and why."""
    if k != "auto":
        return found.n_clusters[0], "as asked for"
    if len(found.models) == 1:
        return found.n_clusters[0], "the only number that was compared"
    if found.elbow is not None:
        return found.elbow, "the elbow of the inertia"
    best = found.best["simplified_silhouette"]
    assert best is not None
    return best, "the highest simplified silhouette: the inertia has no elbow"
