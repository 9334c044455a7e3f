"""Plots of a sweep over numbers of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from daskmeans.plots.axes import BLUE, OKABE_ITO, ORANGE, Swept, axes_or_new, inertia_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "os^Dvp*X"


def elbow(result: Swept, *, ax: Axes | None = None) -> Axes:
    """Draw the inertia against the number of clusters, with the elbow.

    Parameters
    ----------
    result : SweepResult
    ax : matplotlib Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    MissingExtraError
        If matplotlib or kneed is not installed.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from daskmeans import plots, sweep
    >>> from daskmeans.datasets import make_blobs
    >>> found = sweep(make_blobs(4_000, 3, centers=5, overlap=1e-4), range(2, 11), random_state=0)
    >>> plots.elbow(found).get_title()
    'Inertia by number of clusters: elbow at 5'
    """
    chosen = result.elbow
    ax = axes_or_new(ax)
    inertias = np.array([model.inertia_ for model in result.models.values()])
    ax.plot(result.n_clusters, inertias, color=BLUE, marker="o", markersize=5)
    if (inertias > 0).all():
        # The elbow is one of the logarithm.
        ax.set_yscale("log")
    title = "Inertia by number of clusters"
    if chosen is not None:
        ax.axvline(chosen, color=ORANGE, linestyle="--", label=f"elbow: {chosen} clusters")
        ax.legend(frameon=False)
        title += f": elbow at {chosen}"
    ax.set_title(title)
    ax.set_ylabel(inertia_label(next(iter(result.models.values()))))
    _count_clusters(ax)
    return ax


def metrics(result: Swept, names: Sequence[str] | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw metrics against the number of clusters.

    Parameters
    ----------
    result : SweepResult
    names : sequence of str, optional
        Of the metrics; all by default. Several are each scaled to their own range.
    ax : matplotlib Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        For a metric that the sweep did not compute.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from daskmeans import plots, sweep
    >>> found = sweep([[0.0], [1.0], [8.0], [9.5]], [1, 2, 3], random_state=0)
    >>> plots.metrics(found).get_title()
    'Inertia by number of clusters'
    """
    names = list(result.scores) if names is None else list(names)
    for name in names:
        if name not in result.scores:
            raise ValueError(
                f"The sweep has no metric {name!r}: it has {', '.join(result.scores)}."
            )
    ax = axes_or_new(ax)
    for number, name in enumerate(names):
        values = np.asarray(result.scores[name], dtype=np.float64)
        label = name.replace("_", " ")
        if len(names) > 1:
            low, high = np.nanmin(values), np.nanmax(values)
            values = (values - low) / (high - low) if high > low else np.zeros(len(values))
            label += f" ({low:.4g} to {high:.4g})"
        ax.plot(
            result.n_clusters,
            values,
            color=OKABE_ITO[number % len(OKABE_ITO)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=5,
            label=label,
        )
    if len(names) > 1:
        ax.set_ylabel("metric, scaled from its lowest to its highest value")
        # Below the plot: lines of several metrics leave no corner free.
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
        ax.set_title("Metrics by number of clusters")
    else:
        ax.set_ylabel(names[0].replace("_", " "))
        ax.set_title(f"{names[0].replace('_', ' ').capitalize()} by number of clusters")
    _count_clusters(ax)
    return ax


def _count_clusters(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("number of clusters")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
