"""Distances in float64, straight from the differences."""

from __future__ import annotations

import numpy as np
import pytest

from daskmeans.kernels.distances import distances_to_centers, sq_distances_to_own
from tests import reference

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@each_dtype
@pytest.mark.parametrize("d", [1, 2, 3, 5, 13, 768])
@pytest.mark.parametrize("k", [1, 7, 31])
def test_distances_to_all_centers(dtype, d, k):
    generator = np.random.default_rng(d)
    rows = (1e4 + generator.normal(size=(13, d))).astype(dtype)
    centers = 1e4 + generator.normal(size=(k, d))
    distances = np.empty((13, k), dtype)
    assert distances_to_centers(rows, np.ascontiguousarray(centers.T), distances) == -1
    expected = np.sqrt(reference.sq_distances(rows, centers)).astype(dtype)
    np.testing.assert_array_equal(distances, expected)


@each_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_first_row_that_is_not_finite(dtype, value):
    rows = np.ones((13, 5), dtype)
    rows[[7, 11], 3] = value
    assert distances_to_centers(rows, np.ones((5, 2)), np.empty((13, 2))) == 7


@each_dtype
@pytest.mark.parametrize("d", [*range(1, 14), 768])
def test_squared_distances_to_the_own_center(dtype, d):
    generator = np.random.default_rng(d)
    rows = generator.normal(size=(97, d)).astype(dtype)
    centers = generator.normal(size=(7, d))
    labels = generator.integers(7, size=97).astype(np.int32)
    found = sq_distances_to_own(rows, labels, centers)
    expected = reference.sq_distances(rows, centers)[np.arange(97), labels]
    np.testing.assert_array_equal(found, expected)


@each_dtype
def test_row_on_its_center_is_at_distance_zero(dtype):
    rows = np.random.default_rng(0).normal(size=(13, 7)).astype(dtype)
    labels = np.arange(13, dtype=np.int32)
    assert (sq_distances_to_own(rows, labels, rows.astype(np.float64)) == 0).all()
