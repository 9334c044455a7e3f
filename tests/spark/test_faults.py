"""What Spark's tasks may do meanwhile: die, be tried again, lose what they kept."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from daskmeans.errors import ClusterError, RowsError
from daskmeans.passes.spark import SparkRunner

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'daskmeans[spark]'")

from daskmeans.spark import spark_rows
from tests.spark.conftest import COLUMNS, Wrapped, assert_as, fitted


@pytest.mark.parametrize(
    ("pass_name", "end"),
    [("kmeans-survey", "exit"), ("kmeans-sample", "error"), ("kmeans-assign", "kill")],
)
def test_worker_that_dies_once_is_replaced(unhurried, table, expected, tmp_path, pass_name, end):
    marker = tmp_path / "died"

    def dying(run, step):
        if step.name != pass_name:
            return step
        path, chunk = str(marker), step.chunk

        def chunk_or_death(block, parameters):
            if block.number == 1 and not os.path.exists(path):
                open(path, "w").close()
                if end == "error":
                    raise OSError("no memory for a moment")
                if end == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                os._exit(1)
            return chunk(block, parameters)

        # Joined blocks go by the number of the first.
        return replace(step, chunk=chunk_or_death, by_row_number=True)

    run = SparkRunner(spark_rows(table.drop("w")))
    assert_as(expected, fitted(Wrapped(run, dying)))
    assert marker.exists()
    # It was one of those that stay, and Spark alone has replaced it.
    assert run._blocks._staying.workers.n_passes == run.n_passes


def test_task_that_raises_while_rows_are_read_is_tried_again(table, expected, tmp_path):
    path = str(tmp_path / "raised")

    def failing(batches):
        if not os.path.exists(path):
            open(path, "w").close()
            raise OSError("the disk is away for a moment")
        yield from batches

    flaky = table.drop("w").mapInArrow(failing, COLUMNS)
    assert_as(expected, fitted(SparkRunner(spark_rows(flaky))))
    assert os.path.exists(path)


def test_blocks_that_were_lost_are_made_again(table, expected):
    def losing(run, step):
        if step.name == "kmeans-assign":
            # Workers that hold blocks do not miss them.
            run._blocks.end()
            run._blocks._kept.rdd.unpersist(blocking=True)
        return step

    assert_as(expected, fitted(Wrapped(SparkRunner(spark_rows(table.drop("w"))), losing)))


def test_partition_of_other_rows_is_not_taken_for_the_same(table, tmp_path):
    """Rows whose order is not fixed come out differently when Spark computes them again."""
    path = str(tmp_path / "read")

    def changing(batches):
        again = os.path.exists(path)
        open(path, "w").close()
        for batch in batches:
            yield batch.slice(1) if again else batch

    run = SparkRunner(spark_rows(table.drop("w").coalesce(1).mapInArrow(changing, COLUMNS)))
    run._blocks._kept.rdd.unpersist(blocking=True)
    with pytest.raises(RowsError, match=r"Partition 0 .* came out with other rows .* ids"):
        fitted(run)


def test_blocks_go_when_nobody_needs_them(spark, table):
    def kept():
        return set(spark.sparkContext._jsc.getPersistentRDDs().keys())

    # Of other tests, whose errors hold them until Python looks for circles.
    before = kept()
    run = SparkRunner(spark_rows(table))
    assert len(kept() - before) == 1
    del run
    assert not kept() - before


def test_workers_without_this_package_are_told_of(table):
    """Or with another version of it, which lacks a module."""

    def lacking(run, step):
        def chunk(block, parameters):
            raise ModuleNotFoundError("No module named 'daskmeans.algorithms.newer'")

        return replace(step, chunk=chunk)

    run = SparkRunner(spark_rows(table))
    with pytest.raises(ClusterError, match=r"workers cannot import daskmeans .* executors run"):
        fitted(Wrapped(run, lacking))
