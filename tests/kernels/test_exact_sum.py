"""The exact sum equals math.fsum, in any order and any grouping."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.kernels.exact_sum import DIGITS, add_terms, add_terms_of_each, carried, rounded

TINY = 2.0**-1074

# fsum refuses sums beyond float64, so a few terms stay below half of its largest number.
terms = st.lists(
    st.floats(0, 1e300)
    | st.floats(0, 1)
    | st.sampled_from([0.0, TINY, 3 * TINY, 2.0**-1022, 1.0, 1e300]),
    max_size=40,
)


def digits_of(values):
    digits = np.zeros(DIGITS, np.int64)
    add_terms(digits, np.array(values, dtype=np.float64))
    return digits


@given(terms)
def test_sum_is_that_of_fsum(values):
    assert rounded(digits_of(values)) == math.fsum(values)


@given(terms, st.randoms(use_true_random=False))
def test_order_and_grouping_do_not_matter(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    cut = random.randint(0, len(values))
    parts = [digits_of(shuffled[:cut]), digits_of(shuffled[cut:])]
    merged = carried(carried(parts[0]) + carried(parts[1]))
    np.testing.assert_array_equal(merged, carried(digits_of(values)))


@given(terms)
def test_carrying_changes_no_sum(values):
    digits = digits_of(values)
    tidy = carried(digits)
    assert rounded(tidy) == rounded(digits)
    assert ((tidy >= 0) & (tidy < 2**32)).all()
    np.testing.assert_array_equal(carried(tidy), tidy)


@pytest.mark.parametrize("value", [0.0, TINY, 2.0**-1022 - TINY, 2.0**-1022, 1 / 3, 1e300])
def test_single_terms(value):
    assert rounded(digits_of([value])) == value


def test_rounds_once_half_to_even():
    assert rounded(digits_of([2.0**53, 1.0])) == 2.0**53
    assert rounded(digits_of([2.0**53, 1.0, TINY])) == 2.0**53 + 2
    assert rounded(digits_of([2.0**53, 3.0])) == 2.0**53 + 4


@pytest.mark.parametrize("largest", [2.0**-1060, 2.0**-1020, 2.0**-970, 1.0, 3e12, 1e304])
@pytest.mark.parametrize("binades", [1, 50, 53, 104, 107, 2000])
@pytest.mark.parametrize("n", [1, 255, 256, 257, 1000])
def test_terms_of_many_sizes(largest, binades, n):
    """Terms that differ little are summed in another way than those that differ much."""
    generator = np.random.default_rng(n)
    values = largest * generator.uniform(size=n) * 2.0 ** -generator.uniform(0, binades, n)
    values[n // 2] = largest
    assert rounded(digits_of(values)) == math.fsum(values)


def test_sum_beyond_float64_is_infinity():
    largest = float(np.finfo(np.float64).max)
    assert rounded(digits_of([largest, largest])) == np.inf
    assert rounded(digits_of([largest])) == largest


def test_many_equal_terms_are_exact():
    """No digit overflows where all terms meet in the same ones."""
    term = float(np.nextafter(2.0, 0.0))
    n = 1_000_003
    assert rounded(digits_of(np.full(n, term))) == float(n * Fraction(term))


def test_sums_of_each_cluster():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 7, 13).astype(np.int32)
    values = 10.0 ** generator.uniform(-200, 200, 13)
    digits = np.zeros((7, DIGITS), np.int64)
    add_terms_of_each(digits, labels, values)
    for j in range(7):
        assert rounded(digits[j]) == math.fsum(values[labels == j])
