"""How well two labellings agree: scikit-learn's formulas on a table that one pass makes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.metrics.cluster import expected_mutual_information
from sklearn.metrics.cluster import mutual_info_score as _mutual_information

from daskmeans.algorithms.contingency import contingency
from daskmeans.blocks.inputs import ArrayLike, is_lazy
from daskmeans.blocks.labels import label_chunks, with_labels
from daskmeans.blocks.source import RowSource
from daskmeans.errors import RowsError
from daskmeans.passes.runner import Runner
from daskmeans.typing import Array

# Labels in memory are counted so many at a time.
_ROWS_A_BLOCK = 1 << 20


def contingency_matrix(labels_true: ArrayLike, labels_pred: ArrayLike) -> Array:
    """Count the rows that have each pair of labels, in one pass over both.

    Parameters
    ----------
    labels_true, labels_pred : array-likes or dask arrays of shape (n_samples,)
        Integers if lazy, as `KMeans.predict` gives them; in memory anything that sorts, text too.

    Returns
    -------
    ndarray of shape (n_labels_true, n_labels_pred), int64
        In the order of the labels, as `sklearn.metrics.cluster.contingency_matrix` has it.

    Raises
    ------
    ValueError
        If the lengths differ, there are none, or lazy labels are not integers.

    Examples
    --------
    >>> from daskmeans.metrics import contingency_matrix
    >>> contingency_matrix(["a", "a", "b"], [1, 0, 0]).tolist()
    [[1, 1], [1, 0]]
    """
    dense: Array = _table(labels_true, labels_pred).toarray()
    return dense


def adjusted_rand_score(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Return the Rand index adjusted for chance: 1 for the same clusters, about 0 for random ones.

    Parameters
    ----------
    labels_true, labels_pred
        As in `contingency_matrix`.

    Returns
    -------
    float
        From -0.5 to 1, as `sklearn.metrics.adjusted_rand_score`.

    Raises
    ------
    ValueError
        As in `contingency_matrix`.

    Notes
    -----
    Hubert and Arabie, "Comparing partitions", Journal of Classification 2, 1985, equation 5.

    Examples
    --------
    >>> from daskmeans.metrics import adjusted_rand_score
    >>> adjusted_rand_score([0, 0, 1, 1], [1, 1, 0, 0])
    1.0
    """
    table = _table(labels_true, labels_pred)
    # Python's integers: numbers of pairs of 10**10 rows overflow int64.
    n = int(table.sum())
    same = sum(int(count) ** 2 for count in table.data)
    in_true = sum(int(count) ** 2 for count in table.sum(axis=1))
    in_pred = sum(int(count) ** 2 for count in table.sum(axis=0))
    only_true, only_pred = in_true - same, in_pred - same
    neither = n**2 - in_true - in_pred + same
    both = same - n
    if only_true == 0 and only_pred == 0:
        return 1.0
    chance = (both + only_true) * (only_true + neither) + (both + only_pred) * (only_pred + neither)
    return 2 * (both * neither - only_true * only_pred) / chance


def mutual_info_score(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Return the mutual information of two labellings, in nats.

    Parameters
    ----------
    labels_true, labels_pred
        As in `contingency_matrix`.

    Returns
    -------
    float
        0 or more, as `sklearn.metrics.mutual_info_score`.

    Raises
    ------
    ValueError
        As in `contingency_matrix`.

    Examples
    --------
    >>> from daskmeans.metrics import mutual_info_score
    >>> round(mutual_info_score([0, 0, 1, 1], [1, 1, 0, 0]), 6)
    0.693147
    """
    return float(_mutual_information(None, None, contingency=_table(labels_true, labels_pred)))


def normalized_mutual_info_score(
    labels_true: ArrayLike, labels_pred: ArrayLike, *, average_method: str = "arithmetic"
) -> float:
    """Return the mutual information divided by a mean of the two entropies: from 0 to 1.

    Parameters
    ----------
    labels_true, labels_pred
        As in `contingency_matrix`.
    average_method : {"arithmetic", "geometric", "min", "max"}, default="arithmetic"
        The mean of the two entropies.

    Returns
    -------
    float
        As `sklearn.metrics.normalized_mutual_info_score`.

    Raises
    ------
    ValueError
        For another `average_method`; as in `contingency_matrix`.

    Examples
    --------
    >>> from daskmeans.metrics import normalized_mutual_info_score
    >>> round(normalized_mutual_info_score([0, 0, 1, 1], [1, 1, 0, 0]), 6)
    1.0
    """
    _check_average(average_method)
    table = _table(labels_true, labels_pred)
    if _trivial(table):
        return 1.0
    information = float(_mutual_information(None, None, contingency=table))
    if information == 0:
        return 0.0
    return information / _average(_entropies(table), average_method)


def adjusted_mutual_info_score(
    labels_true: ArrayLike, labels_pred: ArrayLike, *, average_method: str = "arithmetic"
) -> float:
    """Return the mutual information adjusted for chance, which random labels have none of.

    Parameters
    ----------
    labels_true, labels_pred, average_method
        As in `normalized_mutual_info_score`.

    Returns
    -------
    float
        At most 1, as `sklearn.metrics.adjusted_mutual_info_score`.

    Raises
    ------
    ValueError
        As in `normalized_mutual_info_score`.

    Notes
    -----
    Vinh, Epps and Bailey, "Information theoretic measures for clusterings comparison", Journal of
    Machine Learning Research 11, 2010.

    Examples
    --------
    >>> from daskmeans.metrics import adjusted_mutual_info_score
    >>> round(adjusted_mutual_info_score([0, 0, 1, 1], [1, 1, 0, 0]), 6)
    1.0
    """
    _check_average(average_method)
    table = _table(labels_true, labels_pred)
    if _trivial(table):
        return 1.0
    if 1 in table.shape:
        return 0.0
    information = float(_mutual_information(None, None, contingency=table))
    expected = float(expected_mutual_information(table, int(table.sum())))
    normalizer = _average(_entropies(table), average_method)
    return _away_from_zero(information - expected) / _away_from_zero(normalizer - expected)


def _away_from_zero(value: float) -> float:
    """Keep the sign of what rounding may have made zero, as scikit-learn does."""
    eps = float(np.finfo(np.float64).eps)
    return min(value, -eps) if value < 0 else max(value, eps)


_AVERAGES: dict[str, Any] = {
    "arithmetic": lambda one, other: (one + other) / 2,
    "geometric": lambda one, other: float(np.sqrt(one * other)),
    "min": min,
    "max": max,
}


def _check_average(average_method: str) -> None:
    if average_method not in _AVERAGES:
        raise ValueError(
            f"average_method={average_method!r} should be one of {', '.join(_AVERAGES)}."
        )


def _average(entropies: tuple[float, float], method: str) -> float:
    return float(_AVERAGES[method](*entropies))


def _trivial(table: csr_array) -> bool:
    return table.shape[0] == table.shape[1] == 1


def _entropies(table: csr_array) -> tuple[float, float]:
    """Return the entropies of both labellings, in nats."""
    total = int(table.sum())
    in_true, in_pred = (table.sum(axis=axis) / total for axis in (1, 0))
    return -float((in_true * np.log(in_true)).sum()), -float((in_pred * np.log(in_pred)).sum())


def _table(labels_true: ArrayLike, labels_pred: ArrayLike) -> csr_array:
    """Return the contingency table of two labellings."""
    both = {"labels_true": labels_true, "labels_pred": labels_pred}
    lazy = next((name for name, labels in both.items() if is_lazy(labels)), None)
    if lazy is not None:
        sizes = label_chunks(both[lazy], lazy)
    else:
        n = len(np.asarray(labels_true))
        sizes = tuple(min(_ROWS_A_BLOCK, n - start) for start in range(0, n, _ROWS_A_BLOCK))
    if not sum(sizes):
        raise RowsError("labels_true is empty: there is nothing to compare.")
    source = RowSource(0, np.dtype(np.float32), sizes, ((),) * len(sizes))
    for name, labels in both.items():
        source = with_labels(source, labels, name)
    return contingency(Runner(source))
