"""Sums by given labels, and silhouettes by means, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from daskmeans.kernels.labelled_sums import sum_labelled
from daskmeans.kernels.lloyd import CLEAN, OUT_OF_RANGE, sums_width
from daskmeans.kernels.silhouettes import simplified_silhouettes, squared_silhouettes
from tests import reference

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@pytest.fixture
def problem():
    """Rows (13, 5), labels of 7 clusters, weights and centers."""
    generator = np.random.default_rng(3)
    return (
        generator.normal(size=(13, 5)),
        generator.integers(0, 7, 13).astype(np.int32),
        generator.uniform(0.5, 2, 13),
        generator.normal(size=(7, 5)),
    )


@each_dtype
def test_sums_of_quantised_rows(problem, dtype):
    rows, labels, weights, _ = problem
    rows = rows.astype(dtype)
    shift, scale = np.zeros(sums_width(5)), np.zeros(sums_width(5))
    shift[:5], scale[:5], scale[-2:] = 0.25, 2.0**40, 2.0**38
    sums = np.zeros((7, sums_width(5)), np.int64)
    assert sum_labelled(rows, labels, weights, shift, scale, sums) == CLEAN
    assert sums.tolist() == reference.quantised_sums(rows, weights, labels, 7, shift, scale)
    assert sum_labelled(1e9 * rows, labels, weights, shift, scale, sums) == OUT_OF_RANGE


@each_dtype
def test_simplified(problem, dtype):
    rows, labels, _, centers = problem
    rows = rows.astype(dtype)
    found = np.empty(13)
    simplified_silhouettes(rows, labels, np.ascontiguousarray(centers.T), found)
    distances = np.sqrt(reference.sq_distances(rows, centers))
    for i, label in enumerate(labels):
        own, other = distances[i, label], np.delete(distances[i], label).min()
        assert found[i] == (other - own) / max(own, other)


def test_simplified_of_a_row_on_two_centers():
    found = np.empty(1)
    simplified_silhouettes(np.ones((1, 2)), np.zeros(1, np.int32), np.ones((2, 3)), found)
    assert found.tolist() == [0.0]


@each_dtype
@pytest.mark.parametrize("weighted", [False, True])
def test_squared_by_all_pairs(problem, dtype, weighted):
    rows, _, weights, _ = problem
    rows = rows.astype(dtype)
    labels = np.array([0, 0, 1, 2, 1, 2, 2, 0, 1, 2, 2, 1, 3], np.int32)
    weights = weights if weighted else np.ones(13)
    totals = np.bincount(labels, weights)
    members = [labels == j for j in range(4)]
    means = np.array([np.average(rows[m].astype(float), 0, weights[m]) for m in members])
    spread = reference.sq_distances(rows, means)[np.arange(13), labels]
    variances = np.bincount(labels, spread * weights) / totals
    found = np.empty(13)
    given = weights if weighted else np.ones(1)
    transposed = np.ascontiguousarray(means.T)
    squared_silhouettes(rows, labels, given, transposed, variances, totals, found)
    pairs = reference.sq_distances(rows, rows)
    for i, label in enumerate(labels):
        sums = np.bincount(labels, pairs[i] * weights)
        others = np.delete(sums / totals, label).min()
        if label == 3:
            assert found[i] == 0
        else:
            own = sums[label] / (totals[label] - weights[i])
            assert found[i] == pytest.approx((others - own) / max(own, others), rel=1e-9)
