"""A pass as tasks: how many, what they read, what reaches the driver, on which scheduler."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import daskmeans
from daskmeans import KMeans
from daskmeans.blocks.inputs import row_source
from daskmeans.blocks.weights import with_weights
from daskmeans.passes.events import IterationEnded, PassEnded, PassStarted, observing
from daskmeans.passes.plan import Pass, merge_tree
from daskmeans.passes.runner import Runner
from tests.counting import CountedRows


@dataclass(frozen=True)
class Blocks:
    """Partial that remembers each block: (number, start, rows, sum, weights)."""

    seen: tuple

    @classmethod
    def combine(cls, partials):
        return cls(tuple(block for partial in partials for block in partial.seen))


def describe(block, parameters):
    weights = None if block.weights is None else float(block.weights.sum())
    return Blocks(((block.number, block.start, len(block), float(block.rows.sum()), weights),))


DESCRIBE = Pass("describe", describe, None)


@given(n_leaves=st.integers(1, 5000), split_every=st.integers(2, 16))
def test_merge_tree_takes_every_partial_once_and_in_order(n_leaves, split_every):
    width = n_leaves
    for level in merge_tree(n_leaves, split_every):
        assert [child for node in level for child in node] == list(range(width))
        assert all(1 <= len(node) <= split_every for node in level)
        width = len(level)
    assert width == 1


def test_merge_tree_is_low():
    assert len(merge_tree(1)) == 1
    assert len(merge_tree(8)) == 1
    assert len(merge_tree(9)) == 2
    assert len(merge_tree(1000)) == 4


def needed_tasks(graph, key):
    """What a scheduler runs for a key."""
    needed, waiting = set(), [key]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(graph[name].dependencies)
    return needed


def lazily_read(n_blocks):
    return da.from_array(
        CountedRows(np.ones((5 * n_blocks, 3))), chunks=(5, 3), name=False, inline_array=True
    )


@pytest.mark.parametrize(("n_blocks", "n_walks"), [(1, 1), (7, 7), (24, 24), (100, 24), (999, 24)])
@pytest.mark.parametrize("weighted", [False, True])
def test_tasks_are_in_proportion_to_the_threads(run_under, n_blocks, n_walks, weighted):
    """Eight for each of three threads, each of which reads, checks and computes several blocks."""
    source = row_source(lazily_read(n_blocks))
    if weighted:
        source = with_weights(source, np.ones(5 * n_blocks))
    with run_under("threads-3"):
        graph, key = Runner(source).graph(DESCRIBE)
    assert len(needed_tasks(graph, key)) == n_walks + sum(map(len, merge_tree(n_walks)))


def test_work_that_blocks_share_is_given_a_task_a_block():
    rows = lazily_read(20)
    graph, key = Runner(row_source(rows.rechunk((10, 3)))).graph(DESCRIBE)
    names = [name[0].partition("-")[0] for name in needed_tasks(graph, key)]
    assert names.count("describe") == 10


def test_names_tell_what_runs():
    """What a reader of the dashboard sees."""
    graph, _ = Runner(row_source(da.ones((20, 3), chunks=(5, 3)))).graph(DESCRIBE)
    names = {key[0].rpartition("-")[0].rpartition("-")[0] for key in graph if key[0][0] in "dk"}
    assert {name for name in names if not name.startswith("ones")} == {"describe", "kmeans-merge"}


def test_tasks_of_two_passes_have_names_of_their_own():
    """A scheduler that remembers the first one's result must not hand it out again."""
    runner = Runner(row_source(da.ones((20, 3), chunks=(5, 3))))
    (first, key), (second, other) = runner.graph(DESCRIBE), runner.graph(DESCRIBE)
    assert key != other
    own = {name for name in first if name[0].startswith(("describe", "kmeans-merge"))}
    assert not own & set(second)


def test_every_block_is_seen_once(scheduler):
    values = np.arange(53 * 3.0).reshape(53, 3)
    rows = da.from_array(values, chunks=((10, 0, 23, 20), (2, 1)))
    source = with_weights(row_source(rows), da.ones(53, chunks=7))
    seen = sorted(Runner(source)(DESCRIBE).seen)
    expected = []
    for number, (start, stop) in enumerate([(0, 10), (10, 10), (10, 33), (33, 53)]):
        part = values[start:stop]
        expected.append((number, start, len(part), float(part.sum()), float(len(part))))
    assert seen == expected


@pytest.mark.parametrize("name", ["sync", "threads-3"])
def test_block_is_read_once_a_pass_and_not_before(run_under, name):
    rows = CountedRows(np.ones((50, 3)))
    with run_under(name):
        runner = Runner(row_source(da.from_array(rows, chunks=(10, 3), name=False)))
        assert rows.reads == []
        for n_passes in (1, 2):
            runner(DESCRIBE)
            assert len(rows.reads) == 5 * n_passes


def test_events_tell_of_passes_and_iterations(blobs):
    events = []
    with observing(events.append):
        model = KMeans(7, init=blobs[:7]).fit(da.from_array(blobs, chunks=(50, 5)))
    started = [event for event in events if isinstance(event, PassStarted)]
    ended = [event for event in events if isinstance(event, PassEnded)]
    iterations = [event for event in events if isinstance(event, IterationEnded)]
    assert [event.name for event in started] == [event.name for event in ended]
    assert all(event.n_blocks == 7 and event.seconds > 0 for event in ended)
    assert [event.iteration for event in iterations] == list(range(1, model.n_iter_ + 1))
    assert [event.inertia for event in iterations] == [r.inertia for r in model.history_]
    assert iterations[-1].n_running == 0


def test_observers_are_told_only_inside_of_their_context(blobs):
    events = []
    with observing(events.append):
        pass
    KMeans(7, init=blobs[:7]).fit(blobs)
    assert events == []


def test_nothing_larger_than_a_block_is_gathered(client, run_under):
    """What tasks bring back to this process, of 2,000 rows in blocks of 100."""
    rows = da.random.default_rng(0).normal(size=(2000, 50), chunks=(100, 50))
    received = []

    def get(graph, key, **options):
        result = client.get(graph, key, **options)
        received.append(len(pickle.dumps(result)))
        return result

    block_bytes = 100 * 50 * 8
    with dask.config.set(scheduler=get):
        KMeans(5, init=np.eye(5, 50), max_iter=3).fit(rows)
    # The survey also brings the sample, which is for seeding and bounded by its own size.
    assert all(size < block_bytes for size in received[1:])
    assert len(received) >= 4


def test_fit_inside_of_a_task_of_a_cluster(client, blobs):
    """As dask.delayed or joblib would call it."""
    expected = KMeans(7, init=blobs[:7]).fit(blobs)

    def fit(rows):
        return KMeans(7, init=rows[:7]).fit(rows)

    model = client.submit(fit, blobs).result(timeout=60)
    assert (model.cluster_centers_ == expected.cluster_centers_).all()


def test_fit_inside_of_a_task_of_the_only_worker(blobs):
    """Its passes run where it runs itself: it must not hold the thread that they need."""
    expected = KMeans(7, init=blobs[:7]).fit(blobs)

    def fit(rows):
        return [KMeans(7, init=rows[:7]).fit(rows).cluster_centers_ for _ in range(2)]

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        for centers in client.submit(fit, blobs).result(timeout=60):
            np.testing.assert_array_equal(centers, expected.cluster_centers_)


QUERY_PLANNING = """
import dask
dask.config.set({"array.query-planning": True})
import dask.array as da
import numpy as np
from daskmeans import KMeans
values = np.random.default_rng(0).normal(size=(97, 5))
expected = KMeans(7, init=values[:7]).fit(values)
model = KMeans(7, init=values[:7]).fit(da.from_array(values, chunks=(20, 5)))
assert da.array_expr_enabled()
assert (model.cluster_centers_ == expected.cluster_centers_).all()
assert (model.labels_.compute() == expected.labels_).all()
"""


@pytest.mark.parametrize("lazily", [False, True])
def test_query_planning_of_dask_arrays(lazily):
    """dask reads this option once, when it is imported, and means to switch it on some day."""
    code = QUERY_PLANNING
    if not lazily:
        code = code.replace("da.from_array(values, chunks=(20, 5))", "values").replace(
            "labels_.compute()", "labels_"
        )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(daskmeans.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
