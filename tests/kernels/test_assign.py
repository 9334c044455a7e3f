"""Labels are those of the definition, whatever the shape, dtype, range or position of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.kernels.assign import label_block, pack_centers
from daskmeans.kernels.vector import TILE_CENTERS, strip_rows
from tests import reference, strategies

DTYPES = [np.float32, np.float64]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def label(rows, centers, shift=None):
    """Labels by the kernel, and the first row that is not finite or -1."""
    d = rows.shape[1]
    if shift is None:
        with np.errstate(over="ignore", invalid="ignore"):
            shift = np.asarray(centers, np.float64).mean(axis=0).astype(np.float32)
    shift = np.broadcast_to(np.asarray(shift, np.float64), (d,))
    packed = pack_centers(np.asarray(centers, np.float64), shift, rows.dtype)
    labels = np.full(len(rows), -7, np.int32)
    return labels, label_block(np.ascontiguousarray(rows), packed, labels)


def assert_labels_by_definition(rows, centers, shift=None):
    found, bad_row = label(rows, centers, shift)
    assert bad_row == -1
    np.testing.assert_array_equal(found, reference.labels(rows, centers))


def test_hand_computed_case():
    rows = np.array([[0.0, 0.0], [4.0, 4.0], [1.0, 3.0]])
    centers = np.array([[5.0, 5.0], [0.0, 1.0]])
    # Squared distances: 50 and 1; 2 and 25; 20 and 5.
    assert label(rows, centers)[0].tolist() == [1, 0, 1]


@each_dtype
@pytest.mark.parametrize("d", [*range(1, 41), 768])
def test_every_number_of_features(dtype, d):
    generator = np.random.default_rng(d)
    rows = generator.normal(size=(97, d)).astype(dtype)
    assert_labels_by_definition(rows, generator.normal(size=(7, d)))


@each_dtype
@pytest.mark.parametrize("k", [*range(1, 2 * TILE_CENTERS + 2), 31, 97, 100])
def test_every_number_of_centers(dtype, k):
    generator = np.random.default_rng(k)
    rows = generator.normal(size=(97, 5)).astype(dtype)
    assert_labels_by_definition(rows, generator.normal(size=(k, 5)))


@each_dtype
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5])
def test_every_number_of_rows_around_a_strip(dtype, d):
    generator = np.random.default_rng(d)
    strip = strip_rows(dtype)
    rows = generator.normal(size=(3 * strip, d)).astype(dtype)
    centers = generator.normal(size=(7, d))
    for r in (0, 1, 13, strip - 1, strip, strip + 1, 2 * strip - 1, 2 * strip + 13):
        assert_labels_by_definition(rows[:r], centers)


@each_dtype
def test_nothing_past_the_labels_is_written(dtype):
    rows = np.random.default_rng(0).normal(size=(13, 5)).astype(dtype)
    guarded = np.full(strip_rows(dtype) + 64, -7, np.int32)
    packed = pack_centers(rows[:7].astype(np.float64), np.zeros(5), rows.dtype)
    assert label_block(rows, packed, guarded[:13]) == -1
    assert (guarded[13:] == -7).all()


@each_dtype
def test_exact_ties_go_to_the_lowest_center(dtype):
    """All points of a grid against centers halfway between them: most rows tie."""
    grid = np.stack(np.meshgrid(*[np.arange(5.0)] * 3), axis=-1).reshape(-1, 3)
    centers = grid[::7] + 0.5
    assert_labels_by_definition(grid.astype(dtype), centers)
    for offset in (1e4, -1e4):
        assert_labels_by_definition((grid + offset).astype(dtype), centers + offset)


@each_dtype
def test_equal_centers_share_no_rows(dtype):
    centers = np.array([[9.0, 9.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    rows = np.array([[1.0, 2.5], [1.0, 2.0], [8.0, 8.0]], dtype)
    assert label(rows, centers)[0].tolist() == [1, 1, 0]


@each_dtype
def test_near_ties_far_from_the_origin(dtype):
    """Rows within a few roundings of the plane between two centers, at offset 1e4."""
    generator = np.random.default_rng(0)
    centers = 1e4 + generator.normal(size=(7, 5))
    middle = (centers[generator.integers(7, size=997)] + centers[3]) / 2
    rows = (middle * (1 + generator.integers(-3, 4, (997, 1)) * 2.0**-52)).astype(dtype)
    assert_labels_by_definition(rows, centers)
    # Without a shift only the check of near ties keeps the labels right.
    assert_labels_by_definition(rows, centers, shift=0.0)


@each_dtype
@pytest.mark.parametrize("d", [65, 128, 200, 768])
@pytest.mark.parametrize("offset", [0.0, 100.0, -1e4])
def test_near_ties_of_wide_rows(dtype, d, offset):
    """Sums have several parts, and centers are several groups: most rows lie near two of them."""
    generator = np.random.default_rng(d)
    centers = offset + generator.normal(size=(70, d))
    one, other = generator.integers(70, size=(2, 199))
    rows = ((centers[one] + centers[other]) / 2).astype(dtype)
    rows[::3] *= 1 + np.finfo(dtype).eps
    assert_labels_by_definition(rows, centers)
    assert_labels_by_definition(rows, centers, shift=0.0)


@each_dtype
def test_near_ties_of_small_and_large_centers(dtype):
    """The bound on rounding goes by the longest center that can be the nearest."""
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(200, 100)) * 10.0 ** generator.uniform(-4, 4, (200, 1))
    centers[[3, 150]] = 0.0
    centers[[7, 180]] = centers[20]
    one, other = generator.integers(200, size=(2, 499))
    rows = ((centers[one] + centers[other]) / 2).astype(dtype)
    rows[:200] = centers
    assert_labels_by_definition(rows, centers, shift=0.0)


@each_dtype
def test_exact_ties_of_wide_rows(dtype):
    """Rows and centers of zeros and ones: distances are few whole numbers."""
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 2, (199, 300)).astype(dtype)
    assert_labels_by_definition(rows, generator.integers(0, 2, (70, 300)).astype(float))
    assert_labels_by_definition(rows, np.repeat(rows[:2], 40, axis=0).astype(float))


@each_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_wide_row_that_is_not_finite_is_reported(dtype, value):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(97, 300)).astype(dtype)
    rows[57, 299] = value
    assert label(rows, generator.normal(size=(70, 300)))[1] == 57


@pytest.mark.parametrize("d", [1, 65, 129])
def test_half_norms_that_leave_the_range_where_rows_do_not(d):
    """In a part of a sum as in the whole of it; the square of the row is just within float32."""
    for factor in np.linspace(0.5, 1.6, 23):
        row = np.zeros((1, d), np.float32)
        row[0, -1] = 1.8e19
        centers = np.zeros((3, d))
        centers[:, -1] = -4.3e19, factor * 2.5e19, factor * 1.8e19
        assert_labels_by_definition(row, centers, shift=0.0)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("f4", 1e-30), ("f4", 1e30), ("f8", 1e-160), ("f8", 1e-30), ("f8", 1e30), ("f8", 1e150)],
)
def test_squares_of_wide_rows_that_leave_the_range(dtype, scale):
    generator = np.random.default_rng(0)
    rows = (scale * generator.normal(size=(97, 300))).astype(dtype)
    centers = np.concatenate([scale * generator.normal(size=(70, 300)), rows[:2]])
    assert_labels_by_definition(rows, centers)


@each_dtype
@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e10, 1e30])
def test_squares_that_leave_the_range_of_float32(dtype, scale):
    generator = np.random.default_rng(0)
    rows = (scale * generator.normal(size=(97, 5))).astype(dtype)
    assert_labels_by_definition(rows, scale * generator.normal(size=(7, 5)))


@each_dtype
def test_rows_of_very_different_sizes(dtype):
    generator = np.random.default_rng(0)
    sizes = 10.0 ** generator.uniform(-30, 30, (997, 1))
    rows = (sizes * generator.normal(size=(997, 3))).astype(dtype)
    assert_labels_by_definition(rows, rows[:31].astype(np.float64) * 1.25)


@each_dtype
def test_shift_changes_no_label(dtype):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(97, 5)).astype(dtype)
    centers = generator.normal(size=(7, 5))
    for shift in (0.0, 0.5, -100.0, 2.0**20):
        assert_labels_by_definition(rows, centers, shift)


@given(rows=strategies.rows(dtypes=DTYPES), data=st.data())
def test_any_rows_and_centers(rows, data):
    k = data.draw(st.integers(1, min(19, len(rows))))
    centers = rows[:k].astype(np.float64)
    if data.draw(st.booleans()):
        # Halfway between rows: grids tie exactly, other rows within rounding.
        centers = (centers + rows[-k:]) / 2
    assert_labels_by_definition(rows, centers)


@each_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("k", [1, 7])
@pytest.mark.parametrize("row", [0, 13, 96])
def test_first_row_that_is_not_finite_is_reported(dtype, value, k, row):
    rows = np.random.default_rng(0).normal(size=(97, 5)).astype(dtype)
    rows[row, 4] = value
    rows[row + 1 :: 3, 1] = value
    assert label(rows, np.random.default_rng(1).normal(size=(k, 5)))[1] == row


@each_dtype
def test_labels_do_not_depend_on_neighbours(dtype):
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 3, (97, 5)).astype(dtype)
    centers = rows[:11] + 0.5
    together, _ = label(rows, centers)
    alone = [label(rows[i : i + 1], centers)[0][0] for i in range(97)]
    assert together.tolist() == alone
