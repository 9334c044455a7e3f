"""A sweep over numbers of clusters: time against a loop of fits, passes against one, the elbow.

    python benchmarks/sweep.py                 # writes results/sweep.json and results/sweep.md
    python benchmarks/sweep.py --shrink 100    # a hundredth of the rows, and of the seeds; prints

scikit-learn fits each number by itself with n_init=3. Ours takes the same n_init, and its default.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from statistics import median
from typing import Any

import click
import dask.array as da
import numpy as np
import sklearn.cluster
from numpy.typing import NDArray

from daskmeans import KMeans, sweep
from daskmeans.datasets import make_blobs
from data import SEED
from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result

_COUNTS = range(2, 18)
_N_ROWS, _N_FEATURES = 2_000_000, 8
_N_INIT = 3
_TRUE_COUNTS = range(3, 13)
_SEEDS_A_COUNT = 10
# Standard deviations between any two centers of blobs that count as well separated.
_APART = 8.0


@dataclass(frozen=True)
class Timed:
    """A sweep against scikit-learn's loop."""

    data: str
    n_init: int | None  # None: the default
    loop_s: float
    sweep_s: float
    worst_inertia: float  # largest ratio of ours to scikit-learn's, over the numbers of clusters

    @property
    def rendered(self) -> list[str]:
        n_init = "default" if self.n_init is None else str(self.n_init)
        ratio = f"**{self.loop_s / self.sweep_s:.1f}**"
        seconds = [f"{self.loop_s:.1f}", f"{self.sweep_s:.1f}"]
        return [self.data, n_init, *seconds, ratio, f"{self.worst_inertia:.4f}"]


@dataclass(frozen=True)
class Passed:
    """Passes of a sweep, and of a fit of each number by itself with the same parameters."""

    data: str
    sweep: int
    alone: list[int]

    @property
    def rendered(self) -> list[str]:
        one = median(self.alone)
        numbers = [str(self.sweep), f"{one:g}", str(max(self.alone)), str(sum(self.alone))]
        return [self.data, *numbers, f"**{self.sweep / one:.2f}**"]


def _data(shrink: int) -> dict[str, da.Array]:
    n = _N_ROWS // shrink
    chunks = max(1, n // 20)

    def blobs(overlap: float) -> da.Array:
        return make_blobs(
            n, _N_FEATURES, centers=10, overlap=overlap, chunks=chunks, random_state=SEED
        )

    uniform = np.random.default_rng(SEED).random((n, _N_FEATURES), dtype=np.float32)
    return {
        "blobs, nearly separate": blobs(0.01),
        "blobs that overlap": blobs(0.1),
        "uniform": da.from_array(uniform, chunks=(chunks, -1)),
    }


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def _time(name: str, rows: NDArray[Any]) -> list[Timed]:
    # What is compiled at the first call is no part of a sweep.
    sweep(rows[:20_000], _COUNTS, n_init=1)
    loop_s, theirs = _seconds(
        lambda: [
            sklearn.cluster.KMeans(k, n_init=_N_INIT, random_state=0).fit(rows).inertia_
            for k in _COUNTS
        ]
    )
    found = []
    for n_init in (_N_INIT, None):
        options = {} if n_init is None else {"n_init": n_init}
        sweep_s, ours = _seconds(lambda o=options: sweep(rows, _COUNTS, random_state=0, **o))
        worst = max(ours.scores["inertia"] / theirs)
        found.append(Timed(name, n_init, loop_s, sweep_s, float(worst)))
        click.echo(" | ".join(found[-1].rendered), err=True)
    return found


def _count_passes(name: str, rows: da.Array) -> Passed:
    found = sweep(rows, _COUNTS, persist=False, random_state=0)
    alone = [KMeans(**model.get_params()).fit(rows).n_passes_ for model in found.models.values()]
    passed = Passed(name, found.n_passes, alone)
    click.echo(" | ".join(passed.rendered), err=True)
    return passed


def _separate_blobs(n_blobs: int, seed: int) -> NDArray[Any]:
    generator = np.random.default_rng((n_blobs, seed))
    centers: list[NDArray[Any]] = []
    while len(centers) < n_blobs:
        drawn = generator.uniform(-15, 15, 4)
        if all(np.linalg.norm(drawn - other) > _APART for other in centers):
            centers.append(drawn)
    labels = generator.integers(n_blobs, size=2_000)
    return np.array(centers)[labels] + generator.normal(size=(2_000, 4))


def _elbows_found(seeds_a_count: int) -> dict[int, int]:
    """For each true number of blobs how often the elbow of a sweep is that number."""
    return {
        k: sum(
            sweep(_separate_blobs(k, seed), _COUNTS, random_state=seed).elbow == k
            for seed in range(seeds_a_count)
        )
        for k in _TRUE_COUNTS
    }


def _render(
    timed: list[Timed], passed: list[Passed], elbows: dict[int, int], n_seeds: int, n_rows: int
) -> str:
    times = markdown_table(
        ["data", "our n_init", "loop, s", "sweep, s", "loop / sweep", "worst inertia"],
        [each.rendered for each in timed],
    )
    passes = markdown_table(
        ["data", "sweep", "one fit, median", "slowest", "all together", "sweep / one"],
        [each.rendered for each in passed],
    )
    found = markdown_table(
        [str(k) for k in elbows], [[f"{count} of {n_seeds}" for count in elbows.values()]]
    )
    n = f"{n_rows:,} x {_N_FEATURES}"
    k = f"k = {_COUNTS[0]} to {_COUNTS[-1]}"
    return (
        f"{k} on {n}, float32, against a loop of scikit-learn's fits with n_init={_N_INIT}. Worst "
        f"inertia: the largest ratio of ours to theirs for any k.\n\n{times}\n\n"
        f"Passes over rows that are read each time, {k} on {n}:\n\n{passes}\n\n"
        f"Elbow of a sweep over {k} on well-separated blobs (2,000 x 4, centers at least "
        f"{_APART:g} standard deviations apart), by the true number of blobs: "
        f"{sum(elbows.values())} of {n_seeds * len(elbows)} right.\n\n{found}\n"
    )


@click.command()
@click.option("--shrink", default=1, show_default=True, help="Divide rows and seeds by this.")
def main(shrink: int) -> None:
    """Measure sweeps; write the results if nothing is shrunk."""
    timed, passed = [], []
    for name, rows in _data(shrink).items():
        timed += _time(name, rows.compute())
        passed.append(_count_passes(name, rows))
    n_seeds = max(1, _SEEDS_A_COUNT // shrink)
    elbows = _elbows_found(n_seeds)
    text = _render(timed, passed, elbows, n_seeds, _N_ROWS // shrink)
    if shrink == 1:
        machine = describe_machine()
        text = f"{machine_line(machine)}\n\n{text}"
        write_result(
            "sweep",
            {
                "date": date.today().isoformat(),
                "machine": machine,
                "versions": versions(["daskmeans", "scikit-learn", "numpy", "kneed"]),
                "timed": [asdict(each) for each in timed],
                "passed": [asdict(each) for each in passed],
                "elbows": elbows,
            },
            text,
        )
    click.echo(text)


if __name__ == "__main__":
    main()
