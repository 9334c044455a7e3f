"""What comparing heads of rows spares in whole fits of 768 features, and what it costs elsewhere.

python benchmarks/embeddings.py
python benchmarks/embeddings.py --rows 30000 --clusters 100

Fits with and without heads are run in turn, on one thread, and measured by its CPU time: what
other jobs do meanwhile matters less than for seconds of a clock. Both have to give the same bits.
"""

from __future__ import annotations

import shlex
import sys
import time
import warnings
from datetime import date
from statistics import median
from typing import Any
from unittest import mock

import click
import dask
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from daskmeans import KMeans
from daskmeans.algorithms.heads import HeadChooser
from data import SEED, Cell, short_count
from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result

_N_FEATURES = 768
_DATA = ("patches", "low rank", "1/j", "blobs", "uniform")


def _rows_and_centers(data: str, n_rows: int, n_clusters: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Make the rows, and initial centers that are some of them."""
    if data in ("patches", "blobs", "uniform"):
        cell = Cell(data, n_rows, _N_FEATURES, n_clusters)
        rows = cell.rows()
        return rows, cell.initial_centers(rows)
    rng = np.random.default_rng(SEED)
    if data == "low rank":
        # 32 directions, and in all of them noise that adds a 32nd to the variance.
        plane = rng.standard_normal((32, _N_FEATURES), dtype=np.float32)
        rows = rng.standard_normal((n_rows, 32), dtype=np.float32) @ plane
        rows += rng.standard_normal(rows.shape, dtype=np.float32)
    else:
        # Standard deviations 1, 1/2, 1/3, ... along orthogonal directions at random.
        turn, _ = np.linalg.qr(rng.standard_normal((_N_FEATURES, _N_FEATURES)))
        rows = rng.standard_normal((n_rows, _N_FEATURES), dtype=np.float32)
        rows = (rows / np.arange(1, _N_FEATURES + 1, dtype=np.float32)) @ turn.astype(np.float32)
    return rows, rows[rng.choice(n_rows, n_clusters, replace=False)]


def _fit(
    rows: NDArray[Any], centers: NDArray[Any], *, heads: bool, max_iter: int = 300
) -> tuple[float, KMeans]:
    possible = HeadChooser.possible if heads else lambda surveyed, n_clusters: False
    patched = mock.patch.object(HeadChooser, "possible", staticmethod(possible))
    with patched, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        started = time.thread_time()
        model = KMeans(len(centers), init=centers, n_init=1, max_iter=max_iter).fit(rows)
        return time.thread_time() - started, model


def _compare(data: str, n_rows: int, n_clusters: int, pairs: int) -> dict[str, Any]:
    rows, centers = _rows_and_centers(data, n_rows, n_clusters)
    for heads in (True, False):
        # Compiles, and starts BLAS.
        _fit(rows, centers, heads=heads, max_iter=5)
    seconds: dict[str, list[float]] = {"heads": [], "groups": []}
    shares: dict[str, float] = {}
    for _ in range(pairs):
        models = []
        for name in seconds:
            taken, model = _fit(rows, centers, heads=name == "heads")
            seconds[name].append(taken)
            shares[name] = float(np.mean([each.distances_computed for each in model.history_]))
            models.append(model)
        one, other = models
        assert np.array_equal(one.labels_, other.labels_)
        assert np.array_equal(one.cluster_centers_, other.cluster_centers_)
    return {
        "data": data,
        "n_clusters": n_clusters,
        "n_iter": one.n_iter_,
        "seconds": seconds,
        "shares": shares,
    }


def _render(result: dict[str, Any]) -> str:
    lines = []
    for cell in result["cells"]:
        heads, groups = cell["seconds"]["heads"], cell["seconds"]["groups"]
        ratios = [b / a for a, b in zip(heads, groups, strict=True)]
        lines.append(
            [
                f"{cell['data']}, k = {cell['n_clusters']:,}",
                str(cell["n_iter"]),
                f"{cell['shares']['groups']:.1%}",
                f"{cell['shares']['heads']:.1%}",
                f"{median(groups):.2f}",
                f"{median(heads):.2f}",
                f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            ]
        )
    return "\n".join(
        [
            "# Heads of rows\n",
            f"{result['date']}, {machine_line(result['machine'])}. Written by "
            f"`python {result['command']}`. Whole fits of "
            f"{short_count(result['n_rows'])} x {_N_FEATURES} float32 rows, scikit-learn's default "
            f"tolerance, one thread, seconds of CPU time; {result['n_pairs']} pairs in turn. Both "
            "ways gave the same bits.\n",
            markdown_table(
                [
                    "data",
                    "iterations",
                    "distances, by groups",
                    "by heads",
                    "s, by groups",
                    "by heads",
                    "ratio",
                ],
                lines,
            ),
        ]
    )


@click.command()
@click.option("--rows", "n_rows", default=100_000, show_default=True, type=click.IntRange(10_000))
@click.option("--clusters", multiple=True, default=(100, 256, 1000), show_default=True, type=int)
@click.option("--data", multiple=True, default=_DATA, type=click.Choice(_DATA))
@click.option("--pairs", default=1, show_default=True, type=click.IntRange(1))
def main(n_rows: int, clusters: tuple[int, ...], data: tuple[str, ...], pairs: int) -> None:
    """Write results/embeddings.json and results/embeddings.md."""
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "versions": versions(["daskmeans", "numba", "numpy"]),
        "command": shlex.join(["benchmarks/embeddings.py", *sys.argv[1:]]),
        "n_rows": n_rows,
        "n_pairs": pairs,
        "cells": [],
    }
    with dask.config.set(scheduler="synchronous"):
        for n_clusters in clusters:
            for each in data:
                result["cells"].append(_compare(each, n_rows, n_clusters, pairs))
                # After each: a run that is stopped leaves what it has measured.
                write_result("embeddings", result, _render(result))
    click.echo(_render(result))


if __name__ == "__main__":
    main()
