"""Moments of columns are those of the numbers themselves, with nothing rounded on the way."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from daskmeans.kernels.exact_sum import DIGITS, exact
from daskmeans.kernels.moments import LINEAR, N_SUMS, SQUARE, WEIGHT, add_moments

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def empty(d):
    shape = (d, N_SUMS, DIGITS)
    return np.zeros(d, np.int64), np.full(d, np.inf), np.full(d, -np.inf), np.zeros(shape, np.int64)


def signed(sums, first):
    return exact(sums[first]) - exact(sums[first + 1])


@each_dtype
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_exact(dtype, weighted):
    generator = np.random.default_rng(5)
    scale = 10.0 ** generator.integers(-12, 12, 5)
    rows = (scale * generator.normal(size=(13, 5))).astype(dtype)
    rows[generator.uniform(size=rows.shape) < 0.2] = np.nan
    weights = generator.uniform(size=13) if weighted else np.ones(1)
    counts, low, high, sums = empty(5)
    assert add_moments(rows, weights, counts, low, high, sums) == -1
    for j in range(5):
        there = ~np.isnan(rows[:, j])
        values = [Fraction(float(x)) for x in rows[there, j]]
        each = [Fraction(float(w)) for w in np.broadcast_to(weights, 13)[there]]
        assert counts[j] == len(values)
        assert (low[j], high[j]) == (float(min(values)), float(max(values)))
        if weighted:
            assert exact(sums[j, WEIGHT]) == sum(each)
        assert signed(sums[j], LINEAR) == sum(w * x for w, x in zip(each, values, strict=True))
        assert signed(sums[j], SQUARE) == sum(w * x * x for w, x in zip(each, values, strict=True))


def test_rows_of_weight_zero_do_not_count():
    counts, low, high, sums = empty(1)
    rows = np.array([[1.0], [np.inf], [3.0]])
    assert add_moments(rows, np.array([1.0, 0.0, 2.0]), counts, low, high, sums) == -1
    assert (counts[0], low[0], high[0]) == (2, 1.0, 3.0)
    assert signed(sums[0], LINEAR) == 7


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e200])
def test_first_value_that_is_too_large(value):
    rows = np.ones((7, 2))
    rows[5:, 1] = value
    assert add_moments(rows, np.ones(1), *empty(2)) == 5
