"""How far a pass is: told on every scheduler, never backwards, and free where nobody asks."""

from __future__ import annotations

import itertools
import threading
import time
from types import SimpleNamespace

import dask
import dask.array as da
import numpy as np
import pytest
from dask.callbacks import Callback
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from daskmeans import KMeans, MiniBatchKMeans
from daskmeans.blocks.chains import unchained
from daskmeans.blocks.inputs import row_source
from daskmeans.errors import RowsError
from daskmeans.passes import tally as tally_module
from daskmeans.passes.events import (
    IterationEnded,
    IterationStarted,
    PassAdvanced,
    PassEnded,
    PassStarted,
    SeedingStarted,
    observing,
)
from daskmeans.passes.tally import Tally
from tests.counting import CountedRows, Tasks

N_ROWS, N_BLOCKS = 607, 13


@pytest.fixture(scope="module")
def rows():
    """Rows (607, 3) around four points."""
    generator = np.random.default_rng(3)
    middles = generator.uniform(-9, 9, (4, 3))
    return middles[generator.integers(4, size=N_ROWS)] + generator.normal(size=(N_ROWS, 3))


def lazy(rows):
    """Blocks of 50 rows that a task reads by itself; the last one has 7."""
    return da.from_array(rows, chunks=(50, 3)).map_blocks(np.array)


def shared(rows):
    """Blocks of tasks that share others, which only a graph can make."""
    blocks = da.from_array(CountedRows(rows), chunks=(70, 3)).rechunk((50, 3))
    assert unchained(row_source(blocks)) is None
    return blocks


def unknown(rows):
    """Blocks of unknown sizes."""
    return lazy(rows)[da.ones(len(rows), chunks=50, dtype=bool)]


def fit(X, **options):
    options = {"persist": False, "max_iter": 3, "tol": 0} | options
    return KMeans(4, random_state=0, **options).fit(X)


def told(work, every=0.0):
    """The events of some work, and what it returns."""
    events = []
    with observing(events.append, every=every):
        result = work()
    return events, result


def by_pass(events):
    """What was told inside of each pass, between its beginning and its end."""
    passes = []
    for event in events:
        if isinstance(event, PassStarted):
            passes.append((event, []))
        elif isinstance(event, PassAdvanced):
            passes[-1][1].append(event)
    return passes


def assert_rises_to_one(advances, n_blocks=N_BLOCKS):
    fractions = [each.fraction for each in advances]
    assert fractions == sorted(set(fractions)), fractions
    assert fractions[0] > 0
    assert fractions[-1] == 1
    assert advances[-1].blocks_done == advances[-1].n_blocks == n_blocks
    seconds = [each.seconds for each in advances]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("make", [lazy, shared, unknown])
def test_each_pass_tells_of_all_its_rows(scheduler, rows, make):
    expected = fit(make(rows))
    events, model = told(lambda: fit(make(rows)))
    passes = by_pass(events)
    assert len(passes) == model.n_passes_
    for started, advances in passes:
        assert {each.name for each in advances} == {started.name}
        assert_rises_to_one(advances)
    known = passes[1:] if make is unknown else passes
    assert sum(advances[-1].rows_done for _, advances in known) == N_ROWS * len(known)
    assert sum(advances[-1].bytes_done for _, advances in known) == rows.nbytes * len(known)
    if make is unknown:
        # Nobody knows of how many rows, until they have been counted in it.
        assert passes[0][1][-1].rows_done is None
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    np.testing.assert_array_equal(np.asarray(model.labels_), np.asarray(expected.labels_))
    assert model.inertia_ == expected.inertia_


@pytest.mark.parametrize("make", [lazy, shared])
def test_each_block_is_told_of_where_one_is_done_after_the_other(run_under, rows, make):
    with run_under("sync"):
        events, _ = told(lambda: fit(make(rows)))
    passes = by_pass(events)
    assert passes
    for _, advances in passes:
        assert [each.blocks_done for each in advances] == list(range(1, N_BLOCKS + 1))
        sizes = np.diff([0, *(each.rows_done for each in advances)])
        assert sorted(sizes) == [7] + [50] * 12


@pytest.mark.parametrize("name", ["threads-3", "processes", "cluster"])
def test_something_is_told_before_all_is_done(run_under, rows, tmp_path, name):
    """A task that takes long is not alone: the other thread or process tells of its own."""
    something = tmp_path / "told"
    events = []

    def observe(event):
        events.append(event)
        if isinstance(event, PassStarted):
            something.unlink(missing_ok=True)
        elif isinstance(event, PassAdvanced):
            something.touch()

    def wait_until_told(block, block_info=None):
        if block_info[None]["chunk-location"][0] == N_BLOCKS - 1:
            give_up = time.monotonic() + 60
            while not something.exists() and time.monotonic() < give_up:
                time.sleep(0.01)
        return block

    slow = lazy(rows).map_blocks(wait_until_told, dtype=float, meta=np.empty((0, 0)))
    with run_under(name), observing(observe, every=0.0):
        model = fit(slow, max_iter=1)
    assert [len(advances) > 1 for _, advances in by_pass(events)] == [True] * model.n_passes_


def test_rows_that_a_cluster_reads_into_its_memory(client, rows):
    with dask.config.set(scheduler=client):
        events, _ = told(lambda: fit(lazy(rows), persist=True))
    for _, advances in by_pass(events):
        assert_rises_to_one(advances)


def test_rows_that_are_read_into_memory_before_the_first_pass(run_under, rows):
    with run_under("threads-1"):
        events, _ = told(lambda: fit(shared(rows), persist=True))
    first = list(itertools.takewhile(lambda event: isinstance(event, PassAdvanced), events))
    assert {event.name for event in first} == {"kmeans-rows"}
    assert_rises_to_one(first)
    assert len(first) == N_BLOCKS


def test_quick_pass_tells_nothing(scheduler, rows):
    events, _ = told(lambda: fit(lazy(rows)), every=3600.0)
    assert not any(isinstance(event, PassAdvanced) for event in events)
    assert any(isinstance(event, PassEnded) for event in events)


def test_blocks_are_not_counted_where_nobody_asks(run_under, rows, monkeypatch):
    def fail(*args):
        raise AssertionError("something was counted")

    monkeypatch.setattr(Tally, "__init__", fail)
    events = []
    with observing(events.append):
        for name in ("sync", "threads-3", "processes", "cluster"):
            with run_under(name):
                fit(lazy(rows))
                fit(shared(rows))
                MiniBatchKMeans(4, random_state=0, max_iter=1).fit(lazy(rows))
        MiniBatchKMeans(4, random_state=0, max_iter=1).fit(rows)
    assert not any(isinstance(event, PassAdvanced) for event in events)


def test_each_observer_is_told_what_it_asked_for(run_under, rows):
    passes, everything = [], []
    with run_under("sync"), observing(passes.append), observing(everything.append, every=0.0):
        fit(lazy(rows))
    inside = [event for event in everything if isinstance(event, PassAdvanced)]
    assert inside
    assert passes == [event for event in everything if event not in inside]


@pytest.mark.parametrize("make", [lazy, shared])
def test_error_ends_what_is_told(scheduler, rows, make):
    spoilt = rows.copy()
    spoilt[400, 1] = np.nan
    events = []
    with observing(events.append, every=0.0), pytest.raises(RowsError, match="NaN"):
        fit(make(spoilt))
    assert all(event.fraction < 1 for event in events if isinstance(event, PassAdvanced))
    assert not any(isinstance(event, PassEnded) for event in events)


def test_callbacks_of_the_user_are_called_too(run_under, rows):
    done = []

    class Mine(Callback):
        def _posttask(self, key, *_):
            done.append(key)

    with run_under("threads-1"), Mine():
        before = set(Callback.active)
        events, _ = told(lambda: fit(shared(rows)))
        assert Callback.active == before
    for _, advances in by_pass(events):
        assert_rises_to_one(advances)
    assert len([key for key in done if key[0].startswith("kmeans-survey")]) == N_BLOCKS


@pytest.fixture(scope="module")
def cluster():
    """Two workers in this process, with their client as the current one."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
        dask.config.set(scheduler=client),
    ):
        yield cluster, client


class TestCluster:
    """What a scheduler has to do for it: nothing where nobody asks, and no task in any case."""

    def messages(self, client):
        """What workers have sent for a client so far."""
        return len(client.get_events(f"daskmeans-{client.id}"))

    @pytest.mark.parametrize("persist", [False, True])
    def test_there_are_no_more_tasks(self, cluster, rows, persist):
        found = []
        for every in (None, 0.0):
            tasks = Tasks()
            cluster[0].scheduler.add_plugin(tasks, name=f"tasks-{persist}-{every}")
            told(lambda: fit(lazy(rows), persist=persist), every=every)
            found.append({name: n for name, n in tasks.counts.items() if "kmeans" in name})
        assert found[0] == found[1]
        assert sum(found[0].values()) > 0

    def test_workers_send_no_more_than_was_asked_for(self, cluster, rows):
        _, client = cluster
        before = self.messages(client)
        for every in (None, 3600.0):
            told(lambda every=every: fit(lazy(rows)), every=every)
        assert self.messages(client) == before
        _, model = told(lambda: fit(lazy(rows)))
        assert 0 < self.messages(client) - before <= N_BLOCKS * model.n_passes_

    def test_fits_at_once_do_not_mix(self, cluster, rows):
        found = {}

        def run(name, part):
            found[name] = told(lambda: fit(lazy(part)))[0]

        parts = {"all": rows, "some": rows[:350]}
        threads = [threading.Thread(target=run, args=each) for each in parts.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        for name, part in parts.items():
            for _, advances in by_pass(found[name]):
                assert_rises_to_one(advances, -(-len(part) // 50))
                assert advances[-1].rows_done == len(part)


class TestStages:
    """Where a fit is, beside its passes."""

    def test_seeding_and_iterations_are_announced(self, rows):
        events, model = told(lambda: fit(rows, n_init=2))
        kinds = [type(event) for event in events]
        survey = events.index(next(e for e in events if isinstance(e, PassEnded)))
        assert kinds[survey + 1 : survey + 3] == [SeedingStarted, SeedingStarted]
        assert kinds[survey + 3] is IterationStarted
        started = [event for event in events if isinstance(event, IterationStarted)]
        ended = [event for event in events if isinstance(event, IterationEnded)]
        assert [event.iteration for event in started] == [event.iteration for event in ended]
        assert {event.max_iter for event in started} == {3}
        assert len(started) == max(3, model.n_iter_)

    def test_resumed_fit_counts_on(self, rows, tmp_path):
        path = tmp_path / "checkpoint"
        KMeans(4, random_state=0, init="random", max_iter=9, tol=0).fit(
            rows, checkpoint=path, callback=lambda state: state.iteration == 2
        )
        events, _ = told(lambda: KMeans.resume(path, rows))
        first = next(event for event in events if isinstance(event, IterationStarted))
        assert first == IterationStarted(3, 9)

    @pytest.mark.parametrize("in_memory", [False, True])
    def test_epochs_of_mini_batches(self, run_under, rows, in_memory):
        def fit():
            model = MiniBatchKMeans(
                4, random_state=0, max_iter=3, batch_size=50, tol=0, max_no_improvement=None
            )
            return model.fit(rows if in_memory else lazy(rows))

        with run_under("threads-3"):
            expected = fit()
            events, model = told(fit)
        np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
        epochs = []
        for event in events:
            if isinstance(event, IterationStarted):
                epochs.append((event, []))
            elif isinstance(event, PassAdvanced) and event.name == "kmeans-batches":
                epochs[-1][1].append(event)
        assert [event for event, _ in epochs] == [IterationStarted(n, 3) for n in (1, 2, 3)]
        for _, advances in epochs:
            assert_rises_to_one(advances)
            assert advances[-1].rows_done == N_ROWS
            assert advances[-1].bytes_done == rows.nbytes

    def test_rows_for_seeding_are_told_of_as_they_are_read(self, rows):
        events, _ = told(lambda: MiniBatchKMeans(4, random_state=0).fit(lazy(rows)))
        first = list(itertools.takewhile(lambda event: isinstance(event, PassAdvanced), events))
        assert {event.name for event in first} == {"kmeans-seed"}
        assert [event.blocks_done for event in first[:4]] == [1, 2, 3, 4]
        assert first[3].fraction == 1


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    data=st.data(),
)
def test_any_order_and_repetition_gives_the_same_end(sizes, data):
    """Blocks of a worker that was lost are done twice."""
    numbers = st.integers(0, len(sizes) - 1)
    messages = data.draw(st.lists(st.lists(numbers, max_size=5), max_size=20))

    def work():
        tally = Tally.of_parts("some", len(sizes), sizes, 100 * sum(sizes))
        for message in messages:
            tally(message)
        tally.finish()

    advances, _ = told(work)
    blocks = [each.blocks_done for each in advances]
    assert blocks == sorted(set(blocks))
    assert [each.rows_done for each in advances] == sorted(each.rows_done for each in advances)
    last = advances[-1]
    assert (last.blocks_done, last.rows_done) == (len(sizes), sum(sizes))
    assert last.bytes_done == 100 * sum(sizes)


def test_no_more_is_told_than_was_asked_for(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tally_module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def work():
        tally = Tally.of_parts("some", 100)
        for number in range(95):
            now[0] += 0.125
            tally((number,))
        tally.finish()

    advances, _ = told(work, every=1.0)
    assert len(advances) == 12
    assert [each.seconds for each in advances[:-1]] == list(range(1, 12))
    assert advances[-1].fraction == 1


def test_other_threads_count_and_one_tells(rows):
    """A notebook's widgets, and what an observer keeps, belong to the thread that runs the fit."""
    threads = set()
    with (
        dask.config.set(scheduler="threads", num_workers=3),
        observing(lambda event: threads.add(threading.get_ident()), every=0.0),
    ):
        fit(lazy(rows))
        fit(shared(rows))
    assert threads == {threading.get_ident()}
