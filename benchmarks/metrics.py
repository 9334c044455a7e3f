"""Metrics beside scikit-learn's: do they agree, and what do they cost?

    python benchmarks/metrics.py                # writes results/metrics.json and results/metrics.md
    python benchmarks/metrics.py --shrink 100   # a hundredth of the rows; prints

Both are called in turn in this process, on the same rows in memory. scikit-learn's silhouettes
compare each row with each other, so they are measured on a few.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from statistics import median

import click
import numpy as np
import sklearn.metrics

from daskmeans import KMeans, metrics
from data import SEED
from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result

_N_ROWS, _FEW_ROWS, _N_FEATURES, _N_CLUSTERS = 1_000_000, 5_000, 16, 20
_GOAL = 1e-9
_BY_ROWS = ("davies_bouldin_score", "calinski_harabasz_score")
_BY_PAIRS_OF_ROWS = {
    "silhouette_score": "euclidean",
    "squared_euclidean_silhouette_score": "sqeuclidean",
    "cosine_silhouette_score": "cosine",
}
_BY_LABELS = (
    "adjusted_rand_score",
    "mutual_info_score",
    "normalized_mutual_info_score",
    "adjusted_mutual_info_score",
)


@dataclass
class Compared:
    """A metric of both: the relative difference of the values, and seconds of each call."""

    name: str
    rows: int
    difference: float
    ours_s: list[float] = field(default_factory=list)
    theirs_s: list[float] = field(default_factory=list)

    @property
    def rendered(self) -> list[str]:
        ratios = [b / a for a, b in zip(self.ours_s, self.theirs_s, strict=True)]
        return [
            self.name,
            f"{self.rows:,}",
            f"{self.difference:.1e}",
            f"{1e3 * median(self.ours_s):.1f}",
            f"{1e3 * median(self.theirs_s):.1f}",
            f"**{median(ratios):.3g}** ({min(ratios):.3g} to {max(ratios):.3g})",
        ]


def _compare(
    name: str, rows: int, ours: Callable[[], float], theirs: Callable[[], float], n_pairs: int
) -> Compared:
    value, wanted = ours(), theirs()
    found = Compared(name, rows, abs(value - wanted) / abs(wanted))
    for _ in range(n_pairs):
        for call, seconds in ((ours, found.ours_s), (theirs, found.theirs_s)):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
    click.echo(" | ".join(found.rendered), err=True)
    return found


def _measure(n_rows: int, n_pairs: int) -> list[Compared]:
    generator = np.random.default_rng(SEED)
    middles = generator.uniform(-10, 10, (_N_CLUSTERS, _N_FEATURES))
    true = generator.integers(_N_CLUSTERS, size=n_rows)
    X = middles[true] + 3 * generator.normal(size=(n_rows, _N_FEATURES))
    labels = KMeans(_N_CLUSTERS, n_init=1, random_state=0).fit(X).labels_
    few = slice(0, min(n_rows, _FEW_ROWS))
    found = []
    for name in _BY_ROWS:
        ours, theirs = getattr(metrics, name), getattr(sklearn.metrics, name)
        found.append(
            _compare(
                name,
                n_rows,
                lambda f=ours: f(X, labels),
                lambda f=theirs: f(X, labels),
                n_pairs,
            )
        )
    for name, distance in _BY_PAIRS_OF_ROWS.items():
        ours = getattr(metrics, name)
        # By default the silhouette is of a sample.
        options = {"sample_size": few.stop} if name == "silhouette_score" else {}
        found.append(
            _compare(
                name,
                few.stop,
                lambda f=ours, o=options: f(X[few], labels[few], **o),
                lambda d=distance: sklearn.metrics.silhouette_score(X[few], labels[few], metric=d),
                n_pairs,
            )
        )
    for name in _BY_LABELS:
        ours, theirs = getattr(metrics, name), getattr(sklearn.metrics, name)
        found.append(
            _compare(
                name,
                n_rows,
                lambda f=ours: f(true, labels),
                lambda f=theirs: f(true, labels),
                n_pairs,
            )
        )
    return found


def _render(found: list[Compared]) -> str:
    table = markdown_table(
        ["metric", "rows", "difference", "ours, ms", "scikit-learn, ms", "scikit-learn / ours"],
        [each.rendered for each in found],
    )
    agree = sum(each.difference <= _GOAL for each in found)
    return (
        f"{_N_FEATURES} features in float64, {_N_CLUSTERS} clusters, called in turn: median "
        f"(lowest to highest). Relative difference of at most {_GOAL:g}: {agree} of {len(found)}. "
        "Spark's two silhouettes are compared with Spark's own values by tests/metrics.\n\n" + table
    )


@click.command()
@click.option("--shrink", default=1, show_default=True, help="Divide rows by this; writes nothing.")
@click.option("--pairs", "n_pairs", default=5, show_default=True)
def main(shrink: int, n_pairs: int) -> None:
    """Compare every metric that scikit-learn has too; write the results if nothing is shrunk."""
    found = _measure(_N_ROWS // shrink, n_pairs)
    text = _render(found)
    if shrink == 1:
        machine = describe_machine()
        about = {
            "date": date.today().isoformat(),
            "machine": machine,
            "versions": versions(["daskmeans", "scikit-learn", "numpy"]),
        }
        text = (
            f"# Metrics\n\n{about['date']}, {machine_line(machine)}. Written by `python "
            f"benchmarks/metrics.py`.\n\n{text}"
        )
        write_result("metrics", {**about, "metrics": [asdict(each) for each in found]}, text)
    click.echo(text)
    if any(each.difference > _GOAL for each in found):
        raise click.ClickException(f"a metric is not scikit-learn's to {_GOAL:g}")


if __name__ == "__main__":
    main()
