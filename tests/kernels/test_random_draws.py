"""Draws of rows: Philox as published, logarithms, and samples keyed by row number."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from daskmeans.kernels.random_draws import (
    exponential_keys,
    minus_log_uniform,
    philox,
    uniform_keys,
)
from tests import reference

words = st.integers(0, 2**64 - 1)


@numba.njit
def minus_logs(bits, out):
    for i in range(bits.size):
        out[i] = minus_log_uniform(bits[i])


def draw(seed, purpose, row):
    return int(philox(np.uint64(seed), np.uint64(purpose), np.uint64(row)))


def uniform(seed, purpose, first_row, n):
    keys = np.empty(n, np.uint64)
    uniform_keys(np.uint64(seed), np.uint64(purpose), np.uint64(first_row), keys)
    return keys


def exponential(seed, purpose, first_row, rates):
    keys = np.empty(len(rates))
    exponential_keys(
        np.uint64(seed), np.uint64(purpose), np.uint64(first_row), np.asarray(rates, float), keys
    )
    return keys


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, key, expected):
    """Known-answer vectors of Random123, philox4x32 with 10 rounds."""
    assert reference.philox4x32(counter, key) == expected
    low, high = counter[0] | counter[1] << 32, counter[2] | counter[3] << 32
    assert draw(key[0] | key[1] << 32, high, low) == expected[1] << 32 | expected[0]


@given(words, words, words)
def test_philox_of_any_counter(seed, purpose, row):
    split = lambda word: [word & 0xFFFFFFFF, word >> 32]  # noqa: E731
    words = reference.philox4x32(split(row) + split(purpose), split(seed))
    assert draw(seed, purpose, row) == words[1] << 32 | words[0]


@given(words)
def test_minus_logarithm(bits):
    out = np.empty(1)
    minus_logs(np.array([bits], np.uint64), out)
    u = ((bits >> 12) * 2 + 1) * 2.0**-53
    # A dozen roundings of numbers that do not cancel.
    np.testing.assert_allclose(out[0], -math.log(u), rtol=1e-15)
    assert out[0] > 0


@pytest.mark.parametrize("bits", [0, 1, 2**12, 2**63, 2**64 - 2**12, 2**64 - 1])
def test_minus_logarithm_at_the_ends(bits):
    out = np.empty(1)
    minus_logs(np.array([bits], np.uint64), out)
    u = ((bits >> 12) * 2 + 1) * 2.0**-53
    np.testing.assert_allclose(out[0], -math.log(u), rtol=1e-15)
    assert 0 < out[0] < 40


def test_keys_belong_to_rows():
    whole = uniform(5, 3, 0, 97)
    assert whole.tolist() == [draw(5, 3, row) for row in range(97)]
    np.testing.assert_array_equal(whole[31:53], uniform(5, 3, 31, 22))
    rates = np.linspace(0.5, 2, 97)
    np.testing.assert_array_equal(
        exponential(5, 3, 0, rates)[31:53], exponential(5, 3, 31, rates[31:53])
    )


def test_rows_beyond_32_bits_have_draws_of_their_own():
    assert draw(5, 3, 2**40 + 1) != draw(5, 3, 1)
    assert draw(5, 2**40, 1) != draw(5, 0, 1)
    assert draw(2**40, 3, 1) != draw(0, 3, 1)


def test_purposes_and_seeds_are_streams_of_their_own():
    keys = {
        draw(seed, purpose, row) for seed in range(7) for purpose in range(7) for row in range(7)
    }
    assert len(keys) == 7**3


def test_clocks_are_exponential():
    """Kolmogorov and Smirnov's test; the draws are fixed, so it passes or fails for good."""
    keys = exponential(1, 2, 0, np.full(20_000, 2.5))
    assert stats.kstest(keys * 2.5, "expon").pvalue > 0.01
    assert stats.kstest(uniform(1, 2, 0, 20_000) / 2.0**64, "uniform").pvalue > 0.01


def test_rate_zero_never_rings():
    keys = exponential(1, 2, 0, [0.0, 1.0, 0.0, 1e-300])
    assert np.isinf(keys).tolist() == [True, False, True, False]
    assert (keys > 0).all()


def test_first_clock_to_ring_is_drawn_by_its_rate():
    rates = np.tile([1.0, 2.0, 5.0], (4000, 1))
    keys = exponential(1, 2, 0, rates.ravel()).reshape(-1, 3)
    counts = np.bincount(keys.argmin(axis=1), minlength=3)
    assert stats.chisquare(counts, 4000 * rates[0] / 8).pvalue > 0.01
