"""Passes over blocks that a cluster holds: a task a thread, the same bits, through lost workers."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from itertools import count, pairwise

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, SchedulerPlugin

from daskmeans import KMeans
from daskmeans.passes import resident
from daskmeans.passes.events import PassAdvanced, PassEnded, PassStarted, observing
from tests.counting import Tasks


@pytest.fixture(scope="module")
def rows():
    """Rows (6007, 5) around seven points, which take some passes to tell apart."""
    generator = np.random.default_rng(5)
    middles = generator.uniform(-4, 4, (7, 5))
    return middles[generator.integers(7, size=6007)] + 2 * generator.normal(size=(6007, 5))


def fit(X, **options):
    return KMeans(7, random_state=3, n_init=2, tol=0, max_iter=30, **options).fit(X)


@pytest.fixture(scope="module")
def expected(rows):
    with dask.config.set(scheduler="threads"):
        return fit(rows)


def assert_same(model, expected):
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    assert model.inertia_ == expected.inertia_
    assert model.n_iter_ == expected.n_iter_


@contextmanager
def fresh_cluster(n_workers=2, **options):
    """A cluster that may be harmed, with its client as the current one."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=None, **options
        ) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client


@pytest.mark.parametrize("n_blocks", [1, 3, 16, 700])
def test_same_bits_however_many_blocks(client, rows, expected, n_blocks):
    blocks = client.persist(da.from_array(rows, chunks=(-(-len(rows) // n_blocks), 5)))
    with dask.config.set(scheduler=client):
        model = fit(blocks)
        assert_same(model, expected)
        np.testing.assert_array_equal(client.compute(model.labels_).result(), expected.labels_)


def test_blocks_split_along_features(client, rows, expected):
    blocks = client.persist(da.from_array(rows, chunks=(900, 2)))
    with dask.config.set(scheduler=client):
        assert_same(fit(blocks), expected)


@pytest.mark.parametrize("lazily", [False, True])
def test_weights_go_where_the_blocks_are(client, rows, lazily):
    weights = np.random.default_rng(1).integers(0, 4, len(rows)).astype(float)
    model = KMeans(7, random_state=3).fit(rows, sample_weight=weights)
    blocks = client.persist(da.from_array(rows, chunks=(100, 5)))
    with dask.config.set(scheduler=client):
        given = da.from_array(weights, chunks=100) if lazily else weights
        assert_same(KMeans(7, random_state=3).fit(blocks, sample_weight=given), model)


def test_unknown_sizes(client, rows, expected):
    blocks = da.from_array(rows, chunks=(500, 5)).map_blocks(np.array)
    unknown = client.persist(blocks[da.ones(len(rows), chunks=500, dtype=bool)])
    with dask.config.set(scheduler=client):
        assert_same(fit(unknown), expected)


def test_blocks_of_mixed_dtype_in_one_group(client):
    """Blocks may come in another dtype than the array declares; joining them loses nothing."""

    def widened(block, block_info=None):
        (number, _) = block_info[0]["chunk-location"]
        # Two thirds of the blocks hold what float32 cannot.
        return block + 1e-9 if number % 3 else block.astype(np.float32)

    rows = da.from_array(np.random.default_rng(0).normal(size=(2000, 3)), chunks=(70, 3))
    mixed = rows.map_blocks(widened, dtype=np.float64, meta=np.empty((0, 0)))
    with dask.config.set(scheduler="threads"):
        model = KMeans(5, random_state=0).fit(mixed)
    blocks = client.persist(mixed)
    with dask.config.set(scheduler=client):
        assert_same(KMeans(5, random_state=0).fit(blocks), model)


def test_an_iteration_is_a_task_for_each_thread(rows):
    with fresh_cluster(processes=False) as (cluster, client):
        tasks = Tasks()
        cluster.scheduler.add_plugin(tasks)
        model = fit(client.persist(da.from_array(rows, chunks=(10, 5))))
    assert tasks.counts["kmeans-assign"] == 2 * model.n_iter_
    assert tasks.counts["kmeans-group"] == 2


def test_many_partials_are_merged_by_workers(rows, expected, monkeypatch):
    monkeypatch.setattr(resident, "_MOST_GATHERED", 1)
    with fresh_cluster(3, processes=False) as (cluster, client):
        tasks = Tasks()
        cluster.scheduler.add_plugin(tasks)
        assert_same(fit(client.persist(da.from_array(rows, chunks=(10, 5)))), expected)
    assert tasks.counts["kmeans-merge"] > 0


def test_large_parameters_are_sent_once(rows, expected, monkeypatch):
    monkeypatch.setattr(resident, "MOST_LITERAL_BYTES", 100)
    with fresh_cluster(processes=False) as (cluster, client):
        tasks = Tasks()
        cluster.scheduler.add_plugin(tasks)
        blocks = client.persist(da.from_array(rows, chunks=(10, 5)))
        passes = Counter()
        with observing(lambda event: passes.update([type(event)])):
            assert_same(fit(blocks), expected)
    assert tasks.counts["kmeans-parameters"] == passes[PassStarted]


@pytest.mark.parametrize("literal", [True, False])
@pytest.mark.parametrize("spoilt", [False, True])
def test_nothing_is_left_on_the_workers(rows, monkeypatch, spoilt, literal):
    if not literal:
        monkeypatch.setattr(resident, "MOST_LITERAL_BYTES", 100)
    with fresh_cluster(processes=False) as (cluster, client):
        given = rows.copy()
        given[3000, 2] = np.nan if spoilt else 0.0
        blocks = client.persist(da.from_array(given, chunks=(100, 5)))
        if spoilt:
            with pytest.raises(ValueError, match="NaN"):
                fit(blocks)
        else:
            fit(blocks)
        deadline = time.monotonic() + 30
        while left := [key for key in cluster.scheduler.tasks if "kmeans" in str(key)]:
            assert time.monotonic() < deadline, left
            gc.collect()  # tracebacks and what they hold are cycles
            time.sleep(0.05)


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
def test_blocks_that_are_joined_otherwise_are_other_rows(rows, monkeypatch, algorithm):
    """What is remembered of rows must not be taken for that of others of the same first block."""
    turns = count()

    def dealt(sizes, holders, threads):
        n_blocks, (one, other) = len(sizes), threads
        if next(turns) % 2:
            halves = range(n_blocks // 2), range(n_blocks // 2, n_blocks)
        else:
            halves = range(0, n_blocks, 2), range(1, n_blocks, 2)
        return [(one, tuple(halves[0])), (other, tuple(halves[1]))]

    monkeypatch.setattr(resident, "placed_groups", dealt)
    # As if workers had come and gone between any two passes.
    grouped_for = property(lambda self: None, lambda self, threads: None)
    monkeypatch.setattr(resident.ResidentBlocks, "_grouped_for", grouped_for, raising=False)
    given = rows[:6000]
    expected = KMeans(40, random_state=3, algorithm=algorithm).fit(given)
    with fresh_cluster(processes=False) as (_, client):
        blocks = client.persist(da.from_array(given, chunks=(100, 5)))
        model = KMeans(40, random_state=3, algorithm=algorithm).fit(blocks)
    assert_same(model, expected)
    assert next(turns) > 3


def killing(client, when, seed):
    """Observer that kills a worker a random moment after an event's first time."""
    draws = random.Random(seed)
    victim = draws.choice(sorted(client.run(os.getpid).values()))
    done = threading.Event()

    def observe(event):
        if not done.is_set() and when(event):
            done.set()
            delay = draws.uniform(0, 0.02)
            threading.Timer(delay, os.kill, (victim, signal.SIGKILL)).start()

    return observe, done


@pytest.mark.parametrize(
    ("seed", "when"),
    [
        pytest.param(0, lambda event: isinstance(event, PassStarted), id="in the first pass"),
        pytest.param(
            1,
            lambda event: isinstance(event, PassStarted) and event.name == "kmeans-assign",
            id="in an iteration",
        ),
        pytest.param(
            2,
            lambda event: isinstance(event, PassEnded) and event.name == "kmeans-assign",
            id="between iterations",
        ),
    ],
)
def test_killed_worker_changes_nothing(rows, expected, seed, when):
    with fresh_cluster() as (_, client):
        blocks = client.persist(da.from_array(rows, chunks=(50, 5)))
        observe, done = killing(client, when, seed)
        told = []
        with observing(observe), observing(told.append, every=0.0):
            model = fit(blocks)
        assert done.is_set()
        assert_same(model, expected)
        # Blocks that are done once more are not told of again.
        for before, after in pairwise(told):
            if isinstance(before, PassAdvanced) and isinstance(after, PassAdvanced):
                assert before.rows_done < after.rows_done <= len(rows)
        np.testing.assert_array_equal(client.compute(model.labels_).result(), expected.labels_)


def test_worker_killed_while_rows_are_labelled(rows, expected):
    def slowly(block):
        time.sleep(0.05)
        return block

    with fresh_cluster() as (_, client):
        blocks = da.from_array(rows, chunks=(200, 5)).map_blocks(slowly, dtype=rows.dtype)
        future = client.compute(expected.predict(blocks))
        time.sleep(0.5)
        assert not future.done()
        os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)
        np.testing.assert_array_equal(future.result(timeout=60), expected.labels_)


def test_workers_that_join_take_part(rows, expected):
    seen = []
    with fresh_cluster(1, processes=False) as (cluster, client):
        tasks = Tasks()
        cluster.scheduler.add_plugin(tasks)

        def observe(event):
            if isinstance(event, PassEnded) and event.name == "kmeans-assign":
                seen.append(tasks.counts["kmeans-assign"])
                if len(seen) == 2:
                    cluster.scale(3)
                    client.wait_for_workers(3)

        with observing(observe):
            model = fit(client.persist(da.from_array(rows, chunks=(50, 5))))
    assert_same(model, expected)
    # The pass after they joined finds out.
    assert np.diff([0, *seen]).tolist() == [1, 1, 1] + [3] * (len(seen) - 3)


def test_workers_that_retire_are_not_missed(rows, expected):
    with fresh_cluster(3, processes=False) as (_, client):
        ended = Counter()

        def observe(event):
            ended.update([type(event)])
            if isinstance(event, PassEnded) and ended[PassEnded] == 3:
                client.retire_workers(sorted(client.nthreads())[:2])

        with observing(observe):
            assert_same(fit(client.persist(da.from_array(rows, chunks=(50, 5)))), expected)


def test_fits_at_once_do_not_mix(client, rows, expected):
    blocks = client.persist(da.from_array(rows, chunks=(200, 5)))
    other = KMeans(4, random_state=8).fit(rows)
    found = {}

    def run(name, fitting):
        found[name] = fitting()

    threads = [
        threading.Thread(target=run, args=("first", lambda: fit(blocks))),
        threading.Thread(target=run, args=("other", lambda: KMeans(4, random_state=8).fit(blocks))),
        threading.Thread(target=run, args=("again", lambda: fit(blocks))),
    ]
    with dask.config.set(scheduler=client):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert_same(found["first"], expected)
    assert_same(found["other"], other)
    assert_same(found["again"], expected)


def test_annotations_of_the_user_are_respected(rows, expected):
    with fresh_cluster(processes=False, resources={"gpu": 1}) as (cluster, client):
        wanted = {
            "priority": 7,
            "retries": 2,
            "resources": {"gpu": 1},
            "workers": sorted(client.nthreads())[:1],
        }
        seen = []

        class Annotations(SchedulerPlugin):
            def transition(self, key, start, finish, *args, **kwargs):
                if finish == "processing" and "kmeans-assign" in str(key):
                    task = cluster.scheduler.tasks[key]
                    found = task.annotations or {}
                    told = {name: found.get(name) for name in wanted}
                    seen.append((told, task.processing_on.address))

        cluster.scheduler.add_plugin(Annotations())
        blocks = client.persist(da.from_array(rows, chunks=(200, 5)))
        with dask.annotate(**wanted):
            assert_same(fit(blocks), expected)
    assert seen
    assert all(each == (wanted, wanted["workers"][0]) for each in seen)
