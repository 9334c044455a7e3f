"""How many reads of all rows a fit from a clustered sample needs, by data.

python benchmarks/passes_needed.py
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

import click
import dask
import numpy as np
from numpy.typing import NDArray

from daskmeans import KMeans
from daskmeans.datasets import make_blobs
from data import SEED, image_pixels, short_count
from report import markdown_table

_MOST_READS = 12
_N_SEEDS = 5
_N_ROWS = 1_000_000


@dataclass(frozen=True)
class PassesNeeded:
    """For each seed the reads until the inertia is that close; None for more than 12."""

    data: str
    n_rows: int
    n_features: int
    n_clusters: int
    percent: list[int | None]
    tenth_of_percent: list[int | None]
    converged: list[float]  # inertia at convergence, over that of the best of 10 restarts

    @property
    def rendered(self) -> list[str]:
        shape = f"{short_count(self.n_rows)} x {self.n_features}, {self.n_clusters}"
        return [
            f"{self.data}: {shape}",
            _median_and_worst(self.percent),
            _median_and_worst(self.tenth_of_percent),
            f"{median(self.converged):.4f} ({max(self.converged):.4f})",
        ]


def _median_and_worst(reads: list[int | None]) -> str:
    numbers = sorted(_MOST_READS + 1 if n is None else n for n in reads)
    words = [
        str(n) if n <= _MOST_READS else "more" for n in (numbers[len(numbers) // 2], numbers[-1])
    ]
    return f"**{words[0]}** ({words[1]})"


def _data(shrink: int) -> dict[str, tuple[NDArray[Any], int]]:
    n = _N_ROWS // shrink
    rng = np.random.default_rng(SEED)

    def blobs(n_features: int, k: int, **options: Any) -> NDArray[Any]:
        return dask.compute(
            make_blobs(n, n_features, centers=k, overlap=0.05, random_state=0, **options)
        )[0]

    return {
        "blobs that overlap": (blobs(16, 50), 50),
        "blobs of Zipf's sizes": (blobs(16, 50, sizes=1 / np.arange(1, 51)), 50),
        "uniform": (rng.random((n, 8), dtype=np.float32), 20),
        "pixels": (image_pixels(rng)[::shrink], 64),
    }


def passes_needed(shrink: int = 1) -> list[PassesNeeded]:
    """Count on each kind of data; `shrink` divides the number of rows."""
    found = []
    for name, (rows, k) in _data(shrink).items():
        best = KMeans(k, init="k-means++", n_init=10, tol=1e-6, random_state=0).fit(rows).inertia_
        reads: dict[float, list[int | None]] = {0.01: [], 0.001: []}
        converged = []
        for seed in range(_N_SEEDS):
            options: dict[str, Any] = {"init": "refined", "random_state": seed}
            # The first read gives the sample, and with it centers already.
            reached = [KMeans(k, max_passes=2, **options).fit(rows).inertia_]
            model = KMeans(k, tol=1e-6, **options).fit(rows)
            # Of the rows as they were assigned before the centers moved: no less than the inertia.
            reached += [record.inertia for record in model.history_]
            for share, counts in reads.items():
                near = (i + 1 for i, inertia in enumerate(reached) if inertia <= (1 + share) * best)
                first = next(near, None)
                counts.append(first if first is None or first <= _MOST_READS else None)
            converged.append(model.inertia_ / best)
        found.append(PassesNeeded(name, *rows.shape, k, reads[0.01], reads[0.001], converged))
        click.echo(" | ".join(found[-1].rendered), err=True)
    return found


if __name__ == "__main__":
    click.echo(
        markdown_table(
            ["data: rows x features, k", "within 1 %", "within 0.1 %", "converged to"],
            [each.rendered for each in passes_needed()],
        )
    )
