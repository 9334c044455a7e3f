"""An iteration of ours and of MLlib's KMeans on the same cached DataFrame, and what each ends with.

python benchmarks/spark.py
python benchmarks/spark.py --quick   # few rows, to see that all works; writes nothing
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from pyspark import StorageLevel
from pyspark.ml.clustering import KMeans as MLlibKMeans
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

from daskmeans import KMeans as KMeansHere
from daskmeans.algorithms.survey import counting_chunk
from daskmeans.blocks.spark_rows import spark_rows
from daskmeans.passes.plan import Pass
from daskmeans.passes.spark import SparkRunner
from daskmeans.spark import KMeans
from data import Cell, short_count
from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result

_SHAPES = ((2_000_000, 4, 8, 5), (500_000, 32, 100, 10), (200_000, 128, 256, 15))
# MLlib's fits of so many iterations are compared: what a fit does besides is in both. Of ours,
# whose conversion of the rows takes longer than iterations, those after the first are timed.
_FEW, _MANY = 2, 8
_COST_CELL = Cell("blobs", 100_000, 16, 20)
_OVERHEAD_GOAL_MS = 150


@dataclass(frozen=True)
class Compared:
    """What was measured of one cell, in pairs that were run in turn.

    Attributes
    ----------
    name : str
    goal : int
    mllib, ours, every_distance : list of float
        Milliseconds of an iteration: of MLlib's, of ours, and of ours with algorithm="lloyd".
    here, every_distance_here : float
        The same of `daskmeans.KMeans` on the rows in memory, with as many threads.
    fit_ratios : list of float
        Seconds of MLlib's whole fit over those of ours.
    empty_pass : float
        Milliseconds of a pass that only counts the rows.
    """

    name: str
    goal: int
    mllib: list[float]
    ours: list[float]
    every_distance: list[float]
    here: float
    every_distance_here: float
    fit_ratios: list[float]
    empty_pass: float

    @property
    def ratios(self) -> list[float]:
        return [theirs / ours for theirs, ours in zip(self.mllib, self.ours, strict=True)]

    @property
    def overheads(self) -> list[float]:
        return [ours - self.every_distance_here for ours in self.every_distance]


def _session(n_threads: int, memory: str) -> SparkSession:
    session = (
        SparkSession.builder.master(f"local[{n_threads}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", memory)
        # Without it the small packets of a task wait 40 ms for each other on the way to Python.
        .config("spark.python.unix.domain.socket.enabled", "true")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return session


def _cached(session: SparkSession, rows: np.ndarray, folder: Path, n_files: int) -> DataFrame:
    """Return the rows as a column of array<float>, which both sides take, cached by Spark."""
    folder.mkdir()
    for number, part in enumerate(np.array_split(rows, n_files)):
        values = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), rows.shape[1])
        lists = values.cast(pa.list_(pa.float32()))
        pa.parquet.write_table(pa.table({"features": lists}), folder / f"{number}.parquet")
    # A partition a file.
    session.conf.set("spark.sql.files.maxPartitionBytes", str(rows.nbytes))
    session.conf.set("spark.sql.files.openCostInBytes", str(rows.nbytes))
    # MLlib takes arrays that cannot hold nulls only, and files tell of none that they cannot.
    whole = StructType([StructField("features", ArrayType(FloatType(), containsNull=False))])
    frame = session.read.parquet(str(folder)).mapInArrow(_unchanged, whole)
    frame = frame.persist(StorageLevel.MEMORY_AND_DISK)
    if frame.count() != len(rows):
        raise click.ClickException("Spark read another number of rows than were written")
    return frame


def _unchanged(batches: Iterator[Any]) -> Iterator[Any]:
    yield from batches


def _mllib_ms(fit: Callable[[int], Any]) -> tuple[float, float]:
    """Milliseconds that an iteration more makes a fit longer, and seconds of the longer fit."""
    taken = []
    for max_iter in (_FEW, _MANY):
        started = time.perf_counter()
        n_iter = fit(max_iter).summary.numIter
        taken.append((time.perf_counter() - started, n_iter))
    (few_s, few), (many_s, many) = taken
    if few == many:
        raise click.ClickException("a fit converged at once: take other data")
    return 1000 * (many_s - few_s) / (many - few), many_s


def _ms(fitted: KMeansHere) -> float:
    """Milliseconds of an iteration after the first few, as the driver sees it."""
    later = fitted.history_[_FEW:]
    if not later:
        raise click.ClickException("a fit converged at once: take other data")
    return 1000 * sum(record.seconds for record in later) / len(later)


def _compare(
    session: SparkSession, cell: Cell, goal: int, folder: Path, n_threads: int, n_pairs: int
) -> Compared:
    rows = cell.rows()
    frame = _cached(session, rows, folder / cell.name, n_threads)
    common: dict[str, Any] = {"k": cell.n_clusters, "initMode": "random", "seed": 1, "tol": 0.0}

    def theirs(max_iter: int) -> Any:
        return MLlibKMeans(maxIter=max_iter, **common).fit(frame)

    def same_here(algorithm: str) -> KMeansHere:
        return KMeansHere(
            cell.n_clusters,
            init="random",
            n_init=1,
            tol=0.0,
            max_iter=_MANY,
            algorithm=algorithm,
            random_state=1,
        )

    mllib, ours, every_distance, fit_ratios = [], [], [], []
    for number in range(n_pairs + 1):
        mllib_ms, mllib_s = _mllib_ms(theirs)
        started = time.perf_counter()
        fitted = KMeans(maxIter=_MANY, **common).fit(frame)
        ours_s = time.perf_counter() - started
        every = same_here("lloyd").fit(frame)
        # The first pair compiles, in the JVM as in numba.
        if number:
            mllib.append(mllib_ms)
            ours.append(_ms(fitted.toDaskmeans()))
            every_distance.append(_ms(every))
            fit_ratios.append(mllib_s / ours_s)
    in_memory = []
    for algorithm in ("auto", "lloyd"):
        same_here(algorithm).fit(rows)
        in_memory.append(median(_ms(same_here(algorithm).fit(rows)) for _ in range(n_pairs)))
    passes = []
    with closing(SparkRunner(spark_rows(frame, "features"))) as run:
        for _ in range(4 * n_pairs):
            started = time.perf_counter()
            run(Pass("kmeans-count", counting_chunk, None))
            passes.append(time.perf_counter() - started)
    frame.unpersist()
    return Compared(
        f"{short_count(cell.n_rows)} x {cell.n_features}, {cell.n_clusters}",
        goal,
        mllib,
        ours,
        every_distance,
        *in_memory,
        fit_ratios,
        1000 * median(passes),
    )


def _costs(session: SparkSession, cell: Cell, folder: Path, n_threads: int, n_seeds: int) -> Any:
    """Return our cost over MLlib's after fits with all defaults but k, for each seed."""
    frame = _cached(session, cell.rows(), folder / "costs", n_threads)
    ratios = []
    for seed in range(n_seeds):
        fitted = [
            kind(k=cell.n_clusters, seed=seed).fit(frame).summary.trainingCost
            for kind in (KMeans, MLlibKMeans)
        ]
        ratios.append(fitted[0] / fitted[1])
    frame.unpersist()
    return ratios


def _spread(values: list[float], digits: str = ".3g") -> str:
    return f"**{median(values):{digits}}** ({min(values):{digits}} to {max(values):{digits}})"


def _render(cells: list[Compared], costs: list[float], about: dict[str, Any]) -> str:
    return "\n".join(
        [
            "# On Spark, beside MLlib\n",
            f"{about['date']}, {machine_line(about['machine'])}. Written by "
            f"`python benchmarks/spark.py`. pyspark {about['versions']['pyspark']}, "
            f"local[{about['n_threads']}], the same cached DataFrame with a column of array<float> "
            f"in {about['n_threads']} partitions, {about['n_pairs']} times in turn: median (lowest "
            f"to highest). Iterations are number {_FEW + 1} to {_MANY} from random rows, each "
            "library's own. MLlib's: what fits of so many and of "
            f"{_FEW} iterations differ by; ours: what the driver sees of them, with the default "
            "algorithm. MLlib leaves out distances by the triangle inequality, ours by bounds. "
            'The columns of algorithm="lloyd" compute every distance. A whole fit has '
            f"{_MANY} iterations, and for ours the conversion of the rows.\n",
            markdown_table(
                [
                    "data: rows x features, k",
                    "MLlib / ours an iteration",
                    "goal",
                    "MLlib, ms",
                    "ours, ms",
                    "the same in memory, ms",
                    "lloyd, ms",
                    "lloyd, beyond the same in memory, ms",
                    "a pass that only counts, ms",
                    "MLlib / ours a whole fit",
                ],
                [
                    [
                        cell.name,
                        _spread(cell.ratios),
                        f">= {cell.goal}",
                        f"{median(cell.mllib):.0f}",
                        f"{median(cell.ours):.1f}",
                        f"{cell.here:.1f}",
                        f"{median(cell.every_distance):.1f}",
                        f"{_spread(cell.overheads, '.1f')}, goal <= {_OVERHEAD_GOAL_MS}",
                        f"{cell.empty_pass:.1f}",
                        _spread(cell.fit_ratios),
                    ]
                    for cell in cells
                ],
            ),
            f"trainingCost, ours over MLlib's, {about['cost_data']}, defaults, {len(costs)} seeds: "
            f"{_spread(costs, '.5f')}, goal <= 1.\n",
        ]
    )


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Where tables are made for a run.")
@click.option("--threads", "n_threads", default=2, show_default=True)
@click.option("--pairs", "n_pairs", default=5, show_default=True)
@click.option("--seeds", "n_seeds", default=10, show_default=True)
@click.option("--memory", default="8g", show_default=True, help="Of Spark's driver.")
@click.option("--quick", is_flag=True, help="Few rows, to see that all works; writes nothing.")
def main(
    folder: Path | None, n_threads: int, n_pairs: int, n_seeds: int, memory: str, quick: bool
) -> None:
    """Write results/spark.json and results/spark.md."""
    session = _session(n_threads, memory)

    def sized(cell: Cell) -> Cell:
        return cell.shrunk() if quick else cell

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        cells = [
            _compare(
                session, sized(Cell("blobs", n, d, k)), goal, Path(scratch), n_threads, n_pairs
            )
            for n, d, k, goal in _SHAPES
        ]
        costs = _costs(session, sized(_COST_CELL), Path(scratch), n_threads, n_seeds)
    session.stop()
    cost_cell = sized(_COST_CELL)
    about = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "versions": versions(["daskmeans", "pyspark", "pyarrow", "numpy"]),
        "n_threads": n_threads,
        "n_pairs": n_pairs,
        "cost_data": f"{cost_cell.n_rows:,} x {cost_cell.n_features}, k = {cost_cell.n_clusters}",
    }
    text = _render(cells, costs, about)
    if not quick:
        found = {**about, "cells": [asdict(cell) for cell in cells], "cost_ratios": costs}
        write_result("spark", found, text)
    click.echo(text)


if __name__ == "__main__":
    main()
