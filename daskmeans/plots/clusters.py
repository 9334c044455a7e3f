"""Plots of clusters where the rows are: in a plane, and in an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from daskmeans.algorithms.density import density, plane_of_features, principal_plane
from daskmeans.algorithms.survey import survey
from daskmeans.blocks.inputs import ArrayLike
from daskmeans.errors import RowsError
from daskmeans.estimators.rows import runner_over
from daskmeans.plots.axes import ORANGE, axes_or_new, cluster_colors, names_of_features

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More numbers than this would cover each other.
_MOST_NUMBERED = 40
_MOST_PIXELS = 2_000


def clusters(
    model: Any,
    X: ArrayLike,
    features: tuple[int | str, int | str] | None = None,
    *,
    n_bins: int = 200,
    random_state: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the density of all rows in a plane, and the centers.

    Two passes: one surveys the rows, the other counts them in bins. What is drawn are bins, however
    many rows there are.

    Parameters
    ----------
    model : fitted KMeans
        Its centers are drawn among the rows.
    X : array-like of shape (n_samples, n_features)
        Rows, of any kind that `KMeans.fit` takes.
    features : pair of int or str, optional
        Numbers or names of the features to draw. By default the first two principal components of a
        sample of at most 10,000 rows.
    n_bins : int, default=200
        Bins along each axis.
    random_state : int, default=0
        Determines the sample.
    ax : matplotlib Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib Axes
        What was drawn into.

    Raises
    ------
    ValueError
        For features that the model does not have; as `KMeans.predict`.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from daskmeans import KMeans, plots
    >>> from daskmeans.datasets import make_blobs
    >>> X = make_blobs(10_000, 4, centers=3, chunks=1_000)
    >>> plots.clusters(KMeans(3, random_state=0).fit(X), X, features=(0, 2)).get_ylabel()
    'feature 2'
    """
    names = names_of_features(model)
    chosen = None if features is None else [_number(feature, names) for feature in features]
    ax = axes_or_new(ax)
    from matplotlib.colors import LogNorm

    centers = np.asarray(model.cluster_centers_)
    with runner_over(model, X, None, reset=False) as run:
        if run.source.sparse:
            raise RowsError(
                "X is sparse, and the plane of a picture is that of dense rows. Reduce the rows "
                "first, for instance with scikit-learn's TruncatedSVD."
            )
        surveyed = survey(run, 1, random_state, seeding=False)
        if chosen is None:
            plane, shares = principal_plane(surveyed)
            labels = [
                f"{which} principal component ({share:.0%} of the variance)"
                for which, share in zip(("first", "second"), shares, strict=True)
            ]
        else:
            plane = plane_of_features(surveyed.n_features, chosen[0], chosen[1])
            labels = [names[j] for j in chosen]
        found = density(run, surveyed, plane, centers, n_bins)
    counts = np.ma.masked_equal(found.counts.T, 0)
    mesh = ax.pcolormesh(
        found.x_edges,
        found.y_edges,
        counts,
        cmap="cividis",
        norm=LogNorm(1, max(2, int(found.counts.max()))),
        rasterized=True,
    )
    ax.figure.colorbar(mesh, ax=ax, label="rows in a bin")
    x, y = plane.project(centers).T
    ax.plot(x, y, "o", color=ORANGE, markeredgecolor="white", markersize=7, label="center")
    if len(centers) <= _MOST_NUMBERED:
        from matplotlib.patheffects import withStroke

        for number, place in enumerate(zip(x, y, strict=True)):
            ax.annotate(
                str(number),
                place,
                xytext=(5, 5),
                textcoords="offset points",
                size=9,
                weight="bold",
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    of_length_one = " of length 1" if surveyed.metric == "cosine" else ""
    title = f"{surveyed.n_rows:,} rows{of_length_one} and {len(centers)} centers"
    if found.n_outside:
        title += f" ({found.n_outside:,} row{'s' if found.n_outside > 1 else ''} outside)"
    ax.set_title(title)
    return ax


def _number(feature: int | str, names: list[str]) -> int:
    """Return the number of a feature that was given by number or name."""
    if isinstance(feature, str):
        if feature not in names:
            raise ValueError(f"There is no feature {feature!r}: the model knows {names}.")
        return names.index(feature)
    if not 0 <= feature < len(names):
        raise ValueError(f"There is no feature {feature}: the model has 0 to {len(names) - 1}.")
    return int(feature)


def label_map(labels: Any, shape: tuple[int, int], *, ax: Axes | None = None) -> Axes:
    """Draw the labels of an image's pixels as an image.

    Parameters
    ----------
    labels : ndarray or dask array of shape (height * width,), int
        A pixel's label after that of the one to its left. Of more than 2,000 pixels along a side
        every so many-th is drawn.
    shape : tuple of (height, width)
        Of the image, in pixels.
    ax : matplotlib Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib Axes
        What was drawn into.

    Raises
    ------
    ValueError
        If there is not one label for each pixel.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from daskmeans import plots
    >>> plots.label_map(np.array([0, 1, 1, 0, 2, 2]), (2, 3)).get_title()
    'Labels of 2 x 3 pixels'
    """
    height, width = shape
    if labels.shape != (height * width,):
        raise ValueError(
            f"labels has shape {labels.shape}, and an image of shape {(height, width)} has "
            f"{height * width} pixels: pass one label for each."
        )
    # As high as the image, so that the bar of colors is no higher either.
    ax = axes_or_new(ax, 7.0, min(12, max(2.5, 5.4 * height / width + 0.9)))
    from matplotlib.colors import BoundaryNorm, ListedColormap

    step = -(-max(shape) // _MOST_PIXELS)
    shown = np.asarray(labels.reshape(shape)[::step, ::step])
    k = int(shown.max()) + 1
    colors = ListedColormap(cluster_colors(k))
    image = ax.imshow(
        shown,
        cmap=colors,
        norm=BoundaryNorm(np.arange(k + 1) - 0.5, k),
        extent=(0, width, height, 0),
        interpolation="nearest",
    )
    ticks = np.arange(0, k, -(-k // 16))
    ax.figure.colorbar(image, ax=ax, label="cluster", ticks=ticks)
    ax.set_xlabel("column (pixels)")
    ax.set_ylabel("row (pixels)")
    ax.set_title(f"Labels of {height:,} x {width:,} pixels")
    return ax
