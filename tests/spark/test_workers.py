"""Workers that stay between passes: when there are some, when they leave, and the same bits."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import threading
import time
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import daskmeans
from daskmeans.algorithms.survey import counting_chunk
from daskmeans.blocks.row_state import forget_all
from daskmeans.errors import RowsError
from daskmeans.estimators import rows as estimators_rows
from daskmeans.passes import spark_resident, spark_workers
from daskmeans.passes.plan import Pass
from daskmeans.passes.spark import SparkRunner
from daskmeans.passes.spark_jobs import Outcome
from daskmeans.passes.spark_room import Host
from daskmeans.passes.spark_serving import STAY, Arrived, Serve
from daskmeans.passes.spark_thread import JobInThread

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'daskmeans[spark]'")

from daskmeans.spark import spark_rows
from tests.spark.conftest import Wrapped, assert_as, fitted, no_job_is_active

pytestmark = pytest.mark.usefixtures("unhurried")

COUNT = Pass("kmeans-count", counting_chunk, None)


@pytest.fixture
def context(spark):
    return spark.sparkContext


@pytest.fixture
def jobs(context, request):
    """Counts the jobs of this test."""
    context.setJobGroup(request.node.name, "counted")
    yield lambda: len(context.statusTracker().getJobIdsForGroup(request.node.name))
    context.setLocalProperty("spark.jobGroup.id", None)
    context.setLocalProperty("spark.job.description", None)


@pytest.fixture
def run(table):
    return SparkRunner(spark_rows(table.drop("w")))


def stay(run):
    return run._blocks._staying.workers is not None


class Failing(Serve):
    """Workers that all die of their first pass."""

    def __call__(self, records):
        driver = self.address.connect()
        driver.send_bytes(pickle.dumps(Arrived(0, Host("here", 1 << 40))))
        raise ArithmeticError("killed")


def second_attempt(run):
    """Return a connection as that of another worker for the second partition, let in already."""
    run(COUNT)
    workers = run._blocks._staying.workers
    connections = []

    def come():
        connections.append(workers.address.connect())
        connections[0].send_bytes(pickle.dumps(Arrived(1, Host("elsewhere", 0))))

    coming = threading.Thread(target=come)
    coming.start()
    # The driver looks who is there while a pass runs.
    while coming.is_alive() or len(workers._members) < 3:
        if connections and connections[0].poll():
            break
        run(COUNT)
    return connections[0]


@pytest.fixture
def other_job(context):
    """Starts a job that holds a slot until the test ends."""
    from pyspark import InheritableThread

    with socket.create_server(("127.0.0.1", 0)) as letting_go, ExitStack() as held:
        port = letting_go.getsockname()[1]

        def hold(_):
            with socket.create_connection(("127.0.0.1", port)) as waiting:
                waiting.recv(1)

        def start():
            thread = InheritableThread(target=context.parallelize([0], 1).foreach, args=(hold,))
            thread.start()
            held.callback(thread.join)
            held.enter_context(letting_go.accept()[0])
            # Its task runs, and Spark tells of the job a moment later.
            while not context.statusTracker().getActiveJobsIds():
                time.sleep(0.01)

        yield start


def test_a_fit_is_two_jobs(table_of, points, context, jobs):
    """One makes the blocks, the other stays for all passes; and of more partitions than slots."""
    rows, _ = points
    table = table_of(rows.tolist(), n_partitions=7)
    model = daskmeans.KMeans(4, init="k-means||", max_iter=6, tol=0.0, random_state=3)
    found = model.fit(table)
    assert found.n_passes_ > 6
    assert jobs() == 2
    assert no_job_is_active(context)
    again = daskmeans.KMeans(4, init="k-means||", max_iter=6, tol=0.0, random_state=3).fit(rows)
    np.testing.assert_array_equal(found.cluster_centers_, again.cluster_centers_)
    assert found.inertia_ == again.inertia_


def test_workers_leave_by_themselves_and_others_come(context, jobs, run, expected, monkeypatch):
    # As much as a busy machine may take to tell that they are to stay.
    monkeypatch.setattr(spark_workers, "_LEASE_S", 2.0)
    monkeypatch.setattr(spark_workers, "_TICK_S", 0.1)
    pauses = []

    def pausing(run, step):
        if step.name == "kmeans-assign" and not pauses:
            pauses.append(no_job_is_active(context))
        return step

    assert_as(expected, fitted(Wrapped(run, pausing)))
    assert pauses == [True]
    assert jobs() >= 3
    assert stay(run)


def test_who_has_done_its_part_is_told_to_stay(run, tmp_path, monkeypatch):
    """However long others work: one of the two waits for what the other is told."""
    monkeypatch.setattr(spark_workers, "_TICK_S", 0.1)
    told = str(tmp_path / "told")

    def slow_chunk(block, parameters):
        while not os.path.exists(told):
            time.sleep(0.01)
        return counting_chunk(block, parameters)

    def listen(second):
        while (message := second.recv_bytes()) != STAY:
            number, _ = pickle.loads(message)
            second.send_bytes(pickle.dumps((number, Outcome(None))))
        open(told, "w").close()

    with second_attempt(run) as second:
        listening = threading.Thread(target=listen, args=(second,))
        listening.start()
        run(replace(COUNT, chunk=slow_chunk))
        listening.join()
    assert os.path.exists(told)


def test_no_job_is_left_after_an_error_in_a_pass(context, run):
    def refusing(block, parameters):
        raise RowsError(f"block {block.number} is bad")

    run(COUNT)
    with pytest.raises(RowsError, match="block 0 is bad"):
        run(replace(COUNT, chunk=refusing))
    assert not stay(run)
    assert no_job_is_active(context)


def test_pass_that_fails_for_good_raises_its_error(context, run):
    def failing(block, parameters):
        raise ArithmeticError("this never works")

    run(COUNT)
    with pytest.raises(Exception, match="this never works"):
        run(replace(COUNT, chunk=failing))
    assert no_job_is_active(context)


def test_ctrl_c_ends_the_job(context, run, monkeypatch):
    monkeypatch.setattr(spark_workers, "_LEAVING_S", 0.1)

    def endless(block, parameters):
        time.sleep(60)

    run(COUNT)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        run(replace(COUNT, chunk=endless))
    assert no_job_is_active(context)
    run(COUNT)


@pytest.fixture
def kept(context):
    """Tells how many RDDs Spark keeps that it did not keep before."""

    def numbers():
        return set(context._jsc.getPersistentRDDs().keys())

    before = numbers()
    return lambda: len(numbers() - before)


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (None, nullcontext()),
        (RowsError("enough"), pytest.raises(RowsError, match="enough")),
        # It ends with what it has.
        (KeyboardInterrupt(), pytest.warns(ConvergenceWarning, match="interrupted")),
    ],
)
def test_fit_leaves_nothing_in_spark(table, context, kept, monkeypatch, error, ends):
    """However it ends, and whoever looks at its error, which holds all that it had."""
    runs = []

    class Remembered(SparkRunner):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            runs.append(self)

    def callback(state):
        assert stay(runs[0])
        assert kept() == 1
        if error is not None:
            raise error

    monkeypatch.setattr(estimators_rows, "SparkRunner", Remembered)
    model = daskmeans.KMeans(4, max_iter=2, random_state=0)
    with ends:
        model.fit(table.drop("w"), callback=callback)
    assert not stay(runs[0])
    assert kept() == 0
    assert no_job_is_active(context)


def test_rows_that_are_refused_do_not_stay_in_spark(table_of, kept):
    with pytest.raises(RowsError, match="NaN") as caught:
        daskmeans.KMeans(2).fit(table_of([(1.0, 2.0, float("nan"))] * 4))
    assert caught.value is not None
    assert kept() == 0


def test_workers_of_a_runner_that_is_gone_end_without_a_call_of_spark(table, context, monkeypatch):
    """What is collected is collected in any thread, also in one that waits for Spark's answer."""

    # Nor by themselves, while the test looks.
    monkeypatch.setattr(spark_workers, "_LEASE_S", 200.0)

    def call(*arguments):
        raise AssertionError("Spark was called")

    run = SparkRunner(spark_rows(table.drop("w")))
    run(COUNT)
    monkeypatch.setattr(JobInThread, "cancel", call)
    monkeypatch.setattr(JobInThread, "join", call)
    del run
    assert no_job_is_active(context)


def test_door_is_open_until_the_job_is_cancelled(run, monkeypatch):
    """Who came to a closed one would tell that nobody reaches the driver."""
    monkeypatch.setattr(spark_workers, "_LEAVING_S", 0.0)
    run(COUNT)
    workers = run._blocks._staying.workers
    cancel, seen = workers._job.cancel, []
    monkeypatch.setattr(
        workers._job, "cancel", lambda: seen.append(workers._door.socket.fileno()) or cancel()
    )
    workers.end()
    assert seen != [-1]
    assert len(seen) == 1
    assert workers._door.socket.fileno() == -1


def test_slots_that_another_job_holds_are_not_waited_for(run, expected, other_job, monkeypatch):
    monkeypatch.setattr(spark_resident, "_TIMES_ASKED", 2)
    other_job()
    assert_as(expected, fitted(run))
    assert not stay(run)
    assert run.row_state_bytes == 0


def test_workers_make_way_for_another_job(context, run, monkeypatch):
    monkeypatch.setattr(spark_resident, "_ASK_EVERY_S", 0.1)
    monkeypatch.setattr(spark_resident, "_TIMES_ASKED", 2)
    run(COUNT)
    done = []
    other = threading.Thread(
        target=lambda: done.append(context.parallelize(range(4), 2).map(abs).sum())
    )
    other.start()
    while not done:
        run(COUNT)
    other.join()
    assert done == [6]
    assert not stay(run)


def test_workers_that_do_not_all_come_are_not_waited_for(
    table_of, points, context, expected, monkeypatch
):
    monkeypatch.setattr(spark_resident, "slots_of", lambda context: 3)
    monkeypatch.setattr(spark_workers, "_PATIENCE_S", 0.3)
    run = SparkRunner(spark_rows(table_of(points[0].tolist(), n_partitions=3)))
    assert_as(expected, fitted(run))
    assert not stay(run)
    assert no_job_is_active(context)


def test_driver_that_workers_do_not_reach_is_told_of_once(run, expected, monkeypatch):
    class Elsewhere(spark_workers.Door):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            with socket.create_server(("127.0.0.1", 0)) as closed:
                self.address = replace(self.address, port=closed.getsockname()[1])

    monkeypatch.setattr(spark_workers, "Door", Elsewhere)
    with pytest.warns(UserWarning, match=r"do not reach the driver at 127.0.0.1:\d+.*refused") as w:
        assert_as(expected, fitted(run))
    assert len(w) == 1
    assert "spark.driver.host" in str(w[0].message)


def test_driver_that_cannot_listen_is_told_of(run, monkeypatch):
    def no_port(*arguments):
        raise OSError("Cannot assign requested address")

    monkeypatch.setattr(spark_workers, "Door", no_port)
    with pytest.warns(UserWarning, match="an address of its own .*Cannot assign"):
        run(COUNT)


def test_workers_that_fail_where_a_job_does_not_are_told_of(run, expected, monkeypatch):
    """As where the cluster manager kills those who hold a second copy of the rows."""
    monkeypatch.setattr(spark_workers, "Serve", Failing)
    with pytest.warns(UserWarning, match=r"(?s)kmeans-survey was run as a Spark job.*killed") as w:
        assert_as(expected, fitted(run))
    assert len(w) == 1


def test_large_partials_are_merged_by_spark(run, monkeypatch):
    monkeypatch.setattr(spark_resident, "_MOST_GATHERED_BYTES", 300)
    found = run(COUNT)
    assert stay(run)
    assert run(replace(COUNT, partial_bytes=200)).block_sizes == found.block_sizes
    assert not stay(run)


def test_rows_that_do_not_fit_are_read_by_jobs(run, jobs, context, expected, monkeypatch, caplog):
    monkeypatch.setattr(spark_workers, "allowed_a_worker", lambda conf: 10_000)
    with caplog.at_level("INFO", logger="daskmeans"):
        assert_as(expected, fitted(run))
    assert not stay(run)
    assert "the rows on host" in caplog.text
    assert no_job_is_active(context)


@pytest.mark.parametrize("name", ["spark.network.crypto.enabled", "spark.ssl.rpc.enabled"])
def test_nothing_is_sent_in_clear_where_users_want_it_encrypted(context, table, name):
    conf = context._jsc.sc().conf()
    conf.set(name, "true")
    try:
        run = SparkRunner(spark_rows(table.drop("w")))
    finally:
        conf.remove(name)
    run(COUNT)
    assert not stay(run)


def test_two_attempts_at_one_task_are_given_the_same_passes(run, expected):
    """As Spark's speculation starts them. The second one here never answers."""
    run(COUNT)
    workers = run._blocks._staying.workers
    with second_attempt(run) as second:
        first = run.n_passes
        assert_as(expected, fitted(run))
        number, _ = pickle.loads(second.recv_bytes())
        assert not second.poll()
    assert number <= first + 1
    assert run._blocks._staying.workers is workers


def test_who_comes_while_others_are_sent_home_closes_only_itself(run):
    """Else two threads close the same file, which may be somebody else's by then."""
    run(COUNT)
    workers = run._blocks._staying.workers
    closed = []

    class Newcomer:
        def close(self):
            closed.append("newcomer")

    class Member:
        def close(self):
            closed.append("member")
            coming = threading.Thread(target=workers._let_in, args=(Newcomer(), b""))
            coming.start()
            coming.join()

    for connection in workers._members:
        connection.close()
    workers._members = {Member(): None}
    workers.end()
    assert closed == ["member", "newcomer"]


def test_fits_at_the_same_time_give_the_same_bits(table_of, points, context, monkeypatch):
    monkeypatch.setattr(spark_resident, "_ASK_EVERY_S", 0.1)
    monkeypatch.setattr(spark_resident, "_TIMES_ASKED", 2)
    rows, _ = points
    table = table_of(rows.tolist(), n_partitions=3)
    model = partial(daskmeans.KMeans, 4, n_init=1, max_iter=4, tol=0.0, random_state=1)
    found = []
    threads = [threading.Thread(target=lambda: found.append(model().fit(table))) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    other = model().fit(rows)
    for each in found:
        np.testing.assert_array_equal(each.cluster_centers_, other.cluster_centers_)
    assert len(found) == 2
    assert no_job_is_active(context)


def test_what_workers_remember_of_rows_does_not_show(spark):
    """Bounds of rows are kept by workers; thrown away now and then, they are made again."""
    generator = np.random.default_rng(7)
    rows = generator.normal(size=(3_000, 16)) + 3 * generator.integers(3, size=(3_000, 1))
    import pyarrow as pa

    table = spark.createDataFrame(pa.table({f"x{j}": rows[:, j] for j in range(16)})).coalesce(1)
    init = rows[:24]
    expected = daskmeans.KMeans(24, init=init, max_iter=12, tol=0.0).fit(rows)

    def forgetting(run, step):
        if step.name == "kmeans-assign":
            remembered.append(step.parameters.assignments[0].state is not None)
        if step.name != "kmeans-assign" or run.n_passes % 3:
            return step
        chunk = step.chunk

        def chunk_without(block, parameters):
            forget_all()
            return chunk(block, parameters)

        return replace(step, chunk=chunk_without)

    for change in (lambda run, step: step, forgetting):
        remembered = []
        run = SparkRunner(spark_rows(table))
        assert_as(expected, fitted(Wrapped(run, change), 24, init, max_iter=12))
        assert stay(run)
    assert len(remembered) > 5
    assert all(remembered)
