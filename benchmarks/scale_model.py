"""Seconds of a pass on 1 to 1,000 workers and 16 to 1,000,000 blocks, from constants measured here.

python benchmarks/scale_model.py

The model is arithmetic: where it says that a term takes over, no cluster of that size was run.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import date
from statistics import median
from typing import Any

import click
import dask.array as da
import numpy as np
from distributed import Client, wait

from cluster import cluster, fitted, seconds_an_iteration
from daskmeans.algorithms.lloyd import lloyd_chunk
from daskmeans.blocks.inputs import row_source
from daskmeans.passes.plan import Pass, merge_tree
from daskmeans.passes.runner import Runner
from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result

_WORKERS = (1, 2, 10, 100, 1_000)
_BLOCKS = (16, 1_000, 10_000, 100_000, 1_000_000)
_ROWS, _FEATURES, _CLUSTERS = 1_000_000_000, 32, 100
# Tasks of an iteration for each chunk, counted in dask-ml's graph of 100 chunks: 637, most of them
# one after the other.
_DASK_ML_TASKS = 6.37
# Spark runs a task for each partition, and one more stage to gather what they found.
_SPARK_TASKS = 1.0


@dataclass(frozen=True)
class Constants:
    """What the model is made of.

    Attributes
    ----------
    pass_s : float
        Seconds of a pass whose task has nothing to do, one worker.
    task_s : float
        More seconds for each task more.
    bytes_per_s : float
        Between two processes, over what dask talks by.
    pairs_per_s : float
        Pairs of a row and a center that a thread goes through, times features.
    read_per_s : float
        Bytes of rows that a thread makes, as a stand-in for reading; only for blocks not in memory.
    """

    pass_s: float
    task_s: float
    bytes_per_s: float
    pairs_per_s: float
    read_per_s: float


@dataclass(frozen=True)
class Estimate:
    """Seconds of a pass by cause."""

    tasks: float
    network: float
    computing: float

    @property
    def total(self) -> float:
        return self.tasks + self.network + self.computing

    @property
    def largest(self) -> str:
        return max(("tasks", "network", "computing"), key=lambda name: getattr(self, name))


def resident_pass(constants: Constants, n_workers: int, rows: int, d: int, k: int) -> Estimate:
    """Rows in the workers' memory: a task for each worker's thread, however many blocks."""
    centers, partial = 2 * 8 * k * d, 8 * k * (d + 2)
    levels = merge_tree(n_workers) if n_workers > 8 else []
    n_tasks = n_workers + sum(len(level) for level in levels)
    # Centers leave the scheduler once a task; a node of the tree takes eight partials one by one.
    sent = n_workers * centers + (8 * len(levels) or 2 * n_workers) * partial
    return Estimate(
        constants.pass_s + (n_tasks - 1) * constants.task_s,
        sent / constants.bytes_per_s,
        rows * d * k / (constants.pairs_per_s * n_workers),
    )


def streaming_pass(
    constants: Constants, n_workers: int, n_blocks: int, rows: int, d: int, k: int
) -> Estimate:
    """Rows read in each pass: eight tasks for each thread at most, each a run of blocks."""
    n_walks = min(n_blocks, 8 * n_workers)
    levels = merge_tree(n_walks)
    n_tasks = n_walks + sum(len(level) for level in levels)
    centers, partial = 2 * 8 * k * d, 8 * k * (d + 2)
    reading = 4 * rows * d / constants.read_per_s
    return Estimate(
        constants.pass_s + (n_tasks - 1) * constants.task_s,
        (n_walks * centers + 8 * len(levels) * partial) / constants.bytes_per_s,
        (rows * d * k / constants.pairs_per_s + reading) / min(n_workers, n_walks),
    )


def seconds_of_pass(
    client: Client, rows: int, d: int, k: int, n_blocks: int, **options: Any
) -> float:
    X = da.random.default_rng(0).random((rows, d), chunks=(-(-rows // n_blocks), d), dtype="f4")
    if options.get("persist", True):
        X = client.persist(X)
        wait(X)
    centers = np.random.default_rng(1).random((k, d))
    return seconds_an_iteration(fitted(X, centers, 12, **options))


def measured() -> Constants:
    """Measure the constants on this machine."""
    with cluster(1, processes=False) as client:
        one = seconds_of_pass(client, 1_000, 2, 2, 4)
    with cluster(33, processes=False) as client:
        many = seconds_of_pass(client, 33_000, 2, 2, 66)
    n_tasks = 33 + sum(len(level) for level in merge_tree(33))
    with cluster(1) as client:
        small = seconds_of_pass(client, 1_000, 2, 2, 4)
        rows, d, k = 1_000_000, 32, 100
        large = seconds_of_pass(client, rows, d, k, 8)
        streamed = seconds_of_pass(client, rows, d, k, 8, persist=False)
        values = client.submit(np.ones, 4_000_000)
        wait(values)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            values.result()
            times.append(time.perf_counter() - started)
    return Constants(
        pass_s=small,
        task_s=max((many - one) / (n_tasks - 1), 1e-6),
        bytes_per_s=8 * 4_000_000 / median(times),
        pairs_per_s=rows * d * k / (large - small),
        read_per_s=4 * rows * d / max(streamed - large, 1e-3),
    )


def checked(constants: Constants) -> list[list[str]]:
    """Compare the model with runs at sizes that it was not fitted to."""
    found = []
    for n_workers in (1, 2):
        with cluster(n_workers) as client:
            for rows, d, k in ((2_000_000, 32, 100), (1_000_000, 64, 50), (100_000, 8, 8)):
                real = seconds_of_pass(client, rows, d, k, 64)
                estimate = resident_pass(constants, n_workers, rows, d, k).total
                found.append(
                    [
                        f"{n_workers}",
                        f"({rows:,}, {d}, {k})",
                        f"{1e3 * estimate:.0f}",
                        f"{1e3 * real:.0f}",
                        f"{estimate / real:.2f}",
                    ]
                )
    return found


def built(n_blocks: int) -> tuple[float, float]:
    """Build the graph of a pass; return the seconds and the megabytes that it took."""
    X = da.random.default_rng(0).random((n_blocks * 10, 4), chunks=(10, 4))
    centers = np.zeros((100, 4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    runner = Runner(row_source(X))
    graph, _ = runner.graph(Pass("kmeans-assign", lloyd_chunk, centers))
    seconds = time.perf_counter() - started
    assert graph
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def _build_table() -> list[list[str]]:
    rows = []
    for n_blocks in (10_000, 100_000):
        # In a process of its own: the peak of its memory is what is read.
        answer = subprocess.run(
            [sys.executable, __file__, "--build", str(n_blocks)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        rows.append([f"{n_blocks:,}", f"{float(answer[-2]):.2f}", f"{float(answer[-1]):.0f}"])
    return rows


def _pass_table(constants: Constants) -> list[list[str]]:
    rows = []
    for n_workers in _WORKERS:
        resident = resident_pass(constants, n_workers, _ROWS, _FEATURES, _CLUSTERS)
        cells = [f"{n_workers:,}", f"{resident.total:.3g} ({resident.largest})"]
        for n_blocks in _BLOCKS:
            each = streaming_pass(constants, n_workers, n_blocks, _ROWS, _FEATURES, _CLUSTERS)
            cells.append(f"{each.total:.3g} ({each.largest})")
        rows.append(cells)
    return rows


def _overhead_table(constants: Constants) -> list[list[str]]:
    return [
        [
            f"{n_blocks:,}",
            f"{resident_pass(constants, 100, 0, _FEATURES, _CLUSTERS).total:.3g}",
            f"{n_blocks * _DASK_ML_TASKS:,.0f} "
            f"({n_blocks * _DASK_ML_TASKS * constants.task_s:.3g} s)",
            f"{n_blocks * _SPARK_TASKS:,.0f}",
        ]
        for n_blocks in _BLOCKS
    ]


def _render(constants: Constants, about: dict[str, Any], tables: dict[str, Any]) -> str:
    return "\n".join(
        [
            "# Scale, on paper\n",
            f"{about['date']}, {machine_line(about['machine'])}. "
            "Written by `python benchmarks/scale_model.py`. Measured here: "
            f"{1e3 * constants.pass_s:.1f} ms for a pass with nothing to do, "
            f"{1e6 * constants.task_s:.0f} us for a task more, "
            f"{constants.bytes_per_s / 1e6:.0f} MB/s between processes, "
            f"{constants.pairs_per_s / 1e9:.1f} 10^9 row x center x feature a second and thread, "
            f"{constants.read_per_s / 1e6:.0f} MB/s of rows made by a thread.\n",
            f"Seconds of a pass over {_ROWS:,} x {_FEATURES} float32, k = {_CLUSTERS}, workers of "
            "one thread, and which term is the largest. Resident: whatever the number of blocks.\n",
            markdown_table(
                ["workers", "resident", *(f"{n:,} blocks, streamed" for n in _BLOCKS)],
                tables["passes"],
            ),
            "What does not compute, on 100 workers: seconds of our resident pass, tasks of an "
            "iteration of dask-ml's with their time at the same scheduler, and of Spark's.\n",
            markdown_table(["blocks", "ours, s", "dask-ml", "Spark tasks"], tables["overheads"]),
            "The model against runs that it was not fitted to, ms.\n",
            markdown_table(
                ["workers", "rows, features, k", "model", "real", "model / real"], tables["checks"]
            ),
            "Building the graph of a pass, without running it; goals: 2 s, 500 MB at 100,000.\n",
            markdown_table(["blocks", "s", "MB"], tables["builds"]),
        ]
    )


@click.command()
@click.option("--build", type=int, hidden=True, help="Only build a graph of so many blocks.")
def main(build: int | None) -> None:
    """Write results/scale_model.json and results/scale_model.md."""
    if build is not None:
        click.echo(" ".join(map(str, built(build))))
        return
    constants = measured()
    tables = {
        "passes": _pass_table(constants),
        "overheads": _overhead_table(constants),
        "checks": checked(constants),
        "builds": _build_table(),
    }
    about = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "versions": versions(["daskmeans", "dask", "distributed", "numpy"]),
    }
    text = _render(constants, about, tables)
    write_result("scale_model", {**about, "constants": asdict(constants), **tables}, text)
    click.echo(text)


if __name__ == "__main__":
    main()
