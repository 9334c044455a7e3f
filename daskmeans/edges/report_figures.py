"""The pictures of a report, each as the text of an image that a page can hold."""

from __future__ import annotations

import base64
import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daskmeans import plots
from daskmeans.blocks.inputs import ArrayLike
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.sweep import SweepResult
from daskmeans.plots.axes import figure_class
from daskmeans.typing import Array

_PURPOSE = "A report"
_DOTS_PER_INCH = 110
# Beyond this two do not stand side by side on a page.
_WIDE_INCHES = 8.0
# Beyond this nobody reads the numbers in a plot.
_LARGEST_INCHES = 16.0


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes
    ----------
    title : str
        What a reader who does not see it is told.
    source : str
        A `data:` URL of a PNG image.
    wide : bool
        It takes a line of the page for itself.
    """

    title: str
    source: str
    wide: bool


def check_matplotlib() -> None:
    """Raise if the pictures could not be drawn.

    Raises
    ------
    MissingExtraError
    """
    figure_class(_PURPOSE)


def pictures(
    model: KMeans, rows: ArrayLike, centers: Array, found: SweepResult, *, random_state: int
) -> list[Picture]:
    """Draw a model, its rows, and the sweep that led to it.

    Parameters
    ----------
    model : KMeans
    rows : array-like of shape (n_samples, n_features)
        The preprocessed rows.
    centers : ndarray of shape (k, d)
        Centers in the units of the columns.
    found : SweepResult
        With one model only nothing is drawn of it.
    random_state : int
        Draws the samples that plots show.
    """
    k, d = centers.shape
    in_units = copy.copy(model)
    in_units.cluster_centers_ = centers
    drawn: list[tuple[float, float, Callable[..., Any]]] = []
    if len(found.models) > 1:
        drawn += [
            (6.4, 5.0, lambda ax: plots.elbow(found, ax=ax)),
            (6.4, 5.6, lambda ax: plots.metrics(found, ax=ax)),
        ]
    drawn += [
        (7.2, 5.4, lambda ax: plots.clusters(model, rows, random_state=random_state, ax=ax)),
        (max(5, 1.5 + 0.45 * k), 4, lambda ax: plots.sizes(model, ax=ax)),
        (3.4 + 0.75 * d, 2.2 + 0.36 * k, lambda ax: plots.profiles(in_units, ax=ax)),
    ]
    if k > 1:
        drawn.append(
            (
                6.4,
                max(4.8, 0.3 * k + 1.5),
                lambda ax: plots.silhouette(model, rows, random_state=random_state, ax=ax),
            )
        )
    drawn.append((6.4, 4.8, lambda ax: plots.convergence(model, ax=ax)))
    return [_picture(width, height, draw) for width, height, draw in drawn]


def _picture(width: float, height: float, draw: Callable[..., Any]) -> Picture:
    # A figure of its own, which pyplot would keep.
    size = min(width, _LARGEST_INCHES), min(height, _LARGEST_INCHES)
    figure = figure_class(_PURPOSE)(figsize=size, layout="constrained")
    ax = figure.subplots()
    draw(ax=ax)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=_DOTS_PER_INCH)
    text = base64.b64encode(image.getvalue()).decode("ascii")
    return Picture(ax.get_title(), f"data:image/png;base64,{text}", width > _WIDE_INCHES)
