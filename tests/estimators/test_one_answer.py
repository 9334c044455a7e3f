"""One answer, to the bit: in any chunking, on any scheduler, for any number of workers."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

import daskmeans.algorithms.survey
from daskmeans import KMeans, kmeans_parallel, kmeans_plusplus
from tests import strategies
from tests.conftest import SCHEDULERS

INITS = ("refined", "k-means++", "k-means||", "random", "array")
LOCAL = tuple(name for name in SCHEDULERS if name not in ("processes", "cluster"))


def chunked(values, chunks):
    return None if values is None else da.from_array(values, chunks=chunks)


def seeds(rows, weights, n_clusters):
    """What the two seeding functions choose."""
    options = {"sample_weight": weights, "random_state": 5}
    return (
        *kmeans_plusplus(rows, n_clusters, **options),
        kmeans_parallel(rows, n_clusters, init_rounds=2, **options),
    )


def fitted(rows, weights, n_clusters, init, n_init=1):
    """Everything that a fit determines, as arrays."""
    with warnings.catch_warnings():
        # Drawn rows may have fewer distinct points than clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = KMeans(n_clusters, init=init, n_init=n_init, max_iter=6, tol=0, random_state=5)
        model.fit(rows, sample_weight=weights)
    return answer(model)


def answer(model):
    """What must not depend on how a fit was run."""
    return (
        model.cluster_centers_,
        np.asarray(model.labels_),
        model.inertia_,
        model.n_iter_,
        [record.inertia for record in model.history_],
        [record.center_shift for record in model.history_],
        [record.n_relocated for record in model.history_],
    )


def assert_equal_to_the_bit(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)


def solve_both_ways(case, init, run_under, schedulers):
    """Answers for the case's two chunkings, each on its own scheduler, and for NumPy arrays."""
    if init == "array":
        init = case.rows[: case.n_clusters].astype(np.float64) + 0.125
    answers = []
    for (row_chunks, column_chunks), name in zip(case.chunkings, schedulers, strict=True):
        rows = chunked(case.rows, (row_chunks, column_chunks))
        # Weights in the chunks of the other way: aligning them is the package's work.
        weights = chunked(case.weights, (case.chunkings[0][0],))
        with run_under(name):
            answers.append(
                (
                    *seeds(rows, weights, case.n_clusters),
                    *fitted(rows, weights, case.n_clusters, init),
                )
            )
    with run_under("sync"):
        answers.append(
            (
                *seeds(case.rows, case.weights, case.n_clusters),
                *fitted(case.rows, case.weights, case.n_clusters, init),
            )
        )
    return answers


@pytest.mark.parametrize("init", INITS)
@given(
    case=strategies.rows_weights_and_two_chunkings(),
    schedulers=st.tuples(st.sampled_from(LOCAL), st.sampled_from(LOCAL)),
)
def test_answer_depends_neither_on_chunking_nor_on_scheduler(init, run_under, case, schedulers):
    first, second, in_memory = solve_both_ways(case, init, run_under, schedulers)
    assert_equal_to_the_bit(first, second)
    assert_equal_to_the_bit(first, in_memory)


@pytest.mark.parametrize("init", INITS)
@settings(max_examples=2)
@given(case=strategies.rows_weights_and_two_chunkings(min_rows=20))
def test_answer_is_that_of_processes_and_of_a_cluster(init, run_under, case):
    first, second, in_memory = solve_both_ways(case, init, run_under, ("processes", "cluster"))
    assert_equal_to_the_bit(first, second)
    assert_equal_to_the_bit(first, in_memory)


@given(
    case=strategies.rows_weights_and_two_chunkings(min_rows=30, max_rows=80),
    init=st.sampled_from(INITS),
)
def test_answer_from_a_sample_depends_neither_on_chunking_nor_on_scheduler(
    monkeypatch, run_under, case, init
):
    """Seeds come from a sample where the rows are many; here the sample is tiny instead."""
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_MIN_ROWS", 10)
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_ROWS_A_CLUSTER", 1)
    first, second, in_memory = solve_both_ways(case, init, run_under, ("sync", "threads-3"))
    assert_equal_to_the_bit(first, second)
    assert_equal_to_the_bit(first, in_memory)


def test_many_rows_from_a_sample(run_under, monkeypatch):
    """The keys of most rows are above the limit, so that only few of a block travel."""
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_MIN_ROWS", 50)
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_ROWS_A_CLUSTER", 1)
    rows = np.random.default_rng(0).normal(size=(20011, 5)).astype(np.float32)
    answers = []
    for chunks in ((20011, 5), (1999, 2), (777, 5)):
        with run_under("threads-3"):
            answers.append(fitted(da.from_array(rows, chunks=chunks), None, 7, "k-means++"))
    answers.append(fitted(rows, None, 7, "k-means++"))
    for other in answers[1:]:
        assert_equal_to_the_bit(answers[0], other)


@pytest.mark.parametrize("init", ["random", "k-means||"])
def test_restarts_have_one_answer(init, blobs):
    answers = [
        fitted(da.from_array(blobs, chunks=chunks), None, 7, init, n_init=4)
        for chunks in ((307, 5), (40, 2))
    ]
    assert_equal_to_the_bit(*answers)


def test_repeated_fit_is_the_same(scheduler, blobs):
    rows = da.from_array(blobs, chunks=(50, 5))
    assert_equal_to_the_bit(fitted(rows, None, 7, "k-means||"), fitted(rows, None, 7, "k-means||"))


def assert_nearly_same_model(one, other):
    np.testing.assert_allclose(one.cluster_centers_, other.cluster_centers_, rtol=1e-12, atol=1e-12)
    assert one.n_iter_ == other.n_iter_
    np.testing.assert_allclose(one.inertia_, other.inertia_, rtol=1e-12)


def test_given_centers_lead_to_one_answer_whatever_the_random_state():
    # Of more rows than the sample of the survey holds.
    rows = np.random.default_rng(3).normal(10, 1, (30_000, 6)).astype(np.float32)
    fits = [
        KMeans(20, init=rows[:20], n_init=1, max_iter=3, tol=0, random_state=state)
        for state in (None, None, 1, 2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        answers = [answer(model.fit(rows)) for model in fits]
    for other in answers[1:]:
        assert_equal_to_the_bit(answers[0], other)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), offset=st.sampled_from([0.0, 50.0]))
def test_weight_two_equals_row_twice(seed, offset):
    generator = np.random.default_rng(seed)
    rows = offset + generator.normal(size=(83, 5))
    counts = generator.integers(0, 4, 83)
    # scikit-learn's limit comes from the variance of the rows without their weights, and a row that
    # an empty cluster takes is one of two: compare where neither matters.
    counts[:7] = 1
    weighted = KMeans(7, init=rows[:7], tol=0).fit(rows, sample_weight=counts)
    repeated = KMeans(7, init=rows[:7], tol=0).fit(np.repeat(rows, counts, axis=0))
    np.testing.assert_array_equal(np.repeat(weighted.labels_, counts), repeated.labels_)
    assert_nearly_same_model(weighted, repeated)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), weighted=st.booleans())
def test_order_of_the_rows_does_not_matter(seed, weighted):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(83, 5))
    weights = generator.uniform(0, 2, 83) if weighted else None
    order = generator.permutation(83)
    straight = KMeans(7, init=rows[:7]).fit(rows, sample_weight=weights)
    permuted = KMeans(7, init=rows[:7]).fit(
        rows[order], sample_weight=weights[order] if weighted else None
    )
    np.testing.assert_array_equal(straight.labels_[order], permuted.labels_)
    assert_nearly_same_model(straight, permuted)


def test_weight_one_is_no_weight(blobs):
    init = blobs[:7]
    bare = KMeans(7, init=init).fit(blobs)
    for weights in (np.ones(len(blobs)), [1] * len(blobs), 1.0, da.ones(len(blobs), chunks=11)):
        model = KMeans(7, init=init).fit(blobs, sample_weight=weights)
        np.testing.assert_array_equal(model.labels_, bare.labels_)
        assert_nearly_same_model(model, bare)
