"""Fits that leave out distances give the answer of those that compute all, to the bit."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import daskmeans.algorithms.restarts
from daskmeans import KMeans
from daskmeans.blocks import row_state
from daskmeans.passes.runner import Runner
from tests import strategies
from tests.estimators.test_one_answer import answer, assert_equal_to_the_bit
from tests.estimators.test_parity import few_points_allowed
from tests.losing import EVERYTHING, losing_row_state


@pytest.fixture(autouse=True, scope="module")
def bounds_from_the_first_pass():
    """Keep bounds from the first pass on, to meet many changes of labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daskmeans.algorithms.restarts, "_MOST_WORK_FOR_LATER", 0)
        yield


@pytest.fixture
def clusters():
    """Rows (3000, 24) float32 around 40 overlapping middles."""
    generator = np.random.default_rng(3)
    middles = generator.normal(size=(40, 24))
    noise = 0.6 * generator.normal(size=(3000, 24))
    return (5 + middles[generator.integers(40, size=3000)] + noise).astype(np.float32)


def fit(rows, algorithm="auto", weights=None, n_clusters=40, **options):
    options = {"init": np.asarray(rows[:n_clusters]), "tol": 0, "max_iter": 60, **options}
    with few_points_allowed():
        return KMeans(n_clusters, algorithm=algorithm, **options).fit(rows, sample_weight=weights)


def test_auto_leaves_out_most_and_changes_nothing(clusters):
    everything, pruned = fit(clusters, "lloyd"), fit(clusters)
    assert_equal_to_the_bit(answer(everything), answer(pruned))
    assert {record.distances_computed for record in everything.history_} == {1.0}
    assert pruned.history_[0].distances_computed == 1
    assert pruned.history_[-1].distances_computed < 0.2
    assert_equal_to_the_bit(answer(fit(clusters, "elkan")), answer(pruned))


def test_little_work_a_row_keeps_no_bounds_until_few_rows_change(clusters, monkeypatch):
    monkeypatch.setattr(daskmeans.algorithms.restarts, "_MOST_WORK_FOR_LATER", 40 * 24 + 1)
    pruned = fit(clusters)
    few = next(i for i, record in enumerate(pruned.history_) if record.n_changed <= 30)
    assert few > 2
    assert {record.distances_computed for record in pruned.history_[: few + 2]} == {1.0}
    assert pruned.history_[few + 2].distances_computed < 0.5
    assert_equal_to_the_bit(answer(pruned), answer(fit(clusters, "lloyd")))


@pytest.mark.parametrize("algorithm", ["auto", "lloyd"])
def test_changed_labels_are_counted(clusters, algorithm):
    centers, before = clusters[:40].astype(np.float64), None
    model = fit(clusters, algorithm)
    for record in model.history_:
        step = KMeans(40, init=centers, max_iter=1).fit(clusters)
        new, step.cluster_centers_ = step.cluster_centers_, centers
        labels = step.predict(clusters)
        changed = len(clusters) if before is None else int((labels != before).sum())
        assert record.n_changed == changed
        centers, before = new, labels
    assert model.history_[-1].n_changed == 0


@given(case=strategies.rows_weights_and_two_chunkings(min_rows=8), seed=st.integers(0, 99))
def test_any_rows(case, seed):
    """Few rows of few features: bounds are kept where no user would, to meet ties and jumps."""
    generator = np.random.default_rng(seed)
    k = int(generator.integers(2, min(20, len(case.rows))))
    init = case.rows[generator.choice(len(case.rows), k)] + 0.25
    with pytest.MonkeyPatch.context() as patch:
        expected = answer(fit(case.rows, "lloyd", case.weights, k, init=init, max_iter=12))
        patch.setattr(daskmeans.algorithms.restarts, "_LEAST_WORK", 0)
        found = answer(fit(case.rows, "auto", case.weights, k, init=init, max_iter=12))
        lazy = da.from_array(case.rows, chunks=case.chunkings[0])
        chunked = answer(fit(lazy, "auto", case.weights, k, init=init, max_iter=12))
    assert_equal_to_the_bit(found, expected)
    assert_equal_to_the_bit(chunked, expected)


def test_relocated_centers(clusters):
    """Centers far away attract nothing, and jump to far rows while bounds are kept."""
    init = clusters[:40].copy()
    init[30:] += 100
    pruned = fit(clusters, init=init)
    assert sum(record.n_relocated for record in pruned.history_) == 10
    assert_equal_to_the_bit(answer(pruned), answer(fit(clusters, "lloyd", init=init)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, ">f8", np.float64])
def test_every_dtype(clusters, dtype):
    rows = (20 * clusters).clip(0, 250).astype(dtype)
    assert_equal_to_the_bit(answer(fit(rows)), answer(fit(rows, "lloyd")))


def test_restarts_share_passes(clusters):
    options = {"init": "random", "n_init": 3, "random_state": 0}
    pruned = fit(clusters, **options)
    assert pruned.history_[-1].distances_computed < 0.3
    assert_equal_to_the_bit(answer(pruned), answer(fit(clusters, "lloyd", **options)))


def test_every_scheduler(clusters, scheduler):
    pruned = fit(da.from_array(clusters, chunks=(700, 24)).persist())
    assert_equal_to_the_bit(answer(pruned), answer(fit(clusters, "lloyd")))
    # Other processes keep nothing between passes; a cluster does where it holds the rows.
    remembers = scheduler != "processes"
    assert (pruned.history_[-1].n_changed is not None) == remembers
    assert (pruned.history_[-1].distances_computed < 0.3) == remembers


def test_rows_that_a_cluster_reads_anew_are_not_remembered(clusters, run_under):
    with run_under("cluster"):
        model = fit(da.from_array(clusters, chunks=(700, 24)), persist=False)
    assert model.history_[-1].n_changed is None
    assert_equal_to_the_bit(answer(model), answer(fit(clusters, "lloyd")))


def test_rows_in_memory_go_to_a_cluster_and_are_remembered_there(clusters, run_under):
    with run_under("cluster"):
        model = fit(clusters)
    assert model.history_[-1].n_changed == 0
    assert_equal_to_the_bit(answer(model), answer(fit(clusters, "lloyd")))


@pytest.mark.parametrize("algorithm", ["auto", "lloyd"])
def test_what_is_lost_is_made_again(clusters, algorithm):
    """As when a worker dies: now all of it is lost, now a part, now a task stopped halfway."""
    expected = answer(fit(clusters, "lloyd"))
    with losing_row_state(n_blocks=5) as happened:
        model = fit(da.from_array(clusters, chunks=(700, 24)), algorithm)
    assert happened == EVERYTHING
    assert_equal_to_the_bit(answer(model), expected)


def test_nothing_stays_behind(clusters):
    before = len(row_state._remembered)
    fit(clusters)
    fit(da.from_array(clusters, chunks=(700, 24)), init="random", n_init=2, random_state=0)
    KMeans(3, init="k-means||", random_state=0, max_iter=3).fit(clusters)
    assert len(row_state._remembered) == before


def test_memory_decides_what_is_kept(clusters, monkeypatch):
    expected = answer(fit(clusters, "lloyd"))
    n_groups = 3
    for n_bytes, remembers, prunes in (
        (3000 * row_state.bytes_a_row(n_groups), True, True),
        (3000 * row_state.bytes_a_row(n_groups) - 1, True, False),
        (3000 * 4 - 1, False, False),
    ):
        monkeypatch.setattr(Runner, "row_state_bytes", n_bytes)
        model = fit(clusters)
        assert (model.history_[-1].n_changed is not None) == remembers
        assert (model.history_[-1].distances_computed < 1) == prunes
        assert_equal_to_the_bit(answer(model), expected)


def test_uniform_rows_rest_from_looking():
    """Where bounds rule nothing out, few passes look at them, and little is measured twice."""
    rows = np.random.default_rng(0).random((2000, 64), dtype=np.float32)
    model = fit(rows, max_iter=8)
    assert max(record.distances_computed for record in model.history_) < 1.1
    assert_equal_to_the_bit(answer(model), answer(fit(rows, "lloyd", max_iter=8)))
