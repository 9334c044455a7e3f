"""Rows divided by their lengths."""

from __future__ import annotations

import numpy as np
import pytest

from daskmeans.kernels.directions import divide_by_lengths
from tests import reference

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def divided(rows, dtype=np.float64):
    found = np.full(rows.shape, 7.0, dtype)
    assert divide_by_lengths(rows, found) == -1
    return found


@each_dtype
@pytest.mark.parametrize("n_rows", range(1, 14))
def test_each_row_by_its_own_length(dtype, n_rows):
    """Rows go four at a time, and their number need not be a multiple."""
    rows = np.random.default_rng(n_rows).normal(size=(n_rows, 5)).astype(dtype)
    np.testing.assert_allclose(divided(rows), reference.directions(rows), rtol=4e-16)


def test_directions_in_float32_are_rounded_once():
    rows = np.random.default_rng(0).normal(size=(13, 5))
    np.testing.assert_array_equal(divided(rows, np.float32), divided(rows).astype(np.float32))


def test_same_numbers_have_the_same_direction_in_any_dtype():
    rows = np.random.default_rng(0).normal(size=(13, 5)).astype(np.float32)
    np.testing.assert_array_equal(divided(rows), divided(rows.astype(np.float64)))


@pytest.mark.parametrize("scale", [1e300, 1e-300, 2.0**-1070])
def test_squares_may_overflow_and_vanish(scale):
    rows = scale * np.array([[3.0, 0.0, -4.0], [8.0, 8.0, 0.0]])
    wanted = [[0.6, 0.0, -0.8], [np.sqrt(0.5), np.sqrt(0.5), 0.0]]
    np.testing.assert_allclose(divided(rows), wanted, rtol=4e-16)


@each_dtype
def test_first_row_of_zeros_is_told(dtype):
    rows = np.ones((13, 5), dtype)
    rows[[7, 11]] = 0
    assert divide_by_lengths(rows, np.empty((13, 5))) == 7


def test_rows_that_are_not_finite_stay():
    rows = np.array([[3.0, 4.0], [np.nan, 1.0], [np.inf, 2.0], [0.0, -np.inf]])
    np.testing.assert_array_equal(divided(rows), [[0.6, 0.8], *rows[1:]])
