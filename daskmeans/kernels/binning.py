"""Counts of rows by two coordinates, which are sums over the features."""

from __future__ import annotations

import numpy as np

from daskmeans.kernels.compile import inlined, kernel


@inlined
def _bin_of(
    value,  # IN  float64
    edges,  # IN  (b + 1,) float64, ascending and evenly spaced
):
    """Return the bin of a value, -1 outside; the last bin includes its upper edge."""
    n_bins = edges.size - 1
    if not (edges[0] <= value <= edges[n_bins]):
        return -1
    place = int((value - edges[0]) / (edges[n_bins] - edges[0]) * n_bins)
    place = min(place, n_bins - 1)
    # The division rounds: the edges themselves decide.
    while value < edges[place]:
        place -= 1
    while place < n_bins - 1 and value >= edges[place + 1]:
        place += 1
    return place


@kernel
def bin_rows(
    rows,  # IN    (r, d) float32 or float64, C order
    shift,  # IN    (d,) float64
    axes,  # IN    (2, d) float64
    x_edges,  # IN    (b + 1,) float64, ascending and evenly spaced
    y_edges,  # IN    (c + 1,) float64, ascending and evenly spaced
    counts,  # INOUT (b, c) int64
):
    """Count the rows in each bin; return the first row that is not finite, or -1."""
    for i in range(rows.shape[0]):
        # Feature by feature, whatever the block: no row changes bins with the chunking.
        x, y = 0.0, 0.0
        for j in range(rows.shape[1]):
            difference = np.float64(rows[i, j]) - shift[j]
            x += axes[0, j] * difference
            y += axes[1, j] * difference
        if not (np.isfinite(x) and np.isfinite(y)):
            return i
        column, line = _bin_of(x, x_edges), _bin_of(y, y_edges)
        if column >= 0 and line >= 0:
            counts[column, line] += 1
    return -1
