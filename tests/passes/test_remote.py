"""Schedulers and workers that the command lines of dask start: TLS, missing packages, two hosts."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import warnings
from contextlib import ExitStack, contextmanager

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from distributed.security import Security

import daskmeans
from daskmeans import KMeans
from daskmeans.errors import ClusterError
from daskmeans.passes import cluster_checks
from daskmeans.passes.events import IterationEnded, observing

# Found by Python at its start in each process that has its folder on the path: a stand-in for an
# environment without the package, until a zip file with it comes on the path.
HIDING = """
    import sys
    from importlib.machinery import PathFinder

    class Hidden:
        def find_spec(name, path=None, target=None):
            if name == "daskmeans":
                zips = [entry for entry in sys.path if entry.endswith(".zip")]
                found = PathFinder.find_spec(name, zips)
                if found is None:
                    raise ModuleNotFoundError("No module named 'daskmeans'", name=name)
                return found

    sys.meta_path.insert(0, Hidden)
"""


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(2).normal(size=(3000, 4)) * [1, 2, 3, 4]


@pytest.fixture(scope="module")
def expected(rows):
    return fit(rows)


def fit(X):
    return KMeans(6, random_state=1, n_init=1).fit(X)


def assert_same(model, expected):
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    assert model.inertia_ == expected.inertia_


@contextmanager
def started(folder, *arguments, until, before=(), **variables):
    """A command of dask in a new folder; the value is what matches in what it says.

    `before` is a command that runs it.
    """
    folder.mkdir()
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "dask", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **variables},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 60
            while not (found := re.search(until, (folder / "log").read_text())):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
            yield found[1]
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def command_line_cluster(folder, *options, scheme="tcp", hidden=()):
    """Address of a scheduler on loopback, with its workers; `hidden` are those that lack us."""
    (folder / "hiding").mkdir()
    (folder / "hiding" / "sitecustomize.py").write_text(textwrap.dedent(HIDING))
    path = os.pathsep.join(filter(None, [str(folder / "hiding"), os.environ.get("PYTHONPATH")]))

    def variables(name):
        return {"PYTHONPATH": path} if name in hidden else {}

    with ExitStack() as stack:

        def start(name, *arguments, until):
            return stack.enter_context(
                started(folder / name, *arguments, *options, until=until, **variables(name))
            )

        address = start(
            "scheduler",
            *("scheduler", "--host", f"{scheme}://127.0.0.1", "--port", 0, "--no-dashboard"),
            until=rf"Scheduler at:\s+({scheme}://[\d.:]+)",
        )
        for number in range(2):
            start(
                f"worker-{number}",
                *("worker", address, "--nthreads", 1, "--no-dashboard"),
                until=r"(Registered) to",
            )
        yield address


def test_command_lines(tmp_path, rows, expected):
    with command_line_cluster(tmp_path) as address, Client(address):
        assert_same(fit(da.from_array(rows, chunks=(100, 4))), expected)


def test_tls(tmp_path, rows, expected):
    """With certificates signed by themselves, which both sides ask for."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    files = {
        "tls_ca_file": str(certificate),
        "tls_client_cert": str(certificate),
        "tls_client_key": str(key),
    }
    options = ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    security = Security(require_encryption=True, **files)
    with (
        command_line_cluster(tmp_path, *options, scheme="tls") as address,
        Client(address, security=security) as client,
    ):
        assert address.startswith("tls://")
        blocks = client.persist(da.from_array(rows, chunks=(100, 4)))
        assert_same(fit(blocks), expected)


@pytest.fixture
def other_host():
    """A network of its own, joined to this one by a cable: how to run there, both addresses."""
    name, here, there = f"dk{os.getpid()}", f"dka{os.getpid()}", f"dkb{os.getpid()}"
    commands = [
        f"ip netns add {name}",
        f"ip link add {here} type veth peer name {there}",
        f"ip link set {there} netns {name}",
        f"ip address add 10.213.7.1/24 dev {here}",
        f"ip link set {here} up",
        f"ip netns exec {name} ip address add 10.213.7.2/24 dev {there}",
        f"ip netns exec {name} ip link set {there} up",
        f"ip netns exec {name} ip link set lo up",
    ]
    try:
        for command in commands:
            try:
                subprocess.run(command.split(), check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                why = getattr(error, "stderr", None) or error
                pytest.skip(f"no network namespace can be made here: {command}: {why}")
        yield ["ip", "netns", "exec", name], "10.213.7.1", "10.213.7.2"
    finally:
        if shutil.which("ip"):
            # The cable goes with the network that one of its ends is in.
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
            subprocess.run(["ip", "link", "delete", here], capture_output=True, check=False)


def test_two_hosts(tmp_path, rows, expected, other_host):
    """A worker here and one on another host, which retires in the middle of a second fit."""
    there, here_address, there_address = other_host
    with ExitStack() as stack:

        def start(name, *arguments, until, before=()):
            return stack.enter_context(
                started(tmp_path / name, *arguments, until=until, before=before)
            )

        address = start(
            "scheduler",
            *("scheduler", "--host", f"tcp://{here_address}", "--port", 0, "--no-dashboard"),
            until=r"Scheduler at:\s+(tcp://[\d.:]+)",
        )
        worker = ("worker", address, "--nthreads", 1, "--no-dashboard", "--host")
        start("here", *worker, here_address, until=r"(Registered) to")
        start("there", *worker, there_address, until=r"(Registered) to", before=there)
        with Client(address) as client:
            client.wait_for_workers(2)
            assert {each.split(":")[1] for each in client.nthreads()} == {
                f"//{here_address}",
                f"//{there_address}",
            }
            blocks = client.persist(da.from_array(rows, chunks=(100, 4)))
            assert_same(fit(blocks), expected)

            def retire(event):
                if isinstance(event, IterationEnded) and event.iteration == 2:
                    (lost,) = (each for each in client.nthreads() if there_address in each)
                    client.retire_workers([lost])

            with observing(retire):
                assert_same(fit(blocks), expected)
            assert all(here_address in each for each in client.nthreads())


@pytest.mark.parametrize("hidden", ["scheduler", "worker-1"])
def test_package_that_is_missing_and_sent(tmp_path, rows, expected, hidden):
    with command_line_cluster(tmp_path, hidden=[hidden]) as address, Client(address) as client:
        place = "The scheduler" if hidden == "scheduler" else r"Worker tcp://[\d.:]+"
        with pytest.raises(ClusterError, match=f"^{place} cannot import daskmeans: No module"):
            fit(da.from_array(rows, chunks=(100, 4)))
        daskmeans.upload_to(client)
        assert_same(fit(da.from_array(rows, chunks=(100, 4))), expected)


def test_package_is_not_sent_where_it_is(client, monkeypatch):
    monkeypatch.setattr(Client, "upload_file", lambda *_, **__: pytest.fail("it was sent"))
    daskmeans.upload_to(client)


def test_asynchronous_client_is_refused(rows):
    async def run():
        async with (
            LocalCluster(
                n_workers=1, processes=False, dashboard_address=None, asynchronous=True
            ) as cluster,
            Client(cluster, asynchronous=True),
        ):
            with pytest.raises(ClusterError, match=r"asynchronous Client .* asyncio.to_thread"):
                fit(da.from_array(rows, chunks=(100, 4)))

    asyncio.run(run())


def test_asynchronous_program_fits_in_a_thread(rows, expected):
    def work(address):
        with Client(address, set_as_default=False) as client, client.as_current():
            return fit(client.persist(da.from_array(rows, chunks=(100, 4))))

    async def run():
        async with LocalCluster(
            n_workers=1, processes=False, dashboard_address=None, asynchronous=True
        ) as cluster:
            return await asyncio.to_thread(work, cluster.scheduler_address)

    assert_same(asyncio.run(run()), expected)


def test_other_versions_are_warned_about(rows, monkeypatch):
    with (
        LocalCluster(n_workers=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        monkeypatch.setattr(daskmeans, "__version__", "99.0")
        with pytest.warns(UserWarning, match=r"worker tcp://\S+ has daskmeans \S+, not 99.0"):
            fit(da.from_array(rows, chunks=(1000, 4)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit(da.from_array(rows, chunks=(1000, 4)))


@pytest.fixture(scope="module")
def small_cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit="400MB", dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.fixture
def small(small_cluster):
    """The current client is that of a small cluster."""
    small_cluster.wait_for_workers(2)
    with Client(small_cluster) as client:
        yield client


class TestMemory:
    """What does not fit in workers of 400 MB each; they take half of that by themselves."""

    def test_block_that_fits_no_worker_is_refused(self, small):
        X = da.concatenate([da.ones((10, 8), chunks=10), da.ones((10_000_000, 8), chunks=10**7)])
        with pytest.raises(
            ClusterError,
            match=r"^Block 1 of X \(rows 10 to 10000009\) needs 610.35 MiB, .* 381.47 MiB. Rechunk",
        ):
            fit(X)

    def test_rows_that_cannot_be_kept_are_refused(self, small):
        X = da.ones((20_000_000, 8), chunks=(10**6, 8))
        with pytest.raises(ClusterError, match=r"^1.19 GiB of rows .* hold 762.94 MiB together"):
            KMeans(3, persist=True).fit(X)

    def test_workers_that_die_of_memory(self, small):
        def hungry(block, block_info=None):
            if block_info[0]["chunk-location"][0] != 3:
                return block
            return np.ones((200_000_000,))[: len(block) * 4].reshape(-1, 4) * block

        X = da.ones((1000, 4), chunks=(100, 4)).map_blocks(hungry, dtype=float)
        with pytest.raises(ClusterError) as told:
            fit(X)
        text = str(told.value)
        assert re.match(r"4 workers died one after the other at the task \('hungry-", text)
        assert re.search(r"works on block 3 of X \(rows 300 to 399\), 3.12 kiB", text)
        assert "may hold 381.47 MiB" in text


def test_checks_are_made_once(client, rows, run_under, monkeypatch):
    with run_under("cluster"):
        fit(da.from_array(rows, chunks=(1000, 4)))
        monkeypatch.setattr(
            cluster_checks,
            "_answers",
            lambda _, workers, and_scheduler: (
                {"asked": {"lacks": "again"}} if workers or and_scheduler else {}
            ),
        )
        fit(da.from_array(rows, chunks=(1000, 4)))
