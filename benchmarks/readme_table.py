"""The README's one table: what was measured against peers, in a line for each kind of work.

Every number is taken from `results/*.json`; nothing is measured here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from results import PeersResult, geometric_mean

# Work and peer of a figure, by the result and the name that its benchmark gave it.
_FIGURES = {
    ("out_of_core", "dask-ml's Lloyd iteration / our pass"): (
        "a pass over a Zarr store",
        "dask-ml's iteration",
    ),
    (
        "out_of_core",
        "dask-ml's k-means|| of 2 rounds / our first pass and clustering of the sample",
    ): ("initial centers from that store", "dask-ml's k-means\\|\\| of 2 rounds"),
    ("out_of_core", "one epoch of scikit-learn's MiniBatchKMeans / our whole fit, rtol=1e-3"): (
        "a whole fit of that store",
        "scikit-learn's MiniBatchKMeans, one epoch",
    ),
    ("streaming", "scikit-learn's loop of partial_fit / our epoch"): (
        "an epoch of batches from that store",
        "scikit-learn's loop of `partial_fit`",
    ),
    ("cluster", "dask-ml / ours an iteration, 1,000 blocks"): (
        "an iteration on a cluster, 1,000 blocks",
        "dask-ml",
    ),
}
# A faster fit that ends elsewhere is not the same work.
_INERTIAS = {"a whole fit of that store": "inertia of that MiniBatchKMeans / of our fit, rtol=1e-3"}
_PEERS = {"peers": "a Lloyd iteration", "peers-whole-fit": "a whole fit"}


def readme_rows(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield work, peer, ratio and date of each line, from the results in a folder."""
    for name, work in _PEERS.items():
        result = PeersResult.read(folder / f"{name}.json")
        for dtype in dict.fromkeys(cell.cell.dtype for cell in result.cells):
            cells = [cell for cell in result.cells if cell.cell.dtype == dtype]
            yield (
                f"{work}, {len(cells)} data sets in memory"
                + ("" if dtype == "float32" else f", {dtype}"),
                "scikit-learn",
                _over_cells([cell.ratio("scikit-learn").median for cell in cells]),
                result.date,
            )
            fewest = min(len(cell.peers) for cell in cells)
            if name == "peers" and fewest > 1:
                fastest = [cell.ratio(cell.fastest_peer() or "").median for cell in cells]
                yield "", f"the fastest of {fewest}", _over_cells(fastest), result.date
    for (name, figure), (work, peer) in _FIGURES.items():
        content = _read(folder, name)
        if work in _INERTIAS:
            higher = median(_figure(content, _INERTIAS[work])) - 1
            peer += f", which ends {higher:+.1%} in inertia"
        yield work, peer, _over_runs(_figure(content, figure)), content["date"]
    content = _read(folder, "spark")
    ratios = [
        median(theirs / ours for theirs, ours in zip(cell["mllib"], cell["ours"], strict=True))
        for cell in content["cells"]
    ]
    yield (
        f"an iteration on a cached Spark DataFrame, {len(ratios)} data sets",
        "MLlib",
        _over_cells(ratios),
        content["date"],
    )
    content = _read(folder, "sweep")
    ratios = [run["loop_s"] / run["sweep_s"] for run in content["timed"] if run["n_init"] is None]
    yield (
        f"a sweep over k = 2 to 17, {len(ratios)} data sets",
        "scikit-learn's loop of fits",
        _over_cells(ratios),
        content["date"],
    )


def machines(folder: Path) -> list[dict[str, Any]]:
    """Return the machines of those results, each once."""
    names = dict.fromkeys([*_PEERS, *(name for name, _ in _FIGURES), "spark", "sweep"])
    found = [_read(folder, name)["machine"] for name in names]
    return [machine for i, machine in enumerate(found) if machine not in found[:i]]


def _read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return content


def _figure(content: dict[str, Any], name: str) -> list[float]:
    (figure,) = (figure for figure in content["figures"] if figure["name"] == name)
    values: list[float] = figure["ratios"] if "ratios" in figure else figure["values"]
    return values


def _over_cells(ratios: list[float]) -> str:
    return f"**{geometric_mean(ratios):.3g}** ({min(ratios):.3g} to {max(ratios):.3g})"


def _over_runs(ratios: list[float]) -> str:
    spread = f" ({min(ratios):.3g} to {max(ratios):.3g})" if len(ratios) > 1 else ", one run"
    return f"**{median(ratios):.3g}**{spread}"
