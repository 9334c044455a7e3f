"""A plot of the way of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from daskmeans.plots.axes import BLUE, ORANGE, FittedModel, axes_or_new, inertia_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TICKS = 10


def convergence(model: FittedModel, *, ax: Axes | None = None) -> Axes:
    """Draw inertia and center shift by iteration, and the passes made until then along the top.

    Parameters
    ----------
    model : fitted KMeans
    ax : matplotlib Axes, optional
        Where to draw; a new figure's by default. Twin axes with the center shift are added to it.

    Returns
    -------
    matplotlib Axes
        Those of the inertia.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from daskmeans import KMeans, plots
    >>> model = KMeans(2, random_state=0).fit([[0.0], [1.0], [8.0], [9.5]])
    >>> plots.convergence(model).get_ylabel()
    'inertia (squared units of the features)'
    """
    history = model.history_
    ax = axes_or_new(ax)
    iterations = np.arange(1, len(history) + 1)
    marker = "o" if len(history) <= 40 else None
    (inertia,) = ax.plot(
        iterations,
        [record.inertia for record in history],
        color=BLUE,
        marker=marker,
        markersize=4,
        label="inertia",
    )
    ax.set_xlabel("iteration")
    ax.set_ylabel(inertia_label(model), color=BLUE)
    # A power of ten above the axis would cover the passes.
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.7g}")
    shifts = ax.twinx()
    moved = np.array([record.center_shift for record in history])
    (shift,) = shifts.plot(
        iterations,
        # Centers that stopped moving are off a logarithmic axis.
        np.where(moved > 0, moved, np.nan),
        color=ORANGE,
        linestyle="--",
        marker=None if marker is None else "s",
        markersize=4,
        label="center shift",
    )
    if (moved > 0).any():
        shifts.set_yscale("log")
    shifts.set_ylabel("center shift (squared units)", color=ORANGE)
    ax.legend(handles=[inertia, shift], frameon=False, loc="upper right")

    # The first pass surveyed the rows.
    passes = 1 + np.cumsum([record.n_passes for record in history])
    step = -(-len(history) // _MOST_TICKS)
    ticks = iterations[step - 1 :: step]
    ax.set_xticks(ticks)
    top = ax.secondary_xaxis("top")
    top.set_xticks(ticks, [str(passes[tick - 1]) for tick in ticks])
    top.set_xlabel("passes over the rows until then")
    ax.set_title(f"Convergence in {len(history)} iteration{'s' if len(history) > 1 else ''}")
    return ax
