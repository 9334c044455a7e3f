"""What an iteration costs on a cluster: overhead, bytes, a second worker, a lost one; and dask-ml.

python benchmarks/cluster.py
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from statistics import median
from typing import Any

import click
import dask
import dask.array as da
import numpy as np
import psutil
from distributed import Client, LocalCluster, wait

from daskmeans import KMeans
from daskmeans.passes.events import IterationEnded, observing
from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result

_SMALL = (100_000, 8, 8)
_LARGE = (500_000, 32, 100)
_WIDE = (100_000, 64, 100)
# A pass of about a second: a worker is back after one or two.
_LONG = (2_000_000, 32, 600)
_BLOCKS = (16, 1_000, 10_000)
_ITERATIONS = 30


@dataclass(frozen=True)
class Figure:
    """What was measured several times, in its unit.

    Attributes
    ----------
    name, unit, goal : str
    values : list of float
    detail : str
        What it was made of.
    """

    name: str
    unit: str
    goal: str
    values: list[float]
    detail: str = ""

    @property
    def rendered(self) -> list[str]:
        spread = f"{min(self.values):.3g} to {max(self.values):.3g}"
        return [
            self.name,
            f"**{median(self.values):.3g}** {self.unit}".rstrip() + f" ({spread})",
            self.goal,
            self.detail,
        ]


@contextmanager
def cluster(n_workers: int, *, processes: bool = True) -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=processes, dashboard_address=None
        ) as local,
        Client(local) as client,
    ):
        yield client


def uniform(n_rows: int, n_features: int) -> np.ndarray:
    """Rows without clusters: iterations go on for as long as they may."""
    return np.random.default_rng(0).uniform(size=(n_rows, n_features)).astype(np.float32)


def in_blocks(client: Client, rows: np.ndarray, n_blocks: int) -> da.Array:
    """Rows in the memory of the workers, in blocks that each came to lie somewhere."""
    blocks = client.persist(da.from_array(rows, chunks=(-(-len(rows) // n_blocks), -1)))
    wait(blocks)
    return blocks


def fitted(X: Any, centers: np.ndarray, max_iter: int = _ITERATIONS, **options: Any) -> KMeans:
    """Fit from given centers, with every distance computed in every iteration."""
    return KMeans(
        len(centers), init=centers, tol=0, max_iter=max_iter, algorithm="lloyd", **options
    ).fit(X)


def seconds_an_iteration(model: KMeans) -> float:
    """Without the first iteration, in which blocks are grouped."""
    return median(record.seconds for record in model.history_[1:])


def overheads(n_times: int) -> list[Figure]:
    n_rows, n_features, k = _SMALL
    rows = uniform(n_rows, n_features)
    with dask.config.set(scheduler="synchronous"):
        fitted(rows, rows[:k])
        kernel = seconds_an_iteration(fitted(rows, rows[:k])) / 2
    found: dict[int, list[float]] = {}
    with cluster(2) as client:
        for n_blocks in _BLOCKS:
            X = in_blocks(client, rows, n_blocks)
            fitted(X, rows[:k])
            found[n_blocks] = [
                1e3 * (seconds_an_iteration(fitted(X, rows[:k])) - kernel) for _ in range(n_times)
            ]
    return [
        Figure(
            f"overhead of an iteration, {n_blocks:,} blocks",
            "ms",
            "<= 40 ms",
            values,
            f"beyond {1e3 * kernel:.1f} ms of computing on 2 threads",
        )
        for n_blocks, values in found.items()
    ]


def against_dask_ml(n_times: int, n_blocks: int) -> Figure:
    from dask_ml.cluster import KMeans as Peer

    n_rows, n_features, k = _SMALL
    rows = uniform(n_rows, n_features)
    n_iterations = 2
    ratios, seconds = [], []
    with cluster(2) as client:
        X = in_blocks(client, rows, n_blocks)
        fitted(X, rows[:k])

        def peer(max_iter: int) -> float:
            model = Peer(k, init=rows[:k], max_iter=max_iter, tol=0)
            started = time.perf_counter()
            model.fit(X)
            assert model.n_iter_ == max_iter, model.n_iter_
            return time.perf_counter() - started

        for _ in range(n_times):
            # What a fit does beside its iterations is in both.
            theirs = (peer(1 + n_iterations) - peer(1)) / n_iterations
            ours = seconds_an_iteration(fitted(X, rows[:k]))
            ratios.append(theirs / ours)
            seconds.append((theirs, ours))
    theirs, ours = (median(each) for each in zip(*seconds, strict=True))
    return Figure(
        f"dask-ml / ours an iteration, {n_blocks:,} blocks",
        "",
        ">= 200",
        ratios,
        f"{theirs:.2f} s, {ours:.3f} s",
    )


def bytes_an_iteration(n_times: int) -> Figure:
    """Bytes on the loopback device: client, scheduler and workers all talk over it."""
    n_rows, n_features, k = _WIDE
    rows = uniform(n_rows, n_features)
    n_workers = 2
    limit = 4 * n_workers * k * (n_features + 3) * 8
    values = []
    with cluster(n_workers) as client:
        X = in_blocks(client, rows, 16)
        for _ in range(n_times):
            sent: list[int] = []

            def observe(event: object, sent: list[int] = sent) -> None:
                if isinstance(event, IterationEnded):
                    sent.append(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)

            with observing(observe):
                fitted(X, rows[:k])
            values.append(float(median(np.diff(sent[1:]))) / 1e3)
    return Figure(
        "bytes on the network an iteration, k=100, 64 features, 2 workers",
        "kB",
        f"<= {limit / 1e3:.0f} kB, 4 workers k (d+3) 8",
        values,
        "headers and heartbeats included",
    )


def speed_up(n_times: int) -> Figure:
    n_rows, n_features, k = _LARGE
    rows = uniform(n_rows, n_features)
    ratios, seconds = [], []
    for _ in range(n_times):
        pair = []
        for n_workers in (1, 2):
            with cluster(n_workers) as client:
                X = in_blocks(client, rows, 16)
                fitted(X, rows[:k], 3)
                pair.append(seconds_an_iteration(fitted(X, rows[:k], 12)))
        ratios.append(pair[0] / pair[1])
        seconds.append(pair)
    one, two = (median(each) for each in zip(*seconds, strict=True))
    return Figure(
        "1 worker / 2 workers an iteration, 500k x 32, k=100",
        "",
        ">= 1.85",
        ratios,
        f"{one:.3f} s, {two:.3f} s",
    )


def lost_worker(n_times: int) -> Figure:
    """Passes lost to SIGKILL in the middle of a fit, the recomputing of its blocks taken off."""
    n_rows, n_features, k = _LONG
    n_iterations = 12
    values: list[float] = []
    detail = ""
    for _ in range(n_times):
        with cluster(2) as client:
            lazy = da.random.default_rng(0).random(
                (n_rows, n_features), dtype=np.float32, chunks=(n_rows // 16, -1)
            )
            started = time.perf_counter()
            X = client.persist(lazy)
            wait(X)
            # Half of the blocks, by the worker that is left.
            recomputing = time.perf_counter() - started
            centers = X[:k].compute()
            fitted(X, centers, 2)
            started = time.perf_counter()
            whole = fitted(X, centers, n_iterations)
            undisturbed = time.perf_counter() - started
            victim = min(client.run(os.getpid).values())

            def observe(event: object, victim: int = victim) -> None:
                if isinstance(event, IterationEnded) and event.iteration == 4:
                    threading.Timer(0.1, os.kill, (victim, signal.SIGKILL)).start()

            started = time.perf_counter()
            with observing(observe):
                again = fitted(X, centers, n_iterations)
            disturbed = time.perf_counter() - started
            assert (whole.cluster_centers_ == again.cluster_centers_).all()
            one_pass = seconds_an_iteration(whole)
            values.append((disturbed - undisturbed - recomputing) / one_pass)
            detail = (
                f"{n_iterations} iterations of {one_pass:.2f} s: {undisturbed:.1f} s and "
                f"{disturbed:.1f} s, with {recomputing:.2f} s of recomputing"
            )
    return Figure("passes lost to one killed worker of two", "passes", "<= 2", values, detail)


@click.command()
@click.option("--times", "n_times", default=5, show_default=True)
@click.option("--quick", is_flag=True, help="Each once, without dask-ml; writes nothing.")
def main(n_times: int, quick: bool) -> None:
    """Write results/cluster.json and results/cluster.md."""
    n_times = 1 if quick else n_times
    figures: list[Figure] = []
    for measure in (overheads, bytes_an_iteration, speed_up, lost_worker):
        found = measure(n_times)
        figures += found if isinstance(found, list) else [found]
        click.echo("\n".join(" | ".join(figure.rendered) for figure in figures[-3:]), err=True)
    if not quick:
        figures.insert(len(_BLOCKS), against_dask_ml(max(n_times // 2, 1), 1_000))
    about = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "versions": versions(["daskmeans", "dask", "distributed", "dask-ml", "numpy"]),
        "n_times": n_times,
    }
    text = "\n".join(
        [
            "# A cluster\n",
            f"{about['date']}, {machine_line(about['machine'])}. "
            "Written by `python benchmarks/cluster.py`. LocalCluster of 2 workers with 1 thread "
            f"each, rows in the workers' memory, {n_times} times: median (lowest to highest). "
            "Small data are 100,000 x 8 float32, k = 8.\n",
            markdown_table(["figure", "measured", "goal", ""], [f.rendered for f in figures]),
        ]
    )
    if not quick:
        write_result("cluster", {**about, "figures": [asdict(f) for f in figures]}, text)
    click.echo(text)


if __name__ == "__main__":
    main()
