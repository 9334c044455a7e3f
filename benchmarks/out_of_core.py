"""What a pass, a fit and its memory cost on a Zarr store, against the peers and the hardware.

python benchmarks/out_of_core.py --folder /path/with/20/GB
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import psutil
import zarr

from daskmeans.datasets import make_blobs
from machine import describe_machine, versions
from passes_needed import PassesNeeded, passes_needed
from report import machine_line, markdown_table, write_result
from workers import environment

_HERE = Path(__file__).resolve().parent
_FEATURES, _CLUSTERS, _CHUNK_ROWS = 64, 50, 100_000
_ROWS, _MANY_ROWS = 8_000_000, 32_000_000
_QUICK_SHRINKS_BY = 20
_REST_S = 0.3
# The peer takes minutes for it.
_SEEDING_PAIRS = 1


@dataclass(frozen=True)
class Figure:
    """Seconds of two things that were done in turn, and what their ratio says."""

    name: str
    goal: str
    seconds: dict[str, list[float]]
    ratios: list[float]

    @property
    def rendered(self) -> list[str]:
        low, high = min(self.ratios), max(self.ratios)
        times = ", ".join(f"{task} {median(s):.2f}" for task, s in self.seconds.items())
        return [
            self.name,
            f"**{median(self.ratios):.3g}** ({low:.3g} to {high:.3g})",
            self.goal,
            times,
        ]


class Process:
    """The process of one task on one store."""

    def __init__(self, task: str, store: Path, n_threads: int, python: str) -> None:
        self._scratch = tempfile.TemporaryDirectory(dir=store.parent)
        arguments = [task, str(store), str(_CLUSTERS), str(n_threads), self._scratch.name]
        self._process = subprocess.Popen(
            [python, str(_HERE / "store_tasks.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(n_threads),
            text=True,
        )
        self._task = task
        self._answer()

    def run(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self._answer()

    def peak_bytes_of_a_run(self) -> int:
        """Run once; return the peak resident set of the process tree beyond what it held before."""
        processes = [psutil.Process(self._process.pid)]
        before = _resident(processes)
        peak = before
        done = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not done.wait(0.01):
                peak = max(peak, _resident(processes))

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            self.run()
        finally:
            done.set()
            sampler.join()
        return peak - before

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException(f"{self._task} ended with code {self._process.wait()}.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()
        self._scratch.cleanup()


def _resident(processes: list[psutil.Process]) -> int:
    tree = [*processes, *(child for each in processes for child in each.children(recursive=True))]
    return sum(int(process.memory_info().rss) for process in tree)


@dataclass(frozen=True)
class Bench:
    """What is the same for all figures."""

    store: Path
    n_threads: int
    n_pairs: int
    peer_python: str

    def process(self, task: str, store: Path | None = None) -> Process:
        python = self.peer_python if task.startswith("dask-ml") else sys.executable
        return Process(task, store or self.store, self.n_threads, python)

    def in_turn(self, *tasks: str, n_pairs: int | None = None) -> dict[str, list[dict[str, Any]]]:
        """Run tasks A B C A B C, after one run of each that does not count."""
        found: dict[str, list[dict[str, Any]]] = {task: [] for task in tasks}
        processes = {task: self.process(task) for task in tasks}
        if n_pairs is None:
            for process in processes.values():
                process.run()
        for _ in range(n_pairs or self.n_pairs):
            for task, process in processes.items():
                time.sleep(_REST_S)
                found[task].append(process.run())
        for process in processes.values():
            process.__exit__()
        return found


def compared(name: str, goal: str, found: dict[str, list[dict[str, Any]]], ratio: Any) -> Figure:
    seconds = {task: [run["seconds"] for run in runs] for task, runs in found.items()}
    ratios = [
        ratio(dict(zip(seconds, values, strict=True)))
        for values in zip(*seconds.values(), strict=True)
    ]
    figure = Figure(name, goal, seconds, ratios)
    click.echo(" | ".join(figure.rendered), err=True)
    return figure


def _time_figures(bench: Bench) -> list[Figure]:
    figures = [
        compared(
            "pass from the store / (reading it with zarr + pass in memory)",
            "<= 1.10",
            bench.in_turn("pass", "read", "pass-in-memory"),
            lambda s: s["pass"] / (s["read"] + s["pass-in-memory"]),
        ),
        compared(
            "the same with 30 ms of latency a chunk / the larger of reading and computing",
            "<= 1.25",
            bench.in_turn("pass-latency", "read-latency", "pass-in-memory"),
            lambda s: s["pass-latency"] / max(s["read-latency"], s["pass-in-memory"]),
        ),
        compared(
            "labels to a Zarr store / copying the store with zarr",
            "<= 1.2",
            bench.in_turn("predict", "copy"),
            lambda s: s["predict"] / s["copy"],
        ),
        compared(
            "dask-ml's Lloyd iteration / our pass",
            ">= 3",
            bench.in_turn("pass", "dask-ml-pass"),
            lambda s: s["dask-ml-pass"] / s["pass"],
        ),
        compared(
            "dask-ml's k-means\\|\\| of 2 rounds / our first pass and clustering of the sample",
            ">= 40",
            bench.in_turn("seeding", "dask-ml-seeding", n_pairs=_SEEDING_PAIRS),
            lambda s: s["dask-ml-seeding"] / s["seeding"],
        ),
    ]
    fits = {"fit": "rtol=1e-3", "fit-of-2-passes": "max_passes=2"}
    found = bench.in_turn("minibatch-loop", *fits)
    inertias = {task: inertia_of(bench.store, runs[-1]["centers"]) for task, runs in found.items()}
    for fit, how in fits.items():
        figures.append(
            compared(
                f"one epoch of scikit-learn's MiniBatchKMeans / our whole fit, {how}",
                ">= 1",
                {task: found[task] for task in ("minibatch-loop", fit)},
                lambda s, fit=fit: s["minibatch-loop"] / s[fit],
            )
        )
        figures.append(
            Figure(
                f"inertia of that MiniBatchKMeans / of our fit, {how}",
                "> 1",
                {},
                [inertias["minibatch-loop"] / inertias[fit]],
            )
        )
    return figures


def inertia_of(store: Path, centers: Any) -> float:
    """Sum of squared distances to the nearest center in float64, by NumPy alone."""
    array = zarr.open_array(store, mode="r")
    centers = np.asarray(centers)
    total = 0.0
    for start in range(0, array.shape[0], _CHUNK_ROWS):
        rows = np.asarray(array[start : start + _CHUNK_ROWS], dtype=np.float64)
        products = rows @ centers.T
        total += (rows**2).sum() + ((centers**2).sum(axis=1) - 2 * products).min(axis=1).sum()
    return total


def made_store(folder: Path, n_rows: int) -> Path:
    """Make a store of overlapping blobs, unless it is there from an earlier run."""
    path = folder / f"blobs-{n_rows}.zarr"
    if not path.exists():
        rows = make_blobs(
            n_rows, _FEATURES, centers=_CLUSTERS, overlap=0.02, chunks=_CHUNK_ROWS, random_state=0
        )
        unfinished = path.with_suffix(".unfinished")
        rows.to_zarr(str(unfinished), overwrite=True)
        unfinished.rename(path)
    return path


def _render(
    figures: list[Figure], memory: dict[str, int], passes: list[PassesNeeded], about: dict[str, Any]
) -> str:
    block = _CHUNK_ROWS * _FEATURES * 4
    return "\n".join(
        [
            "# Rows in a Zarr store\n",
            f"{about['date']}, {machine_line(about['machine'])}. "
            "Written by `python benchmarks/out_of_core.py`. "
            f"{about['rows']:,} x {_FEATURES} float32 in chunks of {_CHUNK_ROWS:,} rows, "
            f"k = {_CLUSTERS}, {about['n_threads']} threads, {about['n_pairs']} times in turn "
            f"(dask-ml's seeding: {_SEEDING_PAIRS}): median (lowest to highest).\n",
            markdown_table(
                ["figure", "ratio", "goal", "median seconds"], [f.rendered for f in figures]
            ),
            "Peak resident set of a fit from the store beyond what the process held before, "
            f"`persist=False`; 2 blocks a thread and 200 MB are "
            f"{(2 * about['n_threads'] * block + 200e6) / 1e6:.0f} MB.\n",
            markdown_table(
                ["rows", "MB"], [[name, f"{size / 1e6:.0f}"] for name, size in memory.items()]
            ),
            'Reads of all rows until `init="refined"` is within 1 % and 0.1 % of the inertia of '
            "the best of 10 converged restarts of k-means++: the first pass included, and "
            'without the last one, which measures. Median of 5 seeds (worst); "more" is more than '
            "12.\n",
            markdown_table(
                ["data: rows x features, k", "within 1 %", "within 0.1 %", "converged to"],
                [each.rendered for each in passes],
            ),
        ]
    )


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Where stores are made and kept.")
@click.option("--threads", "n_threads", default=2, show_default=True)
@click.option("--pairs", "n_pairs", default=5, show_default=True)
@click.option("--peer-python", default=sys.executable, help="Interpreter that has dask-ml.")
@click.option("--quick", is_flag=True, help="Small stores, to see that all works; writes nothing.")
def main(folder: Path | None, n_threads: int, n_pairs: int, peer_python: str, quick: bool) -> None:
    """Write results/out_of_core.json and results/out_of_core.md."""
    shrink = _QUICK_SHRINKS_BY if quick else 1
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        stores = [made_store(place, n // shrink) for n in (_ROWS, _MANY_ROWS)]
        bench = Bench(stores[0], n_threads, n_pairs, peer_python)
        figures = _time_figures(bench)
        memory = {}
        for store, n_rows in zip(stores, (_ROWS, _MANY_ROWS), strict=True):
            with bench.process("fit", store) as process:
                memory[f"{n_rows // shrink:,}"] = process.peak_bytes_of_a_run()
    passes = passes_needed(shrink)
    about = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "versions": versions(["daskmeans", "dask", "zarr", "scikit-learn", "numpy"]),
        "rows": _ROWS // shrink,
        "n_threads": n_threads,
        "n_pairs": n_pairs,
    }
    text = _render(figures, memory, passes, about)
    if not quick:
        result = {
            **about,
            "figures": [asdict(figure) for figure in figures],
            "peak_bytes": memory,
            "passes": [asdict(each) for each in passes],
        }
        write_result("out_of_core", result, text)
    click.echo(text)


if __name__ == "__main__":
    main()
