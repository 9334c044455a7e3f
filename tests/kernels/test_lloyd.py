"""Cluster sums are sums of Python integers, and rows out of range are told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.kernels.assign import pack_centers
from daskmeans.kernels.lloyd import (
    CLEAN,
    NOT_FINITE,
    OUT_OF_RANGE,
    lloyd_block,
    sum_block,
    sums_width,
)
from daskmeans.kernels.vector import strip_rows
from tests import reference, strategies

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def scale_for(rows, shift, max_weight, bits=40):
    """Powers of two that keep quantised rows below 2**bits; as the survey makes them."""
    d = rows.shape[1]
    largest = np.zeros(sums_width(d))
    reach = np.abs(rows.astype(np.float64) - shift).max(axis=0, initial=0.0)
    largest[:d], largest[-2] = reach * max_weight, (reach**2).sum() * max_weight
    largest[-1] = max_weight
    scale = np.exp2(bits - np.frexp(largest)[1].astype(float))
    scale[d:-2] = 0.0
    return scale


def step(rows, weights, centers, shift, scale):
    """Run the kernel once: status, row, sums."""
    d = rows.shape[1]
    wide_shift = np.zeros(sums_width(d))
    wide_shift[:d] = shift
    sums = np.zeros((len(centers), sums_width(d)), np.int64)
    packed = pack_centers(centers, shift, rows.dtype)
    labels = np.empty(len(rows), np.int32)
    status, row, *_ = lloyd_block(rows, weights, packed, wide_shift, scale, sums, labels)
    return status, row, sums


def assert_sums_by_definition(rows, weights, centers):
    shift = centers.mean(axis=0).astype(np.float32).astype(np.float64)
    scale = scale_for(rows, shift, weights.max())
    status, row, sums = step(rows, weights, centers, shift, scale)
    assert (status, row) == (CLEAN, -1)
    found = reference.labels(rows, centers)
    expected = reference.quantised_sums(rows, weights, found, len(centers), shift, scale)
    assert sums.tolist() == expected


def test_hand_computed_case():
    rows = np.array([[1.0], [2.0], [10.0]])
    shift, scale = np.zeros(1), np.zeros(sums_width(1))
    scale[[0, -2, -1]] = 4.0, 2.0, 8.0
    _, _, sums = step(rows, np.array([1.0, 0.5, 3.0]), np.array([[0.0], [9.0]]), shift, scale)
    # Features, squares and weights: 1 + 0.5 * 2, 1 + 0.5 * 4, 1.5; then 30, 300, 3.
    assert sums[:, 0].tolist() == [2 * 4, 30 * 4]
    assert sums[:, -2].tolist() == [3 * 2, 300 * 2]
    assert sums[:, -1].tolist() == [1.5 * 8, 3 * 8]


@each_dtype
@pytest.mark.parametrize("d", [*range(1, 41), 768])
def test_every_number_of_features(dtype, d):
    generator = np.random.default_rng(d)
    rows = generator.normal(size=(53, d)).astype(dtype)
    weights = generator.uniform(0, 3, 53)
    assert_sums_by_definition(rows, weights, rows[:7].astype(np.float64))


@each_dtype
@pytest.mark.parametrize("k", [1, 2, 3, 7, 31, 100])
def test_every_number_of_centers_with_one_weight(dtype, k):
    generator = np.random.default_rng(k)
    rows = generator.normal(size=(131, 5)).astype(dtype)
    assert_sums_by_definition(rows, np.ones(1), generator.normal(size=(k, 5)))


@each_dtype
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5])
def test_every_number_of_rows_around_a_strip(dtype, d):
    rows = np.random.default_rng(d).normal(size=(3 * strip_rows(dtype), d)).astype(dtype)
    strip = strip_rows(dtype)
    for r in (1, 13, strip - 1, strip, strip + 1, 2 * strip + 13):
        assert_sums_by_definition(rows[:r], np.ones(1), rows[:3].astype(np.float64))


@each_dtype
@pytest.mark.parametrize("d", [1, 3, 4, 5, 16])
@pytest.mark.parametrize("moved", [0.0, 0.01, 1.0])
def test_sums_of_rows_that_were_counted_follow_their_labels(dtype, d, moved):
    """No row changes its label, or some do in a strip, or most."""
    generator = np.random.default_rng(d)
    rows = generator.normal(size=(1009, d)).astype(dtype)
    weights = generator.uniform(0, 3, 1009)
    before = generator.normal(size=(7, d))
    centers = before + moved * generator.normal(size=(7, d))
    shift = np.zeros(d)
    scale = scale_for(rows, shift, weights.max())
    _, _, sums = step(rows, weights, before, shift, scale)
    labels = reference.labels(rows, before)
    expected_changes = int((labels != reference.labels(rows, centers)).sum())
    status, _, n_changed, _ = lloyd_block(
        rows,
        weights,
        pack_centers(centers, shift, rows.dtype),
        np.zeros(sums_width(d)),
        scale,
        sums,
        labels,
        counted=True,
    )
    assert (status, n_changed) == (CLEAN, expected_changes)
    np.testing.assert_array_equal(labels, reference.labels(rows, centers))
    assert sums.tolist() == step(rows, weights, centers, shift, scale)[2].tolist()


@given(rows=strategies.rows(dtypes=[np.float32, np.float64]), data=st.data())
def test_any_rows(rows, data):
    weights = data.draw(strategies.weights_for(len(rows)))
    k = data.draw(st.integers(1, min(7, len(rows))))
    centers = rows[:k].astype(np.float64)
    assert_sums_by_definition(rows, np.ones(1) if weights is None else weights, centers)


@given(rows=strategies.rows(dtypes=[np.float32, np.float64]), data=st.data())
def test_sums_of_parts_add_up_in_any_order(rows, data):
    centers = rows[:1].astype(np.float64) + np.arange(3)[:, None]
    shift = np.zeros(rows.shape[1])
    scale = scale_for(rows, shift, 1.0)
    _, _, whole = step(rows, np.ones(1), centers, shift, scale)
    order = data.draw(st.permutations(range(len(rows))))
    cut = data.draw(st.integers(0, len(rows)))
    parts = [
        step(rows[part], np.ones(1), centers, shift, scale)[2]
        for part in (order[:cut], order[cut:])
    ]
    np.testing.assert_array_equal(parts[0] + parts[1], whole)


@each_dtype
def test_rows_out_of_range_are_told(dtype):
    rows = np.random.default_rng(0).uniform(-1, 1, (97, 5)).astype(dtype)
    shift = np.zeros(5)
    scale = scale_for(rows, shift, 1.0, bits=50)
    centers = rows[:3].astype(np.float64)
    assert step(rows, np.ones(1), centers, shift, scale)[0] == CLEAN
    for i, f in ((0, 0), (13, 3), (96, 4)):
        for value in (10, -10, 1e30):
            changed = rows.copy()
            changed[i, f] = value
            assert step(changed, np.ones(1), centers, shift, scale)[0] == OUT_OF_RANGE
    heavy = np.ones(97)
    heavy[50] = 8.0
    assert step(rows, heavy, centers, shift, scale)[0] == OUT_OF_RANGE


@each_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_first_row_that_is_not_finite_is_reported(dtype, value):
    rows = np.random.default_rng(0).normal(size=(97, 5)).astype(dtype)
    shift, scale = np.zeros(5), scale_for(rows, np.zeros(5), 1.0)
    rows[[59, 83], 2] = value
    centers = rows[:7].astype(np.float64)
    assert step(rows, np.ones(1), centers, shift, scale)[:2] == (NOT_FINITE, 59)


@each_dtype
@pytest.mark.parametrize("d", [1, 5, 6, 7, 8, 13])
def test_sums_of_all_rows(dtype, d):
    generator = np.random.default_rng(d)
    rows = generator.normal(size=(97, d)).astype(dtype)
    weights = generator.uniform(0, 3, 97)
    shift, scale = np.zeros(sums_width(d)), scale_for(rows, np.zeros(d), 3.0)
    sums = np.zeros((1, sums_width(d)), np.int64)
    assert sum_block(rows, weights, shift, scale, sums) == CLEAN
    expected = reference.quantised_sums(rows, weights, np.zeros(97, int), 1, shift, scale)
    assert sums.tolist() == expected
    assert sum_block(100 * rows, weights, shift, 2.0**12 * scale, sums) == OUT_OF_RANGE
