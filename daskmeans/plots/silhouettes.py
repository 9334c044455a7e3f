"""A plot of how well rows fit their clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import silhouette_samples

from daskmeans.algorithms.survey import survey
from daskmeans.blocks.block import Block
from daskmeans.blocks.inputs import ArrayLike
from daskmeans.estimators.centers import center_set_of
from daskmeans.estimators.rows import runner_over
from daskmeans.kernels.csr import CSRRows
from daskmeans.plots.axes import GRAY, axes_or_new, cluster_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def silhouette(
    model: Any,
    X: ArrayLike,
    *,
    n_samples: int = 2_000,
    random_state: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the silhouette of each row of a sample, cluster by cluster.

    Parameters
    ----------
    model : fitted KMeans
        It labels the rows.
    X : array-like of shape (n_samples, n_features)
        Rows, of any kind that `KMeans.fit` takes: one pass draws the sample.
    n_samples : int, default=2000
        Rows of the sample, at most 10,000: each is compared with each other.
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
        If all rows of the sample are in one cluster, which then has no silhouette.

    Notes
    -----
    Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis", Journal of Computational and Applied Mathematics 20, 1987.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from daskmeans import KMeans, plots
    >>> X = [[0.0], [1.0], [8.0], [9.5]]
    >>> plots.silhouette(KMeans(2, random_state=0).fit(X), X).get_title()
    'Silhouettes of 4 rows drawn at random'
    """
    with runner_over(model, X, None, reset=False) as run:
        surveyed = survey(run, 1, random_state, seeding=False)
    rows = surveyed.sample
    if n_samples < len(rows):
        drawn = np.random.RandomState(random_state).choice(len(rows), n_samples, replace=False)
        rows = rows[np.sort(drawn)]
    labels = center_set_of(model).label(Block(0, None, rows, None))
    found = np.unique(labels)
    if not 1 < len(found) < len(rows):
        raise ValueError(
            f"The sample of {len(rows)} rows falls into {len(found)} clusters: a silhouette takes "
            "at least two, and fewer than rows. Draw more rows, or fit more clusters."
        )
    given = rows.to_scipy() if isinstance(rows, CSRRows) else rows
    values = silhouette_samples(given, labels, metric=surveyed.metric)
    k = len(model.cluster_centers_)
    ax = axes_or_new(ax, 6.4, min(14, max(4.8, 0.3 * k + 1.5)))
    colors = cluster_colors(k)
    gap = max(1, len(rows) // 100)
    bottom = 0
    ticks = []
    for label in found:
        inside = np.sort(values[labels == label])
        places = np.arange(bottom, bottom + len(inside))
        ax.fill_betweenx(places, 0, inside, color=colors[label], linewidth=0.5)
        ticks.append(bottom + len(inside) / 2)
        bottom += len(inside) + gap
    mean = float(values.mean())
    ax.axvline(mean, color=GRAY, linestyle="--", label=f"mean: {mean:.2f}")
    ax.set_yticks(ticks, [str(label) for label in found], size=10 if len(found) <= 30 else 7)
    ax.set_ylim(bottom, -gap)
    ax.set_xlim(min(-0.1, float(values.min()) - 0.05), 1)
    ax.set_xlabel("silhouette (1: well inside of its cluster, below 0: closer to another one)")
    ax.set_ylabel("cluster")
    ax.set_title(f"Silhouettes of {len(rows):,} rows drawn at random")
    ax.legend(frameon=False, loc="lower right")
    return ax
