"""Plots of what the clusters are: their centers by feature, and how many rows each has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np

from daskmeans.plots.axes import BLUE, FittedModel, axes_or_new, names_of_features

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More cells than this have no room for a number each, more clusters none for their share.
_MOST_NUMBERS, _MOST_FEATURES_WITH_NUMBERS, _MOST_SHARES = 160, 12, 20


def profiles(
    model: FittedModel, feature_names: Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the centers as a heat map over the features.

    The color tells how far a center lies from the mean of the centers, in units of their standard
    deviation, feature by feature; the number in a cell is the center itself.

    Parameters
    ----------
    model : fitted KMeans
        Its centers are drawn.
    feature_names : sequence of str, optional
        By default those of the DataFrame that the model was fitted to, or numbers.
    ax : matplotlib Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib Axes
        What was drawn into.

    Raises
    ------
    ValueError
        If there is not one name for each feature.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from daskmeans import KMeans, plots
    >>> model = KMeans(2, random_state=0).fit([[0.0, 5.0], [1.0, 5.0], [8.0, 6.0]])
    >>> ax = plots.profiles(model, ["width", "height"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['width', 'height']
    """
    names = names_of_features(model, feature_names)
    centers = model.cluster_centers_
    k, d = centers.shape
    ax = axes_or_new(ax, min(16, 3.4 + 0.75 * d), min(16, 2.2 + 0.36 * k))
    spread = centers.std(axis=0)
    scaled = (centers - centers.mean(axis=0)) / np.where(spread > 0, spread, 1)
    limit = max(1.0, float(np.abs(scaled).max()))
    image = ax.imshow(scaled, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
    if k * d <= _MOST_NUMBERS and d <= _MOST_FEATURES_WITH_NUMBERS:
        for (i, j), value in np.ndenumerate(centers):
            dark = abs(scaled[i, j]) > 0.7 * limit
            ax.text(
                j, i, f"{value:.3g}", ha="center", va="center", color="w" if dark else "k", size=8
            )
    if d <= 40:
        ax.set_xticks(range(d), names, rotation=45, ha="right", rotation_mode="anchor")
    else:
        ax.set_xlabel("feature")
    if k <= 40:
        ax.set_yticks(range(k))
    ax.set_ylabel("cluster")
    ax.set_title("Cluster profiles")
    ax.figure.colorbar(image, ax=ax, label="center, in standard deviations\nfrom the centers' mean")
    return ax


def sizes(model: FittedModel, *, ax: Axes | None = None) -> Axes:
    """Draw how many rows each cluster has.

    A model without `cluster_sizes_` is asked for its labels; lazy ones are computed.

    Parameters
    ----------
    model : fitted KMeans
        Its `labels_` are counted.
    ax : matplotlib Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib Axes
        What was drawn into.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from daskmeans import KMeans, plots
    >>> model = KMeans(2, random_state=0).fit([[0.0], [1.0], [1.5], [9.5]])
    >>> sorted(int(bar.get_height()) for bar in plots.sizes(model).patches)
    [1, 3]
    """
    k = len(model.cluster_centers_)
    counts = getattr(model, "cluster_sizes_", None)
    if counts is None:
        counts = da.bincount(da.asarray(model.labels_), minlength=k).compute()
    ax = axes_or_new(ax, min(16, max(5, 1.5 + 0.45 * k)), 4)
    bars = ax.bar(range(k), counts.astype(float), color=BLUE)
    if k <= _MOST_SHARES:
        shares = [f"{share:.1%}" for share in counts / counts.sum()]
        ax.bar_label(bars, shares, size=8, padding=2)
        ax.set_xticks(range(k))
    ax.set_xlabel("cluster")
    ax.set_ylabel("rows")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set_title(f"Sizes of {k} clusters, {counts.sum():,} rows")
    ax.margins(y=0.1)
    return ax
