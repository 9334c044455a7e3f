"""Bounds leave out work and change nothing: labels and sums are those of computing everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.algorithms.drift import Drift, neighborly_order
from daskmeans.kernels.assign import label_block, pack_centers
from daskmeans.kernels.lloyd import CLEAN, Bounds, lloyd_block, sums_width
from daskmeans.kernels.vector import GROUP_CENTERS, strip_rows
from tests import reference, strategies
from tests.kernels.test_lloyd import scale_for

DTYPES = [np.float32, np.float64]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


class Walk:
    """Centers on a walk, and rows that follow them with bounds."""

    def __init__(self, rows, centers, weights=None, *, groups=True):
        self.rows = rows
        self.weights = np.ones(1) if weights is None else weights
        self.shift = centers.mean(axis=0).astype(np.float32).astype(np.float64)
        self.scale = scale_for(rows, self.shift, self.weights.max())
        width = sums_width(rows.shape[1])
        self.wide_shift = np.zeros(width)
        self.wide_shift[: rows.shape[1]] = self.shift
        self.sums = np.zeros((len(centers), width), np.int64)
        self.labels = np.empty(len(rows), np.int32)
        self.centers, self.drift = centers, Drift.start(centers, 1)
        if groups:
            # Also where it would not be worth it.
            order = neighborly_order(centers, GROUP_CENTERS)
            by_group = np.zeros(-(-len(centers) // GROUP_CENTERS), np.float32)
            self.drift = replace(self.drift, order=order, width=GROUP_CENTERS, by_group=by_group)
        self.margin = np.empty(len(rows), np.float32)
        n_groups = len(self.drift.by_group)
        self.lower = np.empty((n_groups, len(rows) if n_groups > 1 else 0), np.float32)
        self.n_steps = 0

    def packed(self, drift):
        if drift is None:
            return pack_centers(self.centers, self.shift, self.rows.dtype)
        return pack_centers(self.centers, self.shift, self.rows.dtype, drift.order, drift.width)

    def step(self, *, looks=True):
        """Assign all rows; return the share of the distances that were measured."""
        bounds = Bounds(self.margin, self.lower, self.drift.by_label, self.drift.by_group)
        counted = self.n_steps > 0
        status, _, n_changed, n_distances = lloyd_block(
            self.rows,
            self.weights,
            self.packed(self.drift),
            self.wide_shift,
            self.scale,
            self.sums,
            self.labels,
            counted=counted,
            bounds=bounds,
            bounded=looks and counted,
        )
        assert status == CLEAN
        self.n_steps += 1
        self.n_changed = n_changed
        return n_distances / (len(self.rows) * len(self.centers))

    def move(self, centers):
        self.drift = self.drift.after(self.centers, centers)
        self.centers = centers

    def assert_as_if_all_were_computed(self):
        labels, sums = np.empty_like(self.labels), np.zeros_like(self.sums)
        packed = self.packed(None)
        assert label_block(self.rows, packed, labels) == -1
        np.testing.assert_array_equal(self.labels, labels)
        lloyd_block(self.rows, self.weights, packed, self.wide_shift, self.scale, sums, labels)
        np.testing.assert_array_equal(self.sums, sums)


def means(walk):
    """Means of the clusters, empty ones where they were."""
    new = walk.centers.copy()
    for j in np.unique(walk.labels):
        new[j] = walk.rows[walk.labels == j].astype(np.float64).mean(axis=0)
    return new


@each_dtype
@pytest.mark.parametrize(
    ("d", "k"), [(1, 17), (2, 40), (5, 130), (16, 20), (19, 100), (70, 48), (130, 20)]
)
@pytest.mark.parametrize("groups", [True, False], ids=["groups", "as it is worth it"])
def test_a_whole_fit(dtype, d, k, groups):
    generator = np.random.default_rng(d)
    middles = generator.normal(size=(k, d)) * 3 / np.sqrt(d)
    rows = middles[generator.integers(k, size=2003)] + 0.3 * generator.normal(size=(2003, d))
    weights = generator.uniform(0, 2, 2003)
    walk = Walk(rows.astype(dtype), rows[:k].copy(), weights, groups=groups)
    shares = []
    for _ in range(25):
        shares.append(walk.step())
        walk.assert_as_if_all_were_computed()
        walk.move(means(walk))
    assert shares[0] == 1
    # Bounds that never leave anything out would pass the rest of this test.
    assert min(shares) < 0.5


@each_dtype
def test_rows_that_stay_cost_one_comparison(dtype):
    generator = np.random.default_rng(0)
    centers = 100 * generator.normal(size=(40, 8))
    rows = centers[generator.integers(40, size=999)] + generator.normal(size=(999, 8))
    walk = Walk(rows.astype(dtype), centers)
    walk.step()
    for _ in range(5):
        walk.move(walk.centers + 1e-3 * generator.normal(size=centers.shape))
        assert walk.step() == 0
        assert walk.n_changed == 0
        walk.assert_as_if_all_were_computed()


def moved(walk, move, generator):
    """Centers after a move: to the means, and one or all of them elsewhere."""
    rows = walk.rows.astype(np.float64)
    spread = np.ptp(rows, axis=0).max() + 1e-3
    new = means(walk)
    j, other = generator.integers(len(new), size=2)
    if move == "jump":
        new[j] = rows[generator.integers(len(rows))]
    elif move == "stay":
        new = walk.centers.copy()
    elif move == "meet":
        new[j] = new[other]
    elif move == "drift":
        new = walk.centers + spread * 1e-6 * generator.normal(size=new.shape)
    elif move == "half":
        # Halfway between two rows: exact ties on grids.
        new[j] = (rows[0] + rows[-1]) / 2
    elif move == "far":
        new[j] += 1e6 * spread
    return new


@given(rows=strategies.rows(min_rows=4, max_rows=200, dtypes=DTYPES), data=st.data())
def test_any_rows_and_any_walk(rows, data):
    """Grids with ties and duplicates, offsets, weights, and centers that jump, stay or meet."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    k = data.draw(st.integers(1, min(3 * GROUP_CENTERS, len(rows))))
    weights = data.draw(strategies.weights_for(len(rows)))
    centers = rows[:k].astype(np.float64)
    walk = Walk(rows, centers, weights, groups=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(2, 8))):
        walk.step(looks=data.draw(st.booleans()))
        walk.assert_as_if_all_were_computed()
        move = data.draw(st.sampled_from(["mean", "jump", "stay", "meet", "drift", "half"]))
        walk.move(moved(walk, move, generator))


@each_dtype
@pytest.mark.parametrize("groups", [True, False])
def test_early_drift_far_beyond_the_later_distances(dtype, groups):
    """Sums of a small bound and a large drift lose digits, and must lose them downwards."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(997, 6)).astype(dtype)
    walk = Walk(rows, 1e4 * generator.normal(size=(40, 6)), groups=groups)
    walk.step()
    walk.move(rows[:40].astype(np.float64))
    for _ in range(15):
        walk.step()
        walk.assert_as_if_all_were_computed()
        walk.move(means(walk))


@each_dtype
def test_near_ties_far_from_the_origin(dtype):
    generator = np.random.default_rng(0)
    centers = 1e4 + generator.normal(size=(40, 5))
    middle = (centers[generator.integers(40, size=997)] + centers[3]) / 2
    rows = (middle * (1 + generator.integers(-3, 4, (997, 1)) * 2.0**-52)).astype(dtype)
    walk = Walk(rows, centers)
    for _ in range(6):
        walk.step()
        walk.assert_as_if_all_were_computed()
        walk.move(walk.centers + 1e-4 * generator.normal(size=centers.shape))


@each_dtype
def test_every_number_of_rows_around_a_strip(dtype):
    generator = np.random.default_rng(0)
    strip = strip_rows(dtype)
    for r in (1, 13, strip - 1, strip, strip + 1, 2 * strip + 13):
        rows = generator.normal(size=(r, 5)).astype(dtype)
        walk = Walk(rows, generator.normal(size=(35, 5)))
        for _ in range(4):
            walk.step()
            walk.assert_as_if_all_were_computed()
            walk.move(means(walk))


@each_dtype
def test_rows_of_a_tile_keep_their_place_in_the_block(dtype):
    """A block is widened a tile at a time: each tile writes to its own part of what is kept."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(301, 5)).astype(dtype)
    centers = generator.normal(size=(40, 5))
    whole, parts = Walk(rows, centers), Walk(rows, centers)
    whole.step()
    bounds = Bounds(parts.margin, parts.lower, parts.drift.by_label, parts.drift.by_group)
    for part in (slice(0, 111), slice(111, 112), slice(112, 301)):
        lloyd_block(
            rows[part],
            parts.weights,
            parts.packed(parts.drift),
            parts.wide_shift,
            parts.scale,
            parts.sums,
            parts.labels,
            first=part.start,
            bounds=bounds,
        )
    for name in ("labels", "margin", "lower", "sums"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


@each_dtype
def test_bounds_hold(dtype):
    """Margins and bounds themselves, against exact distances."""
    generator = np.random.default_rng(0)
    rows = (1e3 + generator.normal(size=(203, 7))).astype(dtype)
    walk = Walk(rows, 1e3 + generator.normal(size=(100, 7)))
    assert len(walk.drift.by_group) > 1
    for step in range(6):
        walk.step()
        distances = np.sqrt(reference.sq_distances(rows, walk.centers))
        own = distances[np.arange(203), walk.labels]
        others = distances.copy()
        others[np.arange(203), walk.labels] = np.inf
        for g in range(len(walk.drift.by_group)):
            members = walk.drift.order[g * walk.drift.width : (g + 1) * walk.drift.width]
            kept = walk.lower[g].astype(np.float64) - walk.drift.by_group[g]
            assert (kept <= others[:, members].min(axis=1)).all()
        margin = walk.margin.astype(np.float64) - walk.drift.by_label[walk.labels]
        gap = others.min(axis=1) - own
        assert (margin <= gap).all()
        if step == 0:
            # And they are of use: most are within a hundredth of the spread.
            assert np.median(gap - margin) < 0.01
        walk.move(means(walk))
