"""Column ranges and the first row that is not finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from daskmeans.kernels.ranges import column_ranges
from tests import strategies

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def assert_ranges(rows):
    low, high, bad_row = column_ranges(rows)
    np.testing.assert_array_equal(low, rows.min(axis=0).astype(np.float64), strict=True)
    np.testing.assert_array_equal(high, rows.max(axis=0).astype(np.float64), strict=True)
    assert bad_row == -1


@each_dtype
@pytest.mark.parametrize("d", [1, 2, 3, 5, 7, 31, 32, 33, 63, 64, 65, 97, 768])
@pytest.mark.parametrize("r", [1, 13, 64, 131])
def test_every_shape(dtype, d, r):
    assert_ranges(np.random.default_rng(r).normal(size=(r, d)).astype(dtype))


@given(strategies.rows(dtypes=[np.float32, np.float64]))
def test_any_rows(rows):
    assert_ranges(rows)


@each_dtype
def test_largest_numbers(dtype):
    rows = np.array([[np.finfo(dtype).max, -np.finfo(dtype).max, np.finfo(dtype).tiny]], dtype)
    assert_ranges(np.repeat(rows, 13, axis=0))


@each_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("d", [1, 5, 67])
@pytest.mark.parametrize("row", [0, 63, 130])
def test_first_row_that_is_not_finite(dtype, value, d, row):
    rows = np.random.default_rng(0).normal(size=(131, d)).astype(dtype)
    rows[row, d // 2] = value
    assert column_ranges(rows)[2] == row
    rows[row:, 0] = value
    assert column_ranges(rows)[2] == row
