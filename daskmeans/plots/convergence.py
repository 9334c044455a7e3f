"""A plot of the way of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from daskmeans.algorithms.minibatch import StepRecord
from daskmeans.estimators.rows import metric_of
from daskmeans.plots.axes import BLUE, ORANGE, FittedModel, axes_or_new, inertia_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TICKS, _MOST_MARKERS = 10, 40


def convergence(model: FittedModel, *, ax: Axes | None = None) -> Axes:
    """Draw inertia and center shift by iteration, and the passes made until then along the top.

    Of a model of batches they are drawn by batch, the inertia as it was and smoothed.

    Parameters
    ----------
    model : fitted KMeans or MiniBatchKMeans
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
    ax = axes_or_new(ax)
    if isinstance(model.history_[0], StepRecord):
        _draw_batches(model, ax)
    else:
        _draw_iterations(model, ax)
    # A power of ten above the axis would cover the passes.
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.9g}")
    return ax


def _draw_iterations(model: FittedModel, ax: Axes) -> None:
    history = model.history_
    iterations = np.arange(1, len(history) + 1)
    lines = ax.plot(
        iterations,
        [record.inertia for record in history],
        color=BLUE,
        marker="o" if len(history) <= _MOST_MARKERS else None,
        markersize=4,
        label="inertia",
    )
    ax.set_xlabel("iteration")
    ax.set_ylabel(inertia_label(model), color=BLUE)
    _draw_shifts(iterations, history, ax, lines)

    # The first pass surveyed the rows.
    passes = 1 + np.cumsum([record.n_passes for record in history])
    step = -(-len(history) // _MOST_TICKS)
    ticks = iterations[step - 1 :: step]
    ax.set_xticks(ticks)
    top = ax.secondary_xaxis("top")
    top.set_xticks(ticks, [str(passes[tick - 1]) for tick in ticks])
    top.set_xlabel("passes over the rows until then")
    ax.set_title(f"Convergence in {len(history)} iteration{'s' if len(history) > 1 else ''}")


def _draw_batches(model: FittedModel, ax: Axes) -> None:
    history: Sequence[Any] = model.history_
    batches = np.array([record.step for record in history])
    dots = ax.plot(
        batches,
        [record.inertia for record in history],
        ".",
        color=BLUE,
        alpha=0.35,
        markersize=5,
        label="inertia of the batch",
    )
    line = ax.plot(
        batches, [record.smoothed_inertia for record in history], color=BLUE, label="smoothed"
    )
    ax.set_xlabel("batch")
    unit = "cosine distance" if metric_of(model) == "cosine" else "squared units of the features"
    ax.set_ylabel(f"inertia a row ({unit})", color=BLUE)
    _draw_shifts(batches, history, ax, dots + line)
    ax.set_title(f"Convergence in {history[-1].step:,} batch{'es' if len(history) > 1 else ''}")


def _draw_shifts(at: Any, history: Sequence[Any], ax: Axes, lines: list[Any]) -> None:
    """Draw center shifts into twin axes, and a legend of them and other lines."""
    shifts = ax.twinx()
    moved = np.array([record.center_shift for record in history])
    (shift,) = shifts.plot(
        at,
        # Centers that stopped moving are off a logarithmic axis.
        np.where(moved > 0, moved, np.nan),
        color=ORANGE,
        linestyle="--",
        marker="s" if len(history) <= _MOST_MARKERS else None,
        markersize=4,
        label="center shift",
    )
    if (moved > 0).any():
        shifts.set_yscale("log")
    shifts.set_ylabel("center shift (squared units)", color=ORANGE)
    ax.legend(handles=[*lines, shift], frameon=False, loc="upper right")
