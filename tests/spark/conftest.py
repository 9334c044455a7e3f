"""A Spark of this machine with two threads, and tables in it."""

from __future__ import annotations

import os
import shutil
import sys
import time

import numpy as np
import pytest

import daskmeans
from daskmeans.algorithms.kmeans import Seeding, fit
from daskmeans.algorithms.watch import Watch
from daskmeans.passes import spark_resident, spark_workers

# Rows of a table, as Spark's columns of numbers.
COLUMNS = "a double, b double, c double"


@pytest.fixture(scope="session")
def workers_environment():
    """Variables by which Spark's workers are of this Python, and import the same package.

    Skips where there is no Spark to be had.
    """
    pytest.importorskip(
        "pyspark", reason="pyspark is not installed: pip install 'daskmeans[spark]'"
    )
    java = os.path.join(os.environ.get("JAVA_HOME", ""), "bin", "java")
    if shutil.which("java") is None and not os.path.exists(java):
        pytest.skip("Spark needs Java 17, and there is no java here")
    return {
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


@pytest.fixture(scope="session")
def spark(workers_environment, tmp_path_factory):
    """A session whose tasks are tried three times."""
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        for name, value in workers_environment.items():
            patch.setenv(name, value)
        session = (
            SparkSession.builder.master("local[2, 3]")
            .appName("daskmeans tests")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.python.daemon.module", "tests.spark.daemon")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.memory", "1g")
            .config("spark.sql.shuffle.partitions", "3")
            # A worker whose job was cancelled is killed so soon: its slot is free again then.
            .config("spark.python.task.killTimeout", "100ms")
            .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture
def unhurried(spark, monkeypatch):
    """Workers come and stay, however busy the machine is, and no job of another test is active."""
    monkeypatch.setattr(spark_workers, "_LEASE_S", 20.0)
    monkeypatch.setattr(spark_workers, "_PATIENCE_S", 120.0)
    monkeypatch.setattr(spark_resident, "_TIMES_ASKED", 400)
    assert no_job_is_active(spark.sparkContext)


def no_job_is_active(context):
    """Whether all jobs end, given the moment after which Spark tells so."""
    for _ in range(600):
        if not context.statusTracker().getActiveJobsIds():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="session")
def points():
    """Rows (613, 3) around five points, with integers as weights, some of them 0."""
    generator = np.random.default_rng(5)
    middles = generator.uniform(-10, 10, (5, 3))
    rows = middles[generator.integers(5, size=613)] + 2 * generator.normal(size=(613, 3))
    return rows, generator.integers(0, 4, size=613).astype(np.float64)


@pytest.fixture
def table_of(spark):
    """Makes a DataFrame of rows in so many partitions, in the order of the rows."""

    def make(rows, schema=COLUMNS, n_partitions=2):
        listed = [tuple(row) for row in rows]
        return spark.createDataFrame(spark.sparkContext.parallelize(listed, n_partitions), schema)

    return make


@pytest.fixture
def table(points, table_of):
    """The rows and weights of `points`, columns a, b, c and w, in two partitions."""
    rows, weights = points
    return table_of(np.column_stack([rows, weights]).tolist(), f"{COLUMNS}, w double")


class Wrapped:
    """A runner that does something before each pass, or to its chunks."""

    def __init__(self, run, before):
        self._run, self._before = run, before

    def __getattr__(self, name):
        return getattr(self._run, name)

    def __call__(self, step):
        return self._run(self._before(self._run, step))


def fitted(run, n_clusters=4, init="k-means||", max_iter=3):
    """What the passes of a fit come to: 3 iterations from one round of k-means||."""
    return fit(
        run,
        n_clusters,
        Seeding(init, 1, 2.0, 1),
        max_iter=max_iter,
        tol=0.0,
        rtol=0.0,
        max_passes=None,
        algorithm="auto",
        random_state=np.random.RandomState(0),
        keep_labels=True,
        watch=Watch(),
    )


@pytest.fixture
def expected(points):
    """The model of the dask engine that `fitted` has to come to."""
    return daskmeans.KMeans(
        4, init="k-means||", init_rounds=1, max_iter=3, tol=0.0, random_state=0
    ).fit(points[0])


def assert_as(expected, found):
    """Compare what `fitted` returned with a model, to the bit."""
    np.testing.assert_array_equal(found.centers, expected.cluster_centers_)
    np.testing.assert_array_equal(found.labels, expected.labels_)
    assert found.inertia == expected.inertia_
