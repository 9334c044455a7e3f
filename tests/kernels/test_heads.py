"""Heads rule out distances and change nothing: labels and sums are those of computing all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.algorithms.drift import Drift
from daskmeans.algorithms.heads import PrincipalAxes
from daskmeans.blocks.block import Block
from daskmeans.kernels.heads import Heads, lloyd_block_by_heads
from daskmeans.kernels.lloyd import CLEAN, NOT_FINITE, OUT_OF_RANGE, Bounds
from tests import reference, strategies
from tests.kernels.test_bounds import DTYPES, Walk, each_dtype, means, moved


def orthonormal(d, p, seed=0):
    """Axes (d, p) at random."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, p)))
    return basis.astype(np.float32)


def principal(rows, p):
    rows = rows.astype(np.float64)
    _, _, axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return axes[:p].T.astype(np.float32)


class HeadWalk(Walk):
    """Centers on a walk, and rows that follow them with margins and heads."""

    def __init__(self, rows, centers, narrow, weights=None):
        super().__init__(rows, centers, weights, groups=False)
        self.drift = Drift.start(centers, 1, grouped=False)
        self.lower = np.empty((1, 0), np.float32)
        self.axes = PrincipalAxes(narrow, self.shift)
        self.heads = self.axes.heads_of(Block(0, None, rows, None))

    def step(self, *, looks=True):
        center_heads = self.axes.heads_of_centers(self.centers)
        counted = self.n_steps > 0
        status, self.bad_row, self.n_changed, n_distances = lloyd_block_by_heads(
            self.rows,
            self.weights,
            self.packed(self.drift),
            self.wide_shift,
            self.scale,
            self.sums,
            self.labels,
            bounds=Bounds(self.margin, self.lower, self.drift.by_label, self.drift.by_group),
            heads=Heads(self.heads, center_heads, self.axes.error),
            counted=counted,
            bounded=looks and counted,
        )
        self.status = status
        self.n_steps += 1
        return n_distances / (len(self.rows) * len(self.centers))

    def assert_as_if_all_were_computed(self):
        assert self.status == CLEAN
        super().assert_as_if_all_were_computed()


def low_rank(n, d, rank, noise, generator):
    rows = generator.normal(size=(n, rank)) @ generator.normal(size=(rank, d))
    return 3 + rows + noise * generator.normal(size=(n, d))


@each_dtype
@pytest.mark.parametrize(("d", "k", "p"), [(257, 40, 16), (300, 17, 32), (768, 100, 32)])
def test_a_whole_fit_on_rows_of_low_rank(dtype, d, k, p):
    generator = np.random.default_rng(d)
    rows = low_rank(1003, d, 8, 0.3, generator).astype(dtype)
    weights = generator.uniform(0, 2, 1003)
    walk = HeadWalk(rows, rows[:k].astype(np.float64), principal(rows, p), weights)
    shares = []
    for _ in range(12):
        shares.append(walk.step())
        walk.assert_as_if_all_were_computed()
        walk.move(means(walk))
    # Heads that rule nothing out would pass the rest of this test.
    assert max(shares) < 0.5
    assert min(shares) < 0.15


@each_dtype
@pytest.mark.parametrize("looks", [True, False])
def test_axes_that_hold_little_are_given_up(dtype, looks):
    generator = np.random.default_rng(0)
    rows = generator.random((701, 256)).astype(dtype)
    walk = HeadWalk(rows, rows[:40].astype(np.float64), orthonormal(256, 16))
    for _ in range(4):
        assert walk.step(looks=looks) > 0.9
        walk.assert_as_if_all_were_computed()
        walk.move(means(walk))


@given(rows=strategies.rows(min_rows=4, max_rows=200, dtypes=DTYPES), data=st.data())
def test_any_rows_and_any_walk(rows, data):
    """Grids with ties and duplicates, offsets, weights, and centers that jump, stay or meet."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    # Features that repeat others: as many ties, and enough features for a head.
    rows = np.tile(rows, (1, -(-data.draw(st.integers(16, 70)) // rows.shape[1])))
    d = rows.shape[1]
    narrow = principal(np.vstack([rows, np.eye(d)]), 16)
    if data.draw(st.booleans()):
        narrow = orthonormal(d, 16)
    k = data.draw(st.integers(2, min(40, len(rows))))
    weights = data.draw(strategies.weights_for(len(rows)))
    walk = HeadWalk(rows, rows[:k].astype(np.float64), narrow, weights)
    for _ in range(data.draw(st.integers(2, 8))):
        walk.step(looks=data.draw(st.booleans()))
        walk.assert_as_if_all_were_computed()
        move = data.draw(st.sampled_from(["mean", "jump", "stay", "meet", "drift", "half", "far"]))
        walk.move(moved(walk, move, generator))


@each_dtype
def test_near_ties_far_from_the_origin(dtype):
    generator = np.random.default_rng(0)
    centers = 1e4 + generator.normal(size=(40, 33))
    middle = (centers[generator.integers(40, size=499)] + centers[3]) / 2
    rows = (middle * (1 + generator.integers(-3, 4, (499, 1)) * 2.0**-52)).astype(dtype)
    walk = HeadWalk(rows, centers, principal(rows, 16))
    for _ in range(6):
        walk.step()
        walk.assert_as_if_all_were_computed()
        walk.move(walk.centers + 1e-4 * generator.normal(size=centers.shape))


@each_dtype
def test_rows_on_the_axes_have_no_tail(dtype):
    """The length of a tail is a root: rounding moves it most where it should be zero."""
    generator = np.random.default_rng(0)
    narrow = orthonormal(256, 16)
    rows = (generator.integers(-2, 3, (499, 16)) @ narrow.T.astype(np.float64)).astype(dtype)
    walk = HeadWalk(rows, rows[:50].astype(np.float64), narrow)
    for _ in range(6):
        walk.step()
        walk.assert_as_if_all_were_computed()
        walk.move(means(walk))


@each_dtype
def test_heads_lie_no_farther_apart_than_rows(dtype):
    generator = np.random.default_rng(0)
    rows = low_rank(203, 300, 5, 0.1, generator).astype(dtype)
    centers = rows[:50].astype(np.float64) * (1 + 1e-5)
    walk = HeadWalk(rows, centers, principal(rows, 16))
    heads = walk.axes.heads_of_centers(centers).transposed.T
    lengths = np.linalg.norm(rows - walk.shift, axis=1)
    allowed = walk.axes.error * (lengths[:, None] + np.linalg.norm(centers - walk.shift, axis=1))
    distances = np.sqrt(reference.sq_distances(rows, centers))
    apart = np.sqrt(reference.sq_distances(walk.heads, heads))
    assert (apart <= distances + allowed).all()
    # And they are of use.
    assert np.median(apart / distances) > 0.9
    assert walk.axes.error < 1e-5


@each_dtype
def test_margins_hold(dtype):
    generator = np.random.default_rng(0)
    rows = low_rank(203, 256, 6, 0.2, generator).astype(dtype)
    walk = HeadWalk(rows, rows[:64].astype(np.float64), principal(rows, 16))
    for _ in range(6):
        walk.step()
        distances = np.sqrt(reference.sq_distances(rows, walk.centers))
        own = distances[np.arange(203), walk.labels]
        distances[np.arange(203), walk.labels] = np.inf
        margin = walk.margin.astype(np.float64) - walk.drift.by_label[walk.labels]
        gap = distances.min(axis=1) - own
        assert (margin <= gap).all()
        assert np.median(margin / gap) > 0.5
        walk.move(means(walk))


@pytest.mark.parametrize("n_before", [0, 1])
def test_rows_that_became_bad_are_told(n_before):
    generator = np.random.default_rng(0)
    rows = low_rank(203, 256, 6, 0.2, generator).astype(np.float32)
    walk = HeadWalk(rows, rows[:64].astype(np.float64), principal(rows, 16))
    for _ in range(n_before):
        walk.step()
        walk.move(means(walk))
    walk.rows[137, 5] = np.nan
    walk.step(looks=False)
    assert (walk.status, walk.bad_row) == (NOT_FINITE, 137)
    walk = HeadWalk(rows, rows[:64].astype(np.float64), principal(rows[:100], 16))
    walk.step()
    assert (walk.status, walk.bad_row) == (NOT_FINITE, 137)


def test_rows_out_of_range_are_told():
    generator = np.random.default_rng(0)
    rows = low_rank(203, 256, 6, 0.2, generator).astype(np.float32)
    walk = HeadWalk(rows, rows[:64].astype(np.float64), principal(rows, 16))
    walk.rows[137] += 1e6
    walk.step()
    assert walk.status == OUT_OF_RANGE
