"""Groups of centers, and ways that are never underestimated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.algorithms.drift import Drift, centers_a_group, neighborly_order
from daskmeans.kernels.vector import GROUP_CENTERS


@given(k=st.integers(1, 300), d=st.integers(1, 9), seed=st.integers(0, 999), equal=st.booleans())
def test_groups_hold_every_center_once(k, d, seed, equal):
    centers = np.random.default_rng(seed).normal(size=(k, d))
    if equal:
        centers[:] = centers[0]
    drift = Drift.start(centers, 1)
    assert sorted(drift.order) == list(range(k))
    assert drift.order.dtype == np.int32
    assert drift.width % GROUP_CENTERS == 0
    assert drift.by_group.shape == (-(-k // drift.width),)
    assert drift.by_label.shape == (k,)


def test_groups_are_of_neighbors():
    generator = np.random.default_rng(0)
    middles = 100 * generator.normal(size=(8, 6))
    which = generator.permutation(np.repeat(np.arange(8), 16))
    order = neighborly_order(middles[which] + generator.normal(size=(128, 6)), 16)
    for g in range(8):
        assert len(set(which[order[16 * g : 16 * (g + 1)]])) == 1


@pytest.mark.parametrize(("k", "d"), [(20, 16), (64, 3), (8, 79)])
def test_little_work_is_not_divided(k, d):
    assert centers_a_group(k, d) >= k


@pytest.mark.parametrize(("k", "d"), [(8, 4), (100, 32), (256, 128), (1000, 64), (5000, 4)])
def test_bounds_of_a_row_take_at_most_half_of_it_or_four_numbers(k, d):
    assert -(-k // centers_a_group(k, d)) <= max(4, d // 2)


def test_ways_add_up_and_are_rounded_upwards():
    generator = np.random.default_rng(0)
    centers = [generator.normal(size=(40, 20))]
    drift = Drift.start(centers[0], 1)
    assert len(drift.by_group) == 3
    own, others, groups = np.zeros(40), np.zeros(40), np.zeros(3)
    for step in range(200):
        new = centers[-1] + generator.normal(size=(40, 20)) * 10.0 ** -(step % 7)
        drift = drift.after(centers[-1], new)
        way = np.sqrt(((new - centers[-1]) ** 2).sum(axis=1))
        own += way
        others += [np.delete(way, j).max() for j in range(40)]
        parts = np.split(drift.order, range(drift.width, 40, drift.width))
        groups += [way[part].max() for part in parts]
        centers.append(new)
    for kept, exact in ((drift.by_label, own + others), (drift.by_group, groups)):
        assert (kept >= exact).all()
        np.testing.assert_allclose(kept, exact, rtol=1e-4)


def test_centers_that_stay_go_no_way():
    centers = np.random.default_rng(0).normal(size=(20, 3))
    start = Drift.start(centers, 1)
    moved = centers.copy()
    moved[3, 0] += 0.5
    drift = start.after(centers, moved)
    again = drift.after(moved, moved)
    np.testing.assert_array_equal(again.by_label, drift.by_label)
    np.testing.assert_array_equal(again.by_group, drift.by_group)
    # The one that moved went its own way alone; for the others it is the fastest.
    np.testing.assert_allclose(drift.by_label, 0.5, rtol=1e-6)


def test_one_center_has_no_others():
    centers = np.zeros((1, 2))
    drift = Drift.start(centers, 1).after(centers, centers + 1)
    np.testing.assert_allclose(drift.by_label, np.sqrt(2), rtol=1e-6)


def test_a_way_beyond_float32_is_infinite():
    centers = np.zeros((3, 2))
    drift = Drift.start(centers, 1).after(centers, centers + [[1e38], [0.0], [0.0]])
    assert drift.by_label[0] == np.inf
    assert drift.by_label.dtype == np.float32
