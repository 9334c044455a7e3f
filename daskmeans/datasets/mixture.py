"""A Gaussian mixture: where its centers are, and the tasks that draw its rows and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import DTypeLike, NDArray

from daskmeans.datasets.checks import checked_dtype, row_chunks
from daskmeans.datasets.draws import Purpose, parts, place_of, stream_of, uniform_rows, uniforms
from daskmeans.typing import Labels, Rows


@dataclass(frozen=True)
class Mixture:
    """Gaussian mixture that rows are drawn from."""

    centers: NDArray[np.float64]  # (k, d)
    stds: NDArray[np.float64]  # (k,)
    cumulative_sizes: NDArray[np.float64]  # (k,) ends with 1.0

    @classmethod
    def build(
        cls, centers: NDArray[np.float64], stds: NDArray[np.float64], sizes: NDArray[np.float64]
    ) -> Mixture:
        cumulative_sizes = np.cumsum(sizes)
        # Divided by its own last entry, which makes that exactly 1: no draw falls beyond it.
        return cls(centers, stds, cumulative_sizes / cumulative_sizes[-1])


def normal_centers(seed: int, n_centers: int, n_features: int) -> NDArray[np.float64]:
    """Centers drawn from a normal distribution around the origin."""
    from scipy.special import ndtri

    draws = uniforms(stream_of(seed, Purpose.CENTER, 0), n_centers * n_features)
    centers: NDArray[np.float64] = ndtri(draws).reshape(n_centers, n_features)
    return centers


def spread_for(
    overlap: float,
    centers: NDArray[np.float64],
    stds: NDArray[np.float64],
    sizes: NDArray[np.float64],
) -> float:
    """Factor on `centers` that makes `overlap` the share of rows beyond the nearest halfway plane.

    A row of cluster j is beyond the plane halfway to a center at distance D with probability
    Phi(-D / (2 std_j)).
    """
    from scipy.optimize import brentq
    from scipy.spatial import KDTree
    from scipy.special import ndtr, ndtri

    distances, _ = KDTree(centers).query(centers, k=2)
    separations = distances[:, 1] / stds
    weights = sizes / sizes.sum()
    # The factor that suits one cluster alone is -2 ndtri(overlap) / separation: the one that suits
    # all of them lies between the smallest and the largest of these.
    alone = -2 * ndtri(overlap) / separations
    factor: float = brentq(
        lambda scale: weights @ ndtr(-scale * separations / 2) - overlap,
        0.5 * alone.min(),
        2.0 * alone.max(),
    )
    return factor


def mixture_rows(
    mixture: Mixture, shape: tuple[int, int], dtype: DTypeLike, chunks: Any, seed: int
) -> da.Array:
    """Lazy rows of a mixture."""
    dtype = checked_dtype(dtype)
    return da.map_blocks(
        _mixture_block,
        token="make-blobs",
        chunks=row_chunks(chunks, shape, dtype),
        meta=np.empty((0, 0), dtype),
        # One key of the graph that every task refers to, not a copy of the centers in each task.
        mixture=delayed(mixture, pure=True),
        seed=seed,
        rows_dtype=dtype,  # `dtype` is an argument of map_blocks, which keeps it to itself
    )


def mixture_labels(mixture: Mixture, chunks: tuple[int, ...], seed: int) -> da.Array:
    """Lazy labels of such rows: the center that each is drawn around."""
    return da.map_blocks(
        _label_block,
        token="make-blobs-labels",
        chunks=(chunks,),
        meta=np.empty(0, np.int32),
        cumulative_sizes=delayed(mixture.cumulative_sizes, pure=True),
        seed=seed,
    )


def _mixture_block(
    *, mixture: Mixture, seed: int, rows_dtype: np.dtype[Any], block_info: Any = None
) -> Rows:
    from scipy.special import ndtri

    start, stop, columns = place_of(block_info)
    n_features = mixture.centers.shape[1]
    centers = np.ascontiguousarray(mixture.centers[:, columns])
    positions = stream_of(seed, Purpose.POSITION, start * n_features)
    clusters = stream_of(seed, Purpose.CLUSTER, start)
    rows = np.empty((stop - start, centers.shape[1]), rows_dtype)
    for part in parts(stop - start, n_features):
        n_part = part.stop - part.start
        labels = _draw_labels(clusters, n_part, mixture.cumulative_sizes)
        draws = uniform_rows(positions, n_part, n_features, columns)
        # The inverse of the distribution function, since it takes one draw for one number:
        # `Generator.standard_normal` takes more now and then, and rows would lose their places.
        normals = ndtri(draws)
        normals *= mixture.stds[labels, np.newaxis]
        normals += centers[labels]
        rows[part] = normals
    return rows


def _label_block(
    *, cumulative_sizes: NDArray[np.float64], seed: int, block_info: Any = None
) -> Labels:
    ((start, stop),) = block_info[None]["array-location"]
    return _draw_labels(stream_of(seed, Purpose.CLUSTER, start), stop - start, cumulative_sizes)


def _draw_labels(
    stream: np.random.Philox, n_rows: int, cumulative_sizes: NDArray[np.float64]
) -> Labels:
    draws = uniforms(stream, n_rows)
    return np.searchsorted(cumulative_sizes, draws, side="right").astype(np.int32)
