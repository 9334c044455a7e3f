"""How good the default start is: final inertia of ours and of scikit-learn over 20 seeds.

python benchmarks/seeding.py
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from statistics import median
from typing import Any

import click
import numpy as np
import sklearn.cluster
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import costs
import daskmeans
from data import SEED, image_pixels, overlapping_blobs, short_count
from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result

_N_SEEDS = 20

# More rows than the sample that seeding draws, but for digits. 64 colors is what the demo finds.
_BLOBS_SHAPE = (200_000, 16)
_N_CLUSTERS = {"blobs": 50, "sample-image pixels": 64, "digits": 10}


@dataclass(frozen=True)
class Comparison:
    """Final inertia over the seeds, by the same function for both."""

    data: str
    n_rows: int
    n_features: int
    n_clusters: int
    ours: list[float]
    scikit_learn: list[float]

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.scikit_learn)


def _rows(name: str) -> NDArray[Any]:
    rng = np.random.default_rng(SEED)
    if name == "blobs":
        return overlapping_blobs(*_BLOBS_SHAPE, _N_CLUSTERS[name], rng)
    if name == "digits":
        return load_digits().data
    return image_pixels(rng)


def _compare(name: str) -> Comparison:
    rows = _rows(name)
    n_clusters = _N_CLUSTERS[name]

    def final_inertia(estimator: Any, seed: int) -> float:
        model = estimator(n_clusters, n_init=1, random_state=seed).fit(rows)
        return costs.inertia(rows, model.cluster_centers_)

    comparison = Comparison(
        data=name,
        n_rows=rows.shape[0],
        n_features=rows.shape[1],
        n_clusters=n_clusters,
        ours=[final_inertia(daskmeans.KMeans, seed) for seed in range(_N_SEEDS)],
        scikit_learn=[final_inertia(sklearn.cluster.KMeans, seed) for seed in range(_N_SEEDS)],
    )
    click.echo(f"{name}: {comparison.ratio:.4f}", err=True)
    return comparison


def _render(comparisons: list[Comparison], machine: dict[str, Any]) -> str:
    header = ["data: rows x features, k", "daskmeans", "scikit-learn", "ratio of medians"]
    rows = [
        [
            f"{one.data}: {short_count(one.n_rows)} x {one.n_features}, {one.n_clusters}",
            _spread(one.ours),
            _spread(one.scikit_learn),
            f"**{one.ratio:.4f}**",
        ]
        for one in comparisons
    ]
    return (
        "# Inertia from the default start\n\n"
        f"{date.today().isoformat()}, {machine_line(machine)}. "
        "Written by `python benchmarks/seeding.py`. "
        f"init='k-means++', n_init=1, whole fits with the default tolerance, {_N_SEEDS} seeds; "
        "inertia of the final centers in float64: median (lowest to highest).\n\n"
        + markdown_table(header, rows)
    )


def _spread(inertias: list[float]) -> str:
    return f"{median(inertias):.6g} ({min(inertias):.6g} to {max(inertias):.6g})"


@click.command()
def main() -> None:
    """Write results/seeding.json and results/seeding.md."""
    comparisons = [_compare(name) for name in _N_CLUSTERS]
    machine = describe_machine()
    result = {
        "date": date.today().isoformat(),
        "machine": machine,
        "versions": versions(["daskmeans", "scikit-learn", "numpy"]),
        "comparisons": [{**asdict(one), "ratio": one.ratio} for one in comparisons],
    }
    text = _render(comparisons, machine)
    write_result("seeding", result, text)
    click.echo(text)


if __name__ == "__main__":
    main()
