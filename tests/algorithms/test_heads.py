"""Fits that compare heads of rows give the answer of those that compute everything, to the bit."""

from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import daskmeans.algorithms.heads
from daskmeans import KMeans
from daskmeans.algorithms.heads import LARGEST_HEAD, PrincipalAxes
from daskmeans.blocks import row_state
from daskmeans.passes.runner import Runner
from tests.estimators.test_one_answer import answer, assert_equal_to_the_bit
from tests.estimators.test_parity import few_points_allowed
from tests.losing import EVERYTHING, losing_row_state


@pytest.fixture(autouse=True)
def any_amount_of_work(monkeypatch):
    """Compare heads also where few rows make it not worth it."""
    monkeypatch.setattr(daskmeans.algorithms.heads, "_LEAST_WORK", 0)


def embedded(n=1500, d=256, seed=3):
    """Rows (n, d) float32 whose variance falls off like that of embeddings."""
    generator = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(generator.normal(size=(d, d)))
    return (5 + (generator.normal(size=(n, d)) / np.arange(1, d + 1)) @ turn).astype(np.float32)


def fit(rows, algorithm="auto", weights=None, n_clusters=64, **options):
    options = {"init": np.asarray(rows[:n_clusters]), "tol": 0, "max_iter": 30, **options}
    with few_points_allowed():
        return KMeans(n_clusters, algorithm=algorithm, **options).fit(rows, sample_weight=weights)


def shares(model):
    return [record.distances_computed for record in model.history_]


def test_most_is_left_out_from_the_first_pass_on_and_nothing_changes():
    rows = embedded()
    everything, pruned = fit(rows, "lloyd"), fit(rows)
    assert_equal_to_the_bit(answer(everything), answer(pruned))
    # A head and finding it take a part of a row's 64 distances.
    assert shares(pruned)[0] < 0.9
    assert max(shares(pruned)[1:]) < 0.3
    assert [each.n_changed for each in everything.history_] == [
        each.n_changed for each in pruned.history_
    ]


@given(
    seed=st.integers(0, 2**31),
    d=st.sampled_from([256, 259, 400, 800]),
    kind=st.sampled_from(["embedded", "grid", "low rank", "constant columns", "duplicates"]),
    dtype=st.sampled_from([np.float32, np.float64, np.float16, np.uint8]),
    offset=st.sampled_from([0, 100]),
    weighted=st.booleans(),
)
def test_any_rows(seed, d, kind, dtype, offset, weighted):
    generator = np.random.default_rng(seed)
    n, k = int(generator.integers(70, 200)), int(generator.integers(32, 50))
    if kind == "embedded":
        rows = 30 * embedded(n, d, seed)
    elif kind == "grid":
        rows = np.repeat(generator.integers(0, 3, (n, 8)), -(-d // 8), axis=1)[:, :d]
    else:
        rows = generator.normal(size=(n, 5)) @ generator.normal(size=(5, d))
        rows += 0.1 * generator.normal(size=(n, d))
        if kind == "constant columns":
            rows[:, 10:] = 7
        elif kind == "duplicates":
            rows = rows[generator.integers(n // 2, size=n)]
    rows = (offset + 10 * (rows - rows.min())).clip(0, 250).astype(dtype)
    init = rows[generator.choice(n, k)] + 0.25
    weights = generator.integers(0, 3, n) + 0.5 * (np.arange(n) == 3) if weighted else None
    options = {"n_clusters": k, "init": init, "max_iter": 8}
    expected = answer(fit(rows, "lloyd", weights, **options))
    assert_equal_to_the_bit(answer(fit(rows, "auto", weights, **options)), expected)
    lazy = da.from_array(rows, chunks=(n // 3, d))
    assert_equal_to_the_bit(answer(fit(lazy, "auto", weights, **options)), expected)


def test_relocated_centers():
    rows = embedded()
    init = rows[:64].copy()
    init[50:] += 100
    pruned = fit(rows, init=init)
    assert sum(record.n_relocated for record in pruned.history_) == 14
    assert min(shares(pruned)) < 0.3
    assert_equal_to_the_bit(answer(pruned), answer(fit(rows, "lloyd", init=init)))


def test_every_scheduler(scheduler):
    rows = embedded()
    pruned = fit(da.from_array(rows, chunks=(400, 256)).persist())
    assert_equal_to_the_bit(answer(pruned), answer(fit(rows, "lloyd")))
    # Other processes keep nothing between passes; a cluster does where it holds the rows.
    assert (shares(pruned)[0] < 0.9) == (scheduler != "processes")


def test_restarts_have_heads_of_their_own():
    rows = embedded()
    options = {"init": "random", "n_init": 3, "random_state": 0}
    pruned = fit(rows, **options)
    assert max(shares(pruned)[1:]) < 0.3
    assert_equal_to_the_bit(answer(pruned), answer(fit(rows, "lloyd", **options)))


def test_what_is_lost_is_made_again():
    rows = embedded()
    with losing_row_state(n_blocks=4) as happened:
        model = fit(da.from_array(rows, chunks=(400, 256)))
    assert happened == EVERYTHING
    assert_equal_to_the_bit(answer(model), answer(fit(rows, "lloyd")))


def test_memory_decides_whether_heads_are_kept(monkeypatch):
    rows = embedded()
    needed = len(rows) * row_state.bytes_a_row(4, LARGEST_HEAD)
    for n_bytes, has_heads in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(Runner, "row_state_bytes", n_bytes)
        model = fit(rows)
        assert (shares(model)[0] < 1) == has_heads
        assert_equal_to_the_bit(answer(model), answer(fit(rows, "lloyd")))


@pytest.mark.parametrize("kind", ["uniform", "blobs"])
def test_rows_without_leading_axes_go_without_heads(kind):
    generator = np.random.default_rng(0)
    rows = generator.random((1500, 256), dtype=np.float32)
    if kind == "blobs":
        rows = generator.normal(size=(1500, 256)).astype(np.float32)
        rows += generator.normal(size=(64, 256)).astype(np.float32)[np.arange(1500) % 64] / 4
    model = fit(rows, max_iter=6)
    assert shares(model)[0] == 1
    assert_equal_to_the_bit(answer(model), answer(fit(rows, "lloyd", max_iter=6)))


def test_axes_travel_in_single_precision():
    narrow = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 32)))[0].astype(np.float32)
    axes = PrincipalAxes(narrow, np.zeros(300))
    assert axes.error < 1e-5
    sent = pickle.dumps(axes)
    assert len(sent) < 300 * 32 * 4 + 300 * 8 + 1000
    assert pickle.loads(sent).error == axes.error
