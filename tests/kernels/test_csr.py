"""Sparse rows are what they are as dense ones: to take some of them, to label, measure and sum."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.kernels.assign import label_block, pack_centers
from daskmeans.kernels.csr import (
    CSRRows,
    as_dense,
    empty_like,
    equal_rows,
    first_of_equal,
    joined,
    side_by_side,
    stored_arrays,
)
from daskmeans.kernels.csr_assign import lloyd_sparse
from daskmeans.kernels.csr_layout import LayoutForSparse, pack_for_sparse
from daskmeans.kernels.csr_sums import MovedRows, as_sums, merged_rows
from daskmeans.kernels.directions import divide_by_lengths
from daskmeans.kernels.distances import distances_to_centers, sq_distances_to_own
from daskmeans.kernels.labelled_sums import sum_labelled
from daskmeans.kernels.lloyd import CLEAN, NOT_FINITE, OUT_OF_RANGE, sums_width
from daskmeans.kernels.ranges import column_ranges
from daskmeans.kernels.silhouettes import simplified_silhouettes, squared_silhouettes
from tests import reference, strategies

FLOATS = (np.float32, np.float64)


@st.composite
def sparse_problems(draw):
    """Dense rows of which many values are zero, and centers that tie, repeat or are rows."""
    rows = draw(strategies.rows(dtypes=FLOATS, max_features=40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    rows = rows * (generator.random(rows.shape) >= share).astype(rows.dtype)
    k = draw(st.integers(1, 40))
    centers = rows[generator.integers(len(rows), size=k)].astype(np.float64)
    if draw(st.booleans()):
        centers = (centers + centers[generator.integers(k, size=k)]) / 2
    return rows, centers


def labelled(rows, centers):
    labels = np.full(len(rows), -7, np.int32)
    packed = pack_for_sparse(np.ascontiguousarray(centers, dtype=np.float64))
    assert label_block(rows, packed, labels) == -1
    return labels


@pytest.fixture(params=FLOATS)
def problem(request):
    """Rows (13, 71) of which a tenth is not zero, one of them empty, and centers (7, 71)."""
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(13, 71)) * (generator.random((13, 71)) < 0.1)
    rows[4] = 0
    return rows.astype(request.param), generator.normal(size=(7, 71)) / 5


@given(problem=sparse_problems())
def test_labels_are_those_of_dense_rows(problem):
    """Ties, duplicates and offsets at which float32 has no digits left are among the cases."""
    rows, centers = problem
    found = labelled(CSRRows.of(sp.csr_array(rows)), centers)
    np.testing.assert_array_equal(found, reference.labels(rows, centers), strict=True)
    dense = np.empty(len(rows), np.int32)
    label_block(rows, pack_centers(centers, np.zeros(rows.shape[1]), rows.dtype), dense)
    np.testing.assert_array_equal(found, dense)


@pytest.mark.parametrize("k", [1, 15, 16, 17, 128, 129, 150, 263])
def test_labels_for_any_number_of_centers(k):
    """Centers are scored in tiles of lanes: the last ones may be of any size."""
    generator = np.random.default_rng(k)
    rows = (generator.random((31, 53)) * (generator.random((31, 53)) < 0.2)).astype(np.float32)
    centers = generator.random((k, 53)) / 5
    found = labelled(CSRRows.of(sp.csr_array(rows)), centers)
    np.testing.assert_array_equal(found, reference.labels(rows, centers))


def test_layout_is_the_same_by_one_thread_and_by_several():
    """Of many parts, some features without a value; a thread that fails leaves its part to others.

    Lines without a feature may hold anything, so labels and what they are made of are compared.
    """
    generator = np.random.default_rng(1)
    centers = generator.random((40, 9_001)) * (generator.random((40, 9_001)) < 0.02)
    one = pack_for_sparse(centers)
    layout = LayoutForSparse(centers)
    with pytest.MonkeyPatch.context() as patched:
        failed = []

        def fail(*arguments):
            failed.append(arguments[1])
            raise MemoryError

        patched.setattr("daskmeans.kernels.csr_layout._lay_out", fail)
        with pytest.raises(MemoryError):
            layout.finished()
    assert failed == [0]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: layout.finished(), range(3)))
    assert found[0] is found[1] is found[2]
    np.testing.assert_array_equal(found[0].places, one.places)
    np.testing.assert_array_equal(found[0].sq_norms, one.sq_norms)
    np.testing.assert_array_equal(one.places > 0, (centers != 0).any(axis=0))
    np.testing.assert_allclose(one.sq_norms, (centers**2).sum(axis=1), rtol=1e-14)
    table = found[0].table.reshape(9_002, -1)
    in_use = np.flatnonzero(one.places)
    np.testing.assert_array_equal(
        table[one.places[in_use], :40], -centers.T[in_use].astype(np.float32)
    )


@pytest.mark.parametrize("k", [1, 7, 16, 17, 33])
@pytest.mark.parametrize("d", [1, 15, 64, 257, 512])
def test_layout_is_the_negated_transpose_of_columns_in_use(k, d):
    """Numbers that float32 does not hold are in use, too; -0.0 is not."""
    generator = np.random.default_rng(31 * k + d)
    centers = generator.normal(size=(k, d)) * (generator.random((k, d)) < 0.3 / k)
    centers[generator.integers(k, size=d // 9), generator.integers(d, size=d // 9)] = -0.0
    centers[0, d // 2] = 1e-200
    packed = pack_for_sparse(centers)
    in_use = np.flatnonzero((centers != 0).any(axis=0))
    np.testing.assert_array_equal(np.flatnonzero(packed.places), in_use)
    lines = packed.places[in_use]
    assert len(np.unique(lines)) == len(lines)
    table = packed.table.reshape(d + 1, -1)
    np.testing.assert_array_equal(table[lines, :k], -centers.T[in_use].astype(np.float32))
    assert not table[lines, k:].any()
    assert not table[0].any()
    np.testing.assert_allclose(packed.sq_norms, (centers**2).sum(axis=1), rtol=1e-14)
    np.testing.assert_array_equal(packed.half_norms[:k], (packed.sq_norms / 2).astype(np.float32))
    assert np.isinf(packed.half_norms[k:]).all()
    assert packed.table.ctypes.data % 64 == packed.half_norms.ctypes.data % 64 == 0


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-44, 1e-30, 1e16, 1e19, 1e30, 1e150])
def test_labels_of_values_that_float32_does_not_hold(scale):
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(40, 11)) * (generator.random((40, 11)) < 0.5) * scale
    centers = generator.normal(size=(6, 11)) * scale
    found = labelled(CSRRows.of(sp.csr_array(rows)), centers)
    np.testing.assert_array_equal(found, reference.labels(rows, centers))


def test_far_centers_do_not_hide_near_ones():
    """Of centers that leave the range of float32, and rows that do not."""
    rows = np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 3.0]])
    centers = np.array([[1e30, 0.0], [0.0, 2.0], [0.0, 0.5]])
    assert labelled(CSRRows.of(sp.csr_array(rows)), centers).tolist() == [2, 2, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_first_row_that_is_not_finite_is_told(problem, bad):
    rows, centers = problem
    rows[9, 3] = rows[11, 0] = bad
    sparse = CSRRows.of(sp.csr_array(rows))
    packed = pack_for_sparse(centers)
    assert label_block(sparse, packed, np.empty(13, np.int32)) == 9
    assert distances_to_centers(sparse, np.ascontiguousarray(centers.T), np.empty((13, 7))) == 9
    assert column_ranges(sparse)[2] == 9
    scale = np.ones(sums_width(71))
    status, row, *_ = lloyd_sparse(sparse, np.ones(1), packed, scale, np.empty(13, np.int32))
    assert (status, row) == (NOT_FINITE, 9)


def scales(rows):
    """Powers of two as a survey finds them, for a shift of zero."""
    scale = np.zeros(sums_width(rows.shape[1]))
    reach = np.abs(rows.astype(np.float64)).max(axis=0)
    largest = np.array([*reach, (reach**2).sum(), 4.0])
    exponents = np.frexp(largest)[1]
    scale[[*range(rows.shape[1]), -2, -1]] = np.exp2(45.0 - exponents)
    return scale


@given(problem=sparse_problems(), weighted=st.booleans())
def test_sums_are_integers_of_quantised_rows(problem, weighted):
    rows, centers = problem
    sparse, scale = CSRRows.of(sp.csr_array(rows)), scales(rows)
    weights = np.random.default_rng(len(rows)).integers(0, 4, len(rows)).astype(float)
    given_weights = weights if weighted and len(rows) > 1 else np.ones(1)
    labels, packed = np.empty(len(rows), np.int32), pack_for_sparse(centers)
    status, _, n_changed, sums = lloyd_sparse(sparse, given_weights, packed, scale, labels)
    assert (status, n_changed) == (CLEAN, len(rows))
    np.testing.assert_array_equal(labels, reference.labels(rows, centers))
    wanted = reference.quantised_sums(rows, given_weights, labels, len(centers), 0 * scale, scale)
    np.testing.assert_array_equal(as_sums(sums), wanted)


def test_rows_that_change_are_moved_between_sums(problem):
    rows, centers = problem
    sparse, scale = CSRRows.of(sp.csr_array(rows)), scales(rows)
    before = np.arange(13, dtype=np.int32) % 7
    sums = np.zeros((7, len(scale)), np.int64)
    weights = np.arange(1.0, 14.0) / 4
    assert sum_labelled(sparse, before, weights, 0 * scale, scale, sums) == CLEAN
    labels = before.copy()
    packed = pack_for_sparse(centers)
    _, _, n_changed, found = lloyd_sparse(sparse, weights, packed, scale, labels, counted=True)
    sums += as_sums(found)
    np.testing.assert_array_equal(labels, reference.labels(rows, centers))
    assert n_changed == (labels != before).sum() > 0
    np.testing.assert_array_equal(
        sums, reference.quantised_sums(rows, weights, labels, 7, 0 * scale, scale)
    )


def test_row_beyond_the_ranges_is_told(problem):
    rows, centers = problem
    scale = scales(rows / 2**9)
    sparse, labels = CSRRows.of(sp.csr_array(rows)), np.empty(13, np.int32)
    status, *_ = lloyd_sparse(sparse, np.ones(1), pack_for_sparse(centers), scale, labels)
    assert status == OUT_OF_RANGE
    # Of many rows for few sums, which are summed at once, too.
    several = CSRRows.of(sp.csr_array(np.repeat(rows, 50, axis=0)))
    labels = np.empty(650, np.int32)
    status, *_ = lloyd_sparse(several, np.ones(1), pack_for_sparse(centers), scale, labels)
    assert status == OUT_OF_RANGE


@pytest.mark.parametrize("counted", [False, True])
def test_sums_are_the_same_as_rows_and_in_any_grouping(counted):
    """Few rows among many features are handed on as they are, and summed once they are many."""
    generator = np.random.default_rng(2)
    rows = sp.random(900, 700, 0.015, format="csr", random_state=1)
    centers = generator.random((11, 700)) * (generator.random((11, 700)) < 0.1)
    sparse, packed, scale = CSRRows.of(rows), pack_for_sparse(centers), scales(rows.toarray())
    before = generator.integers(0, 11, 900).astype(np.int32)
    weights = generator.random(900)
    labels = reference.labels(rows.toarray(), centers)
    wanted = np.zeros((11, len(scale)), np.int64)
    sum_labelled(sparse, labels, weights, 0 * scale, scale, wanted)
    if counted:
        old = np.zeros_like(wanted)
        sum_labelled(sparse, before, weights, 0 * scale, scale, old)
        wanted -= old
    kinds = set()
    for step in (10, 30, 300, 900):
        parts = []
        for start in range(0, 900, step):
            part = slice(start, start + step)
            *status, found = lloyd_sparse(
                sparse[part], weights[part], packed, scale, before[part].copy(), counted=counted
            )
            assert status[:2] == [CLEAN, -1]
            parts.append(found)
            kinds.add(type(found))
        np.testing.assert_array_equal(sum(as_sums(part) for part in parts), wanted)
        few = [part for part in parts if isinstance(part, MovedRows)]
        if few:
            total = few[0]
            for each in few[1:]:
                if isinstance(total, MovedRows):
                    total = merged_rows([total, each])
                    assert not isinstance(total, MovedRows) or len(total.parts) <= 16
                else:
                    each.add_to(total)
            np.testing.assert_array_equal(as_sums(total), sum(as_sums(part) for part in few))
    assert kinds == {MovedRows, np.ndarray}


@given(problem=sparse_problems())
def test_distances_are_those_of_dense_rows(problem):
    rows, centers = problem
    sparse = CSRRows.of(sp.csr_array(rows))
    wanted = reference.sq_distances(rows, centers)
    labels = np.argmin(wanted, axis=1).astype(np.int32)
    own = wanted[np.arange(len(rows)), labels]
    # A sum of d + 2 roundings, of numbers up to 2**12 times as large as the distance.
    bound = {"rtol": 2**12 * 42 * 2.0**-53, "atol": 0}
    np.testing.assert_allclose(sq_distances_to_own(sparse, labels, centers), own, **bound)
    found = np.empty(wanted.shape)
    assert distances_to_centers(sparse, np.ascontiguousarray(centers.T), found) == -1
    np.testing.assert_allclose(found, np.sqrt(wanted), **bound)


def test_row_on_its_center_lies_exactly_on_it(problem):
    rows, _ = problem
    labels = np.arange(13, dtype=np.int32)
    sparse = CSRRows.of(sp.csr_array(rows))
    found = sq_distances_to_own(sparse, labels, rows.astype(np.float64))
    np.testing.assert_array_equal(found, np.zeros(13))


def test_silhouettes_are_those_of_dense_rows(problem):
    rows, centers = problem
    sparse, transposed = CSRRows.of(sp.csr_array(rows)), np.ascontiguousarray(centers.T)
    labels = reference.labels(rows, centers)
    found, wanted = np.empty((2, 13))
    simplified_silhouettes(sparse, labels, transposed, found)
    simplified_silhouettes(rows, labels, transposed, wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
    more = np.arange(13.0), transposed, np.arange(7.0), 3 + np.arange(7.0)
    squared_silhouettes(sparse, labels, *more, found)
    squared_silhouettes(rows, labels, *more, wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


@given(problem=sparse_problems())
def test_ranges_count_the_zeros_that_are_not_stored(problem):
    rows, _ = problem
    low, high, bad_row = column_ranges(CSRRows.of(sp.csr_array(rows)))
    np.testing.assert_array_equal(low, rows.min(axis=0))
    np.testing.assert_array_equal(high, rows.max(axis=0))
    assert bad_row == -1


def test_normalised_rows_have_length_one(problem):
    rows, _ = problem
    sparse = CSRRows.of(sp.csr_array(rows))[3:]
    found = empty_like(sparse)
    assert divide_by_lengths(sparse, found) == 1
    kept = [0, *range(2, 10)]
    found = empty_like(sparse[kept])
    assert divide_by_lengths(sparse[kept], found) == -1
    wanted = np.empty((len(kept), rows.shape[1]))
    assert divide_by_lengths(np.ascontiguousarray(rows[3:][kept]), wanted) == -1
    np.testing.assert_array_equal(as_dense(found), wanted)
    # Into a part of larger rows, as tiles of a block are.
    whole = empty_like(sparse[kept], np.float32)
    assert divide_by_lengths(sparse[kept][4:], whole[4:]) == -1
    np.testing.assert_array_equal(as_dense(whole[4:]), wanted[4:].astype(np.float32))


@pytest.mark.parametrize("scale", [1e-200, 1e200, np.inf, np.nan])
def test_sparse_rows_out_of_range_are_divided_as_dense_ones(scale):
    rows = np.array([[0.0, 3.0 * scale, 0.0, -4.0 * scale], [1.0, 0.0, 2.0, 0.0]])
    rows[~np.isfinite(rows)] = scale
    rows[0, [0, 2]] = 0.0
    sparse = CSRRows.of(sp.csr_array(rows))
    found, wanted = empty_like(sparse), np.empty(rows.shape)
    assert divide_by_lengths(sparse, found) == divide_by_lengths(rows, wanted) == -1
    np.testing.assert_array_equal(as_dense(found), wanted)


@given(
    problem=sparse_problems(),
    steps=st.lists(st.tuples(st.integers(-70, 70), st.integers(-70, 70), st.integers(1, 3))),
)
def test_taking_rows_is_what_numpy_does(problem, steps):
    rows, _ = problem
    sparse = CSRRows.of(sp.csr_array(rows))
    for start, stop, step in steps:
        rows, sparse = rows[start:stop:step], sparse[start:stop:step]
    assert sparse.shape == rows.shape
    assert len(sparse) == len(rows)
    np.testing.assert_array_equal(as_dense(sparse), rows)
    chosen = np.arange(len(rows))[::-2]
    for rows_of, wanted in (
        (sparse[chosen], rows[chosen]),
        (sparse[rows[:, 0] > 0], rows[rows[:, 0] > 0]),
        (sparse[:, 1:], rows[:, 1:]),
        (sparse[:, :-1], rows[:, :-1]),
        (sparse[chosen, :0], rows[chosen, :0]),
        (sparse.copy(), rows),
        (pickle.loads(pickle.dumps(sparse)), rows),
        (sparse.astype(np.float32), rows.astype(np.float32)),
        (CSRRows.of(sparse.to_scipy()), rows),
        (sparse.without_zeros(), rows),
        (joined([sparse, sparse[chosen]]), np.concatenate([rows, rows[chosen]])),
        (joined([sparse, rows]), np.concatenate([rows, rows])),
        (side_by_side([sparse, rows, sparse]), np.concatenate([rows] * 3, axis=1)),
    ):
        assert rows_of.shape == wanted.shape
        assert rows_of.dtype == wanted.dtype
        np.testing.assert_array_equal(as_dense(rows_of), wanted)
    for i in range(len(rows)):
        np.testing.assert_array_equal(sparse[i], rows[i])
    np.testing.assert_array_equal(sparse[:, -1], rows[:, -1])
    if len(rows):
        first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
        np.testing.assert_array_equal(first_of_equal(sparse), first)


def test_consecutive_rows_are_views_and_travel_alone():
    rows = CSRRows.of(sp.random(1000, 50, 0.2, format="csr", random_state=0))
    some = rows[500:510]
    assert some.data is rows.data
    assert some.nbytes < rows.nbytes / 50
    assert len(pickle.dumps(some)) < len(pickle.dumps(rows)) / 50
    assert some.copy().data.base is None


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_any_form_of_the_same_rows_becomes_canonical(index):
    """Columns in any order, given twice, or of zeros; and the matrix that is given stays."""
    data = np.array([1.0, 2.0, 0.5, 0.0, 3.0])
    indices, indptr = np.array([4, 1, 4, 0, 2], index), np.array([0, 4, 4, 5], index)
    matrix = sp.csr_matrix((data, indices, indptr), shape=(3, 5))
    rows = CSRRows.of(matrix)
    np.testing.assert_array_equal(as_dense(rows), [[0, 2, 0, 0, 1.5], [0] * 5, [0, 0, 3, 0, 0]])
    assert rows.indices.tolist() == [0, 1, 4, 2]
    assert rows.indices.dtype == np.int32
    assert matrix.indices.tolist() == [4, 1, 4, 0, 2]
    plain = CSRRows.of(sp.csr_array(as_dense(rows)))
    assert plain.n_values == rows.n_values - 1
    assert equal_rows(rows, plain)
    assert not equal_rows(rows, plain[::-1][:3])
    for stored, wanted in zip(stored_arrays(rows), stored_arrays(plain), strict=True):
        np.testing.assert_array_equal(stored, wanted)
