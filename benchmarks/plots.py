"""A picture of a run against the peers: ratios of time, cell by cell."""

from __future__ import annotations

from pathlib import Path

from contenders import OURS
from data import short_count
from results import CellResult, PeersResult

# Okabe and Ito's colors, which people with color blindness tell apart; the shapes differ too.
_STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
)


def plot_ratios(result: PeersResult, path: Path) -> None:
    """Draw for each cell and peer the median ratio of times with its lowest and highest value.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    peers = [name for name in result.contenders if name != OURS]
    height = 1.6 + 0.42 * len(result.cells)
    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, peer in enumerate(peers):
        color, marker = _STYLES[number % len(_STYLES)]
        places, medians, below, above = [], [], [], []
        for line, cell in enumerate(result.cells):
            if peer in cell.peers:
                ratio = cell.ratio(peer)
                # Peers of a cell lie a little apart, so that their whiskers can be told.
                places.append(line + 0.16 * (number - (len(peers) - 1) / 2))
                medians.append(ratio.median)
                below.append(ratio.median - ratio.low)
                above.append(ratio.high - ratio.median)
        axes.errorbar(
            medians,
            places,
            xerr=(below, above),
            fmt=marker,
            color=color,
            markersize=5,
            elinewidth=1,
            label=peer,
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
    )
    axes.set_yticks(range(len(result.cells)), [_label(cell) for cell in result.cells])
    axes.set_ylim(len(result.cells) - 0.5, -0.5)
    axes.grid(axis="x", color="0.88")
    axes.set_axisbelow(True)
    what = "a whole fit" if result.tol > 0 else "an iteration"
    axes.set_xlabel(f"time of {what}, peer over daskmeans (to the right: daskmeans is faster)")
    where = f"{result.machine['processor']}, {result.n_threads} threads, {result.date}"
    axes.set_title(f"Median ratio of times, lowest to highest; {where}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=max(1, len(peers)), frameon=False)
    figure.savefig(path, dpi=110)


def _label(result: CellResult) -> str:
    cell = result.cell
    dtype = "" if cell.dtype == "float32" else f", {cell.dtype}"
    return f"{cell.data}: {short_count(cell.n_rows)} x {cell.n_features}, {cell.n_clusters}{dtype}"
