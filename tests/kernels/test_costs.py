"""Costs are exact sums of distances by the definition, and sizes count rows whatever they weigh."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp

from daskmeans.kernels.costs import add_costs
from daskmeans.kernels.csr import CSRRows
from daskmeans.kernels.distances import sq_distances_to_own
from daskmeans.kernels.exact_sum import DIGITS, rounded
from tests import reference

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def costs(rows, weights, labels, centers):
    """Cost and sizes by the kernel."""
    digits, sizes = np.zeros(DIGITS, np.int64), np.zeros(len(centers), np.int64)
    add_costs(rows, weights, labels, centers, digits, sizes)
    return rounded(digits), sizes


@each_dtype
@pytest.mark.parametrize("n", [0, 1, 7, 8, 13, 255, 257, 997])
def test_every_number_of_rows(dtype, n):
    generator = np.random.default_rng(n)
    rows = generator.normal(size=(n, 5)).astype(dtype)
    centers = generator.normal(size=(7, 5))
    labels = generator.integers(7, size=n).astype(np.int32)
    own = reference.sq_distances(rows, centers)[np.arange(n), labels]
    for weights in (np.ones(1), generator.uniform(0, 3, n)):
        found, sizes = costs(rows, weights, labels, centers)
        assert found == math.fsum(own * weights)
        assert sizes.tolist() == [int((labels == j).sum()) for j in range(7)]


@each_dtype
@pytest.mark.parametrize("d", [1, 2, 3, 4, 6, 13, 768])
def test_every_number_of_features(dtype, d):
    generator = np.random.default_rng(d)
    rows = generator.normal(size=(97, d)).astype(dtype)
    centers = generator.normal(size=(3, d))
    labels = generator.integers(3, size=97).astype(np.int32)
    own = reference.sq_distances(rows, centers)[np.arange(97), labels]
    assert costs(rows, np.ones(1), labels, centers)[0] == math.fsum(own)


def test_parts_are_added():
    generator = np.random.default_rng(0)
    rows, centers = generator.normal(size=(97, 3)), generator.normal(size=(5, 3))
    labels = generator.integers(5, size=97).astype(np.int32)
    digits, sizes = np.zeros(DIGITS, np.int64), np.zeros(5, np.int64)
    for part in (slice(31), slice(31, 97)):
        add_costs(rows[part], np.ones(1), labels[part], centers, digits, sizes)
    whole, all_sizes = costs(rows, np.ones(1), labels, centers)
    assert rounded(digits) == whole
    assert sizes.tolist() == all_sizes.tolist()


@each_dtype
def test_sparse_rows(dtype):
    generator = np.random.default_rng(0)
    rows = CSRRows.of(sp.csr_array(generator.poisson(0.3, (97, 13)).astype(dtype)))
    centers = generator.normal(size=(5, 13))
    labels = generator.integers(5, size=97).astype(np.int32)
    own = sq_distances_to_own(rows, labels, centers)
    for weights in (np.ones(1), generator.uniform(0, 3, 97)):
        found, sizes = costs(rows, weights, labels, centers)
        assert found == math.fsum(own * weights)
        assert sizes.tolist() == np.bincount(labels, minlength=5).tolist()


def test_rows_without_weight_cost_nothing():
    """Where their distance is infinite, and where the weight is a zero with a sign."""
    rows = np.array([[1e200], [1.0], [2.0]])
    centers = np.array([[0.0]])
    labels = np.zeros(3, np.int32)
    for weights in (np.array([0.0, 1.0, 1.0]), np.array([-0.0, 1.0, 1.0])):
        for each in (rows, CSRRows.of(sp.csr_array(rows))):
            with np.errstate(over="ignore"):
                assert costs(each, weights, labels, centers)[0] == 5.0
    assert costs(rows[1:], np.array([-0.0, -0.0]), labels[1:], centers)[0] == 0.0
