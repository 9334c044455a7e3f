"""Rows without any cluster."""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike

from daskmeans.datasets.checks import checked_dtype, checked_seed, checked_shape, row_chunks
from daskmeans.datasets.draws import Purpose, parts, place_of, stream_of, uniform_rows
from daskmeans.typing import Rows


def make_uniform(
    n_samples: int,
    n_features: int,
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: DTypeLike = "float32",
    chunks: Any = "auto",
    random_state: int = 0,
) -> da.Array:
    """Lazy rows without any cluster: uniform between two bounds in every feature.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    n_features : int
        Number of columns.
    low, high : float, default=0.0 and 1.0
        Bounds of the values. Rounding to `dtype` can give `high` itself.
    dtype : {"float16", "float32", "float64"}, default="float32"
        Data type of the rows.
    chunks : int, "auto" or tuple, default="auto"
        As for `make_blobs`.
    random_state : int, default=0
        Seed, not negative.

    Returns
    -------
    dask.array.Array of shape (n_samples, n_features)
        The rows, not yet computed.

    Raises
    ------
    TypeError
        If `random_state` is not an integer.
    ValueError
        If a number of rows or columns is too small, or the bounds are not finite and in order.

    Examples
    --------
    >>> from daskmeans.datasets import make_uniform
    >>> make_uniform(10_000, 3, low=-1, chunks=1_000).numblocks
    (10, 1)
    """
    shape = checked_shape(n_samples, n_features)
    seed = checked_seed(random_state)
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"low={low} and high={high} must be finite, and low at most high.")
    dtype = checked_dtype(dtype)
    return da.map_blocks(
        _uniform_block,
        token="make-uniform",
        chunks=row_chunks(chunks, shape, dtype),
        meta=np.empty((0, 0), dtype),
        seed=seed,
        n_features=n_features,
        bounds=(float(low), float(high)),
        rows_dtype=dtype,
    )


def _uniform_block(
    *,
    seed: int,
    n_features: int,
    bounds: tuple[float, float],
    rows_dtype: np.dtype[Any],
    block_info: Any = None,
) -> Rows:
    start, stop, columns = place_of(block_info)
    low, high = bounds
    draws = stream_of(seed, Purpose.UNIFORM, start * n_features)
    rows = np.empty((stop - start, columns.stop - columns.start), rows_dtype)
    for part in parts(stop - start, n_features):
        drawn = uniform_rows(draws, part.stop - part.start, n_features, columns)
        rows[part] = low + (high - low) * drawn
    return rows
