"""What batches cost: an epoch over a Zarr store, a small batch, and what forgetting is good for.

python benchmarks/streaming.py --folder /path/with/4/GB
"""

from __future__ import annotations

import tempfile
import time
import timeit
from dataclasses import asdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import sklearn.cluster
from matplotlib.figure import Figure as Picture
from numpy.typing import NDArray

from daskmeans import MiniBatchKMeans
from machine import describe_machine, versions
from out_of_core import Bench, Figure, compared, inertia_of, made_store
from report import RESULTS, machine_line, markdown_table, write_result

_ROWS = 8_000_000
_QUICK_SHRINKS_BY = 20
_BATCH_ROWS, _BATCH_FEATURES, _BATCH_CLUSTERS = 1_000, 16, 10
_CALLS = 200
_DRIFT_BATCHES, _HALF_LIVES = 300, (2.0, 10.0, 50.0)


def _epoch(bench: Bench) -> list[Figure]:
    found = bench.in_turn("epoch", "batches-loop", "read")
    inertias = {
        task: inertia_of(bench.store, found[task][-1]["centers"])
        for task in ("epoch", "batches-loop")
    }
    return [
        compared(
            "scikit-learn's loop of partial_fit / our epoch",
            ">= 2",
            {task: found[task] for task in ("batches-loop", "epoch")},
            lambda s: s["batches-loop"] / s["epoch"],
        ),
        compared(
            "our epoch / reading the store with zarr",
            "<= 1.3",
            {task: found[task] for task in ("epoch", "read")},
            lambda s: s["epoch"] / s["read"],
        ),
        Figure(
            "inertia of our epoch / of that loop",
            "<= 1",
            {},
            [inertias["epoch"] / inertias["batches-loop"]],
        ),
    ]


def _small_batch(n_pairs: int) -> Figure:
    """Seconds of a call of partial_fit in a tight loop, ours and scikit-learn's."""
    rows = np.random.default_rng(0).normal(size=(_BATCH_ROWS, _BATCH_FEATURES))
    models = {
        "ours": MiniBatchKMeans(_BATCH_CLUSTERS, random_state=0),
        "scikit-learn": sklearn.cluster.MiniBatchKMeans(_BATCH_CLUSTERS, random_state=0),
    }
    for model in models.values():
        for _ in range(20):
            model.partial_fit(rows)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(n_pairs):
        for name, model in models.items():
            time.sleep(0.1)
            took = timeit.timeit(lambda model=model: model.partial_fit(rows), number=_CALLS)
            seconds[name].append(took / _CALLS)
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    name = (
        f"partial_fit of {_BATCH_ROWS:,} x {_BATCH_FEATURES}, k = {_BATCH_CLUSTERS}: ours / theirs"
    )
    return Figure(name, "< 2", seconds, ratios)


def _drift() -> dict[str, list[float]]:
    """Distance of the centers to the true ones that move, batch by batch, by half-life."""
    generator = np.random.default_rng(7)
    start = generator.uniform(-10, 10, (6, 2))
    angles = generator.uniform(0, 2 * np.pi, 6)
    velocity = 0.05 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    parameters: dict[str, Any] = {"init": start, "reassignment_ratio": 0, "compute_labels": False}
    models = {"none": MiniBatchKMeans(6, **parameters)}
    for half_life in _HALF_LIVES:
        models[f"{half_life:g}"] = MiniBatchKMeans(6, half_life=half_life, **parameters)
    errors: dict[str, list[float]] = {name: [] for name in models}
    for number in range(_DRIFT_BATCHES):
        # They move for two thirds of the time, and then stay.
        true = start + velocity * min(number, 2 * _DRIFT_BATCHES // 3)
        batch = true[generator.integers(6, size=200)] + generator.normal(scale=0.7, size=(200, 2))
        for name, model in models.items():
            model.partial_fit(batch)
            errors[name].append(_distance(model.cluster_centers_, true))
    return errors


def _distance(centers: NDArray[Any], true: NDArray[Any]) -> float:
    """Root mean square of the distance from each true center to the nearest one found."""
    squares = ((true[:, None] - centers[None]) ** 2).sum(axis=2).min(axis=1)
    return float(np.sqrt(squares.mean()))


def _draw(errors: dict[str, list[float]], path: Path) -> None:
    figure = Picture(figsize=(7, 4), layout="constrained")
    ax = figure.subplots()
    colors = ["#000000", "#0072B2", "#D55E00", "#009E73"]
    for (name, values), color in zip(errors.items(), colors, strict=True):
        label = "no forgetting (decay = 1)" if name == "none" else f"half-life {name} batches"
        ax.plot(np.arange(1, len(values) + 1), values, color=color, label=label)
    ax.axvline(2 * _DRIFT_BATCHES / 3, color="0.6", linestyle=":", label="centers stop moving")
    ax.set(
        xlabel="batch of 200 rows",
        ylabel="distance to the true centers (RMS)",
        title="Six centers that move by 0.05 a batch, noise 0.7",
        yscale="log",
    )
    ax.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=120)


def _render(figures: list[Figure], errors: dict[str, list[float]], about: dict[str, Any]) -> str:
    moving = slice(_DRIFT_BATCHES // 3, 2 * _DRIFT_BATCHES // 3)
    still = slice(-_DRIFT_BATCHES // 6, None)
    return "\n".join(
        [
            "# Batches and streams\n",
            f"{about['date']}, {machine_line(about['machine'])}. "
            f"Written by `python benchmarks/streaming.py`. {about['rows']:,} x 64 float32 in "
            "chunks of 100,000 rows, k = 50, a chunk a batch on both sides, "
            f"{about['n_threads']} threads, {about['n_pairs']} times in turn: median (lowest to "
            "highest).\n",
            markdown_table(
                ["figure", "ratio", "goal", "median seconds"], [f.rendered for f in figures]
            ),
            "Distance to the true centers where they move by 0.05 a batch, and after they have "
            "stopped; `streaming.png` shows it batch by batch.\n",
            markdown_table(
                ["half-life, batches", "moving", "still"],
                [
                    [name, f"{median(values[moving]):.3f}", f"{median(values[still]):.3f}"]
                    for name, values in errors.items()
                ],
            ),
        ]
    )


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Where the store is made and kept.")
@click.option("--threads", "n_threads", default=2, show_default=True)
@click.option("--pairs", "n_pairs", default=5, show_default=True)
@click.option("--quick", is_flag=True, help="A small store, to see that all works; writes nothing.")
def main(folder: Path | None, n_threads: int, n_pairs: int, quick: bool) -> None:
    """Write results/streaming.json, results/streaming.md and results/streaming.png."""
    n_rows = _ROWS // (_QUICK_SHRINKS_BY if quick else 1)
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        bench = Bench(made_store(place, n_rows), n_threads, n_pairs, "")
        figures = [*_epoch(bench), _small_batch(n_pairs)]
    errors = _drift()
    about = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "versions": versions(["daskmeans", "zarr", "scikit-learn", "numpy"]),
        "rows": n_rows,
        "n_threads": n_threads,
        "n_pairs": n_pairs,
    }
    text = _render(figures, errors, about)
    if not quick:
        result = {**about, "figures": [asdict(each) for each in figures], "drift": errors}
        write_result("streaming", result, text)
        _draw(errors, RESULTS / "streaming.png")
    click.echo(text)


if __name__ == "__main__":
    main()
