"""Schedulers, data and hypothesis profiles that all tests share."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, settings

SCHEDULERS = ("sync", "threads-1", "threads-3", "processes", "cluster")

settings.register_profile(
    "default",
    max_examples=25,
    deadline=None,
    # The fixture `scheduler` stays the same for all examples of a test, which is what it is for.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.register_profile("ci", settings.get_profile("default"), max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def worker_pool():
    """Two processes for dask's own scheduler, which would start new ones for each pass."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="session")
def client():
    """Client of a cluster of two processes on this machine."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def run_under(request):
    """Context in which dask uses the scheduler of a name in SCHEDULERS."""

    @contextmanager
    def run_under(name):
        if name == "processes":
            options = {"scheduler": "processes", "pool": request.getfixturevalue("worker_pool")}
        elif name == "cluster":
            options = {"scheduler": request.getfixturevalue("client")}
        elif name == "sync":
            options = {"scheduler": "synchronous"}
        else:
            options = {"scheduler": "threads", "num_workers": int(name.removeprefix("threads-"))}
        with dask.config.set(options):
            yield

    return run_under


@pytest.fixture(params=SCHEDULERS)
def scheduler(request, run_under):
    """Run the test under each scheduler; the value is its name."""
    with run_under(request.param):
        yield request.param


@pytest.fixture
def blobs():
    """Rows (307, 5) around seven points, float64, overlapping."""
    generator = np.random.default_rng(11)
    middles = generator.uniform(-10, 10, (7, 5))
    return middles[generator.integers(7, size=307)] + 2 * generator.normal(size=(307, 5))
