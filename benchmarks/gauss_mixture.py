"""Rerun the table of the k-means|| paper on GAUSSMIXTURE: costs of the seeds and after Lloyd.

    python benchmarks/gauss_mixture.py

Bahmani et al., "Scalable K-Means++", VLDB 2012, Table 1: 10,000 rows, 15 features, 50 clusters,
centers of standard deviation R; medians of 11 runs, in units of 10,000. Every run draws data anew.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from statistics import median
from typing import Any

import click
import numpy as np
import sklearn.cluster
from numpy.typing import NDArray

import costs
import daskmeans
from daskmeans.datasets import make_gauss_mixture
from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result

_N_CLUSTERS = 50
_DEVIATIONS = (1, 10, 100)
_N_DRAWS = 11
_UNIT = 1e4

_PAPER_ROW = "paper: k-means\\|\\|, l=2k, r=5"
_PAPER = {1: (17, 14), 10: (27, 25), 100: (16, 15)}

Array = NDArray[Any]


def _ours_parallel(rows: Array, seed: int) -> Array:
    return daskmeans.kmeans_parallel(
        rows, _N_CLUSTERS, oversampling_factor=2.0, init_rounds=5, random_state=seed
    )


def _ours_plusplus(rows: Array, seed: int) -> Array:
    return daskmeans.kmeans_plusplus(rows, _N_CLUSTERS, random_state=seed)[0]


def _scikit_learn_plusplus(rows: Array, seed: int) -> Array:
    return sklearn.cluster.kmeans_plusplus(rows, _N_CLUSTERS, random_state=seed)[0]


# Name in the table -> seeding, and the estimator that goes on from the seeds.
_METHODS: dict[str, tuple[Callable[[Array, int], Array], Any]] = {
    "daskmeans k-means\\|\\|, l=2k, r=5": (_ours_parallel, daskmeans.KMeans),
    "daskmeans k-means++": (_ours_plusplus, daskmeans.KMeans),
    "scikit-learn k-means++": (_scikit_learn_plusplus, sklearn.cluster.KMeans),
}


def _seed_and_final_cost(method: str, rows: Array, seed: int) -> tuple[float, float]:
    seeding, estimator = _METHODS[method]
    centers = np.asarray(seeding(rows, seed))
    model = estimator(_N_CLUSTERS, init=centers, n_init=1, tol=0).fit(rows)
    return costs.inertia(rows, centers), costs.inertia(rows, model.cluster_centers_)


def _costs_of(deviation: int) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in _METHODS}
    for draw in range(_N_DRAWS):
        lazy_rows, _ = make_gauss_mixture(n_clusters=_N_CLUSTERS, R=deviation, random_state=draw)
        rows = lazy_rows.compute()
        for method in _METHODS:
            found[method].append(_seed_and_final_cost(method, rows, draw))
    return found


def _render(result: dict[str, Any]) -> str:
    header = ["seeding"]
    header += [f"R={deviation} {stage}" for deviation in _DEVIATIONS for stage in ("seed", "final")]
    rows = [[_PAPER_ROW, *(str(cost) for deviation in _DEVIATIONS for cost in _PAPER[deviation])]]
    for method in _METHODS:
        line = [method]
        for deviation in _DEVIATIONS:
            pairs = result["costs"][str(deviation)][method]
            line += [f"{median(stage) / _UNIT:.2f}" for stage in zip(*pairs, strict=True)]
        rows.append(line)
    return (
        "# Seeding on GAUSSMIXTURE\n\n"
        f"{result['date']}, {machine_line(result['machine'])}. "
        f"Written by `python benchmarks/gauss_mixture.py`. Cost / 10,000, median of {_N_DRAWS} "
        "draws of data and seeds: of the seeds, and of the centers after Lloyd to its end. The "
        "paper rounds to whole numbers.\n\n" + markdown_table(header, rows)
    )


@click.command()
def main() -> None:
    """Write results/gauss_mixture.json and results/gauss_mixture.md."""
    result = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "versions": versions(["daskmeans", "scikit-learn", "numpy"]),
        "costs": {str(deviation): _costs_of(deviation) for deviation in _DEVIATIONS},
    }
    text = _render(result)
    write_result("gauss_mixture", result, text)
    click.echo(text)


if __name__ == "__main__":
    main()
