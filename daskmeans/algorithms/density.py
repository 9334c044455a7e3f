"""The density of all rows in a plane: two features, or the first two principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daskmeans.algorithms.survey import Run, Surveyed
from daskmeans.blocks.block import Block, for_each_tile
from daskmeans.kernels.binning import bin_rows
from daskmeans.partials import BinCounts
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array

# Of the sample's rows those beyond these shares do not stretch the picture.
_LOWEST, _HIGHEST = 0.001, 0.999
_MARGIN = 0.1


@dataclass(frozen=True)
class Plane:
    """Two axes among the features.

    Attributes
    ----------
    origin : ndarray of shape (d,), float64
    axes : ndarray of shape (2, d), float64
    """

    origin: Array
    axes: Array

    def project(self, rows: Array) -> Array:
        """Return the coordinates of rows, of shape (r, 2)."""
        coordinates: Array = (rows.astype(np.float64) - self.origin) @ self.axes.T
        return coordinates


@dataclass(frozen=True)
class Density:
    """Rows counted in bins of a plane, as by `numpy.histogram2d`.

    Attributes
    ----------
    counts : ndarray of shape (b, c), int64
    x_edges, y_edges : ndarrays of shape (b + 1,) and (c + 1,), float64
    n_outside : int
        Rows outside of all bins.
    """

    counts: Array
    x_edges: Array
    y_edges: Array
    n_outside: int


@dataclass(frozen=True)
class DensityParameters:
    """What a block has to know to count its rows."""

    plane: Plane
    x_edges: Array
    y_edges: Array


def density_chunk(block: Block, parameters: DensityParameters) -> BinCounts:
    """Count the rows of a block in each bin."""
    x_edges, y_edges = parameters.x_edges, parameters.y_edges
    counts = np.zeros((len(x_edges) - 1, len(y_edges) - 1), np.int64)
    origin, axes = parameters.plane.origin, parameters.plane.axes
    for_each_tile(block, lambda rows, _: bin_rows(rows, origin, axes, x_edges, y_edges, counts))
    return BinCounts(counts)


def plane_of_features(n_features: int, x: int, y: int) -> Plane:
    """Return the plane of two features."""
    return Plane(np.zeros(n_features), np.eye(n_features)[[x, y]])


def principal_plane(surveyed: Surveyed) -> tuple[Plane, Array]:
    """Return the plane of the sample's first two principal components, and their variance shares.

    With a single feature the second axis is empty.
    """
    rows = surveyed.sample.astype(np.float64) - surveyed.shift
    d = surveyed.n_features
    values, vectors = np.linalg.eigh(np.cov(rows, rowvar=False, bias=True).reshape(d, d))
    axes = np.zeros((2, d))
    shares = np.zeros(2)
    total = values.sum()
    for place in range(min(2, d)):
        axis = vectors[:, -1 - place]
        # A component has no sign of its own: its largest share of a feature is positive.
        axes[place] = axis * np.sign(axis[np.argmax(np.abs(axis))])
        shares[place] = values[-1 - place] / total if total > 0 else 0.0
    return Plane(surveyed.shift, axes), shares


def density(run: Run, surveyed: Surveyed, plane: Plane, shown: Array, n_bins: int) -> Density:
    """Count all rows in bins of a plane, in one pass.

    Parameters
    ----------
    run : function (Pass) -> Partial
    surveyed : Surveyed
        Its sample says where rows are.
    plane : Plane
    shown : ndarray of shape (k, d)
        Points that have to be inside: the centers.
    n_bins : int
        Along each axis.
    """
    assert isinstance(surveyed.sample, np.ndarray)
    rows, points = plane.project(surveyed.sample), plane.project(shown)
    edges = []
    for coordinates, shown_there in zip(rows.T, points.T, strict=True):
        low, high = np.quantile(coordinates, [_LOWEST, _HIGHEST])
        low, high = min(low, shown_there.min()), max(high, shown_there.max())
        margin = _MARGIN * (high - low) or 0.5
        edges.append(np.linspace(low - margin, high + margin, n_bins + 1))
    counts = run(
        Pass("kmeans-density", density_chunk, DensityParameters(plane, edges[0], edges[1]))
    ).counts
    return Density(counts, edges[0], edges[1], surveyed.n_rows - int(counts.sum()))
