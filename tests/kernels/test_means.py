"""Means of clusters are what their definition says to the bit, whatever is computed at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.kernels.lloyd import sums_width
from daskmeans.kernels.means import means_of_sums, sq_distances_between


def sum_in_parts(terms):
    """Add up the terms that are not zero, 64 at a time."""
    total = part = 0.0
    for count, term in enumerate(terms, start=1):
        part += term
        if count % 64 == 0:
            total, part = total + part, 0.0
    return total + part


def means_by_definition(sums, shift, inverse, old):
    """Return means, what rows cost to them and squared shifts, feature by feature."""
    k, d = old.shape
    means, squares, sq_shifts = np.empty((k, d)), np.empty(k), np.empty(k)
    for j in range(k):
        weight = sums[j, -1] * inverse[-1] if sums[j, -1] > 0 else 1.0
        totals = sums[j, :d] * inverse[:d]
        offsets = totals / weight
        means[j] = shift[:d] + offsets
        gained = sum_in_parts((offsets * totals)[sums[j, :d] != 0].tolist())
        squares[j] = sums[j, -2] * inverse[-2] - gained
        moves = means[j] - old[j]
        sq_shifts[j] = sum_in_parts((moves[moves != 0] ** 2).tolist())
    return means, squares, sq_shifts


def means_found(sums, shift, inverse, old):
    k = len(old)
    found = np.full(old.shape, np.nan), np.full(k, np.nan), np.full(k, np.nan)
    means_of_sums(sums, shift, inverse, old, *found)
    return found


def cluster_sums(generator, k, d, share, *, shifted):
    """Quantised sums of which a share is not zero, old centers, shift and inverse scale."""
    s = sums_width(d)
    sums = np.zeros((k, s), np.int64)
    some = generator.random((k, d)) < share
    sums[:, :d] = generator.integers(-(2**61), 2**61, (k, d)) * some
    sums[:, -2], sums[:, -1] = 2**60, generator.integers(0, 4, k) << 50
    shift, inverse = np.zeros(s), np.zeros(s)
    if shifted:
        shift[:d] = generator.normal(size=d)
    inverse[:d] = 2.0 ** -generator.integers(40, 60, d)
    inverse[-2:] = 2.0**-50
    was_off = generator.random((k, d)) < share
    old = shift[:d] + generator.normal(size=(k, d)) * was_off
    return sums, shift, inverse, old


@given(
    k=st.integers(1, 5),
    d=st.integers(1, 300),
    share=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    shifted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_means_are_those_of_the_definition(k, d, share, shifted, seed):
    """Any number of features, whole vectors and groups or not; clusters without weight."""
    problem = cluster_sums(np.random.default_rng(seed), k, d, share, shifted=shifted)
    for found, expected in zip(means_found(*problem), means_by_definition(*problem), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_features_that_are_zero_everywhere_change_no_bit():
    """Wherever they stand, so that other features are computed with together."""
    generator = np.random.default_rng(2)
    sums, shift, inverse, old = cluster_sums(generator, 7, 331, 0.6, shifted=False)
    means, squares, sq_shifts = means_found(sums, shift, inverse, old)
    places = np.sort(generator.choice(5 * 331, 331, replace=False))
    wide_sums = np.zeros((7, sums_width(5 * 331)), np.int64)
    wide_sums[:, places], wide_sums[:, -2:] = sums[:, :331], sums[:, -2:]
    wide_inverse, wide_old = np.ones(wide_sums.shape[1]), np.zeros((7, 5 * 331))
    wide_inverse[places], wide_inverse[-2:] = inverse[:331], inverse[-2:]
    wide_old[:, places] = old
    wide_means, wide_squares, wide_sq_shifts = means_found(
        wide_sums, np.zeros(wide_sums.shape[1]), wide_inverse, wide_old
    )
    np.testing.assert_array_equal(wide_means[:, places], means)
    assert np.count_nonzero(wide_means) == np.count_nonzero(means)
    np.testing.assert_array_equal(wide_squares, squares)
    np.testing.assert_array_equal(wide_sq_shifts, sq_shifts)


@pytest.mark.parametrize("d", [7, 64, 331])
def test_squared_shifts_are_squared_distances_to_the_old_centers(d):
    sums, shift, inverse, old = cluster_sums(np.random.default_rng(d), 5, d, 0.5, shifted=True)
    means, _, sq_shifts = means_found(sums, shift, inverse, old)
    np.testing.assert_array_equal(sq_distances_between(means, old), sq_shifts)
    np.testing.assert_allclose(sq_shifts, ((means - old) ** 2).sum(axis=1), rtol=1e-13)


def test_zero_is_not_negative_next_to_a_sum_or_not():
    """A mean of -0.0 would depend on which features are computed with together."""
    sums, inverse = np.zeros((1, sums_width(32)), np.int64), np.ones(sums_width(32))
    sums[0, 3] = sums[0, -1] = 1
    shift = np.full(sums.shape[1], -0.0)
    means, *_ = means_found(sums, shift, inverse, np.full((1, 32), -0.0))
    assert not np.signbit(means).any()
