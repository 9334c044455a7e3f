"""Merging partials is associative and commutative, to the bit."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.algorithms.columns import Moments
from daskmeans.algorithms.contingency import Contingency
from daskmeans.kernels.csr_sums import MovedRows, QuantisedRows, as_sums
from daskmeans.kernels.exact_sum import DIGITS, add_terms, carried
from daskmeans.kernels.moments import N_SUMS, add_moments
from daskmeans.partials import (
    BinCounts,
    ClusterSums,
    Costs,
    KeyedRows,
    MetricSums,
    Ranges,
    Survey,
    all_carried,
    no_cost,
)

seeds = st.integers(0, 2**32 - 1)


def make_ranges(generator, number):
    n = int(generator.integers(0, 4))
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    if n:
        low, high = np.sort(generator.normal(size=(2, 3)), axis=0)
    weight = float(generator.uniform(0, 2)) if n else 0.0
    return Ranges(n, low, high, weight, ((number, n),))


def make_keyed_rows(generator, number, *, distinct=False, capacity=5):
    """Keys and rows of few different values, so that they tie and repeat."""
    n = int(generator.integers(0, 12))
    return KeyedRows.smallest(
        capacity,
        generator.integers(0, 5, n).astype(float),
        100 * number + np.arange(n),
        generator.integers(0, 2, (n, 2)).astype(np.float32),
        generator.uniform(size=n),
        distinct=distinct,
    )


def make_distinct_rows(generator, number):
    return make_keyed_rows(generator, number, distinct=True)


def make_survey(generator, number):
    return Survey(make_ranges(generator, number), make_keyed_rows(generator, number))


def make_cluster_sums(generator, number):
    sums = tuple(generator.integers(-(2**40), 2**40, (k, 8)) for k in (3, 1))
    n_changed, n_distances = generator.integers(0, 2**40, (2, 1)).tolist()
    return ClusterSums(sums, tuple(n_changed), tuple(n_distances))


def make_moved_rows(generator, number):
    """Sums of 60 features, or rows of up to four numbers that are to be added to such."""
    n = int(generator.integers(0, 9))
    ends = np.cumsum([0, *generator.integers(0, 5, n)])
    numbers = generator.integers(-(2**40), 2**40, ends[-1])
    columns = generator.integers(0, 64, ends[-1]).astype(np.int32)
    to, taken_from = generator.integers(0, 3, (2, n)).astype(np.int32)
    rows = MovedRows((3, 64), (QuantisedRows(numbers, columns, ends, to, taken_from),))
    sums = rows if generator.random() < 0.7 else as_sums(rows)
    return ClusterSums((sums,), (n,), (3 * n,))


def make_costs(generator, number):
    digits = []
    for _ in range(2):
        total = no_cost()
        add_terms(total, 10.0 ** generator.uniform(-300, 300, 7))
        digits.append(carried(total))
    labels = generator.integers(0, 3, int(generator.integers(0, 4))).astype(np.int32)
    counts = (np.bincount(labels, minlength=3), np.bincount(labels, minlength=3))
    return Costs(tuple(digits), counts, ((0, number, labels), (1, number, 2 - labels)))


def make_bin_counts(generator, number):
    return BinCounts(generator.integers(0, 2**40, (3, 2)))


def make_metric_sums(generator, number):
    digits = np.zeros((2, DIGITS), np.int64)
    for one in digits:
        add_terms(one, 10.0 ** generator.uniform(-300, 300, 7))
    sums = (generator.integers(-(2**40), 2**40, (3, 8)), generator.integers(0, 9, 3))
    return MetricSums(sums, (carried(digits.T).T, np.zeros((0, DIGITS), np.int64)))


def make_contingency(generator, number):
    n = int(generator.integers(0, 12))
    pairs = generator.integers(0, 3, (n, 2)).astype(float)
    return Contingency.of(pairs, generator.integers(1, 9, n))


def make_moments(generator, number):
    n = int(generator.integers(0, 4))
    counts, sums = np.zeros(2, np.int64), np.zeros((2, N_SUMS, DIGITS), np.int64)
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    add_moments(generator.normal(size=(n, 2)), np.ones(1), counts, low, high, sums)
    sample = make_keyed_rows(generator, number)
    return Moments(counts, low, high, all_carried(sums), ((number, n),), sample)


each_partial = pytest.mark.parametrize(
    "make",
    [
        make_ranges,
        make_keyed_rows,
        make_distinct_rows,
        make_survey,
        make_cluster_sums,
        make_moved_rows,
        make_costs,
        make_bin_counts,
        make_metric_sums,
        make_contingency,
        make_moments,
    ],
)


def assert_same(a, b):
    """Equal to the bit, whatever is inside."""
    if isinstance(a, MovedRows) or isinstance(b, MovedRows):
        # Rows stand for their sums, whatever their order.
        a, b = as_sums(a), as_sums(b)
    assert type(a) is type(b)
    if hasattr(a, "__dataclass_fields__"):
        for field in fields(a):
            if not (isinstance(a, Costs) and field.name == "labels"):
                assert_same(getattr(a, field.name), getattr(b, field.name))
        if isinstance(a, Costs):
            # Blocks' labels stay apart until they are put in the order of the blocks.
            for number in (0, 1):
                assert_same(a.all_labels(number), b.all_labels(number))
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(a, b, strict=isinstance(a, np.ndarray))


@each_partial
@given(seed=seeds)
def test_grouping_does_not_matter(make, seed):
    generator = np.random.default_rng(seed)
    a, b, c = (make(generator, number) for number in range(3))
    merge = type(a).combine
    at_once = merge([a, b, c])
    assert_same(merge([merge([a, b]), c]), at_once)
    assert_same(merge([a, merge([b, c])]), at_once)
    assert_same(merge([at_once]), at_once)


@each_partial
@given(seed=seeds, order=st.permutations(range(5)))
def test_order_does_not_matter(make, seed, order):
    generator = np.random.default_rng(seed)
    parts = [make(generator, number) for number in range(5)]
    merge = type(parts[0]).combine
    assert_same(merge([parts[i] for i in order]), merge(parts))


@given(seed=seeds, distinct=st.booleans(), capacity=st.integers(1, 9))
def test_smallest_keys_by_sorting_everything(seed, distinct, capacity):
    generator = np.random.default_rng(seed)
    n = 40
    keys = generator.integers(0, 12, n).astype(float)
    rows = generator.integers(0, 3, (n, 2))
    numbers = generator.permutation(n)
    kept = KeyedRows.smallest(capacity, keys, numbers, rows, keys + 0.5, distinct=distinct)
    expected, seen = [], set()
    for i in sorted(range(n), key=lambda i: (keys[i], numbers[i])):
        if distinct and tuple(rows[i]) in seen:
            continue
        seen.add(tuple(rows[i]))
        expected.append(i)
    expected = expected[:capacity]
    assert kept.row_numbers.tolist() == numbers[expected].tolist()
    assert kept.keys.tolist() == keys[expected].tolist()
    assert kept.rows.tolist() == rows[expected].tolist()
    assert kept.weights.tolist() == (keys[expected] + 0.5).tolist()


def test_kept_rows_are_copies():
    """A view would keep the whole block alive."""
    rows = np.zeros((1000, 2))
    kept = KeyedRows.smallest(3, np.arange(1000.0), np.arange(1000), rows, np.ones(1000))
    assert not np.shares_memory(kept.rows, rows)


def test_costs_are_rounded_once():
    parts = []
    for value in (2.0**53, 1.0, 1.0):
        total = no_cost()
        add_terms(total, np.array([value]))
        parts.append(Costs((total,), (np.zeros(1, np.int64),)))
    assert Costs.combine(parts).inertias() == (2.0**53 + 2,)


def test_labels_are_put_in_the_order_of_the_blocks():
    counts = (np.zeros(3, np.int64),)
    parts = [
        Costs((no_cost(),), counts, ((0, number, np.array([number], np.int32)),))
        for number in (2, 10, 0, 1)
    ]
    assert Costs.combine(parts).all_labels().tolist() == [0, 1, 2, 10]
