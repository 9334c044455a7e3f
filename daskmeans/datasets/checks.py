"""What the generators of data sets take: shapes, seeds, dtypes and chunks."""

from __future__ import annotations

import operator
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike


def checked_shape(n_samples: int, n_features: int) -> tuple[int, int]:
    """Number of rows and of columns."""
    if n_samples < 0:
        raise ValueError(f"n_samples={n_samples} must not be negative.")
    if n_features < 1:
        raise ValueError(f"n_features={n_features} must be at least 1.")
    return int(n_samples), int(n_features)


def checked_seed(random_state: int) -> int:
    """The seed, which has to be a number."""
    try:
        seed = operator.index(random_state)
    except TypeError:
        raise TypeError(
            f"random_state must be an int, got {type(random_state).__name__}: a row is drawn from "
            "the seed and its own number, so that every chunking has the same rows."
        ) from None
    if seed < 0:
        raise ValueError(f"random_state={seed} must not be negative.")
    return seed


def checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype of rows, which has to be a floating one."""
    dtype = np.dtype(dtype)
    if not np.issubdtype(dtype, np.floating):
        raise ValueError(
            f"dtype={dtype} must be a floating type: draw float64 and convert with astype, which "
            "says how to round."
        )
    return dtype


def row_chunks(
    chunks: Any, shape: tuple[int, int], dtype: np.dtype[Any]
) -> tuple[tuple[int, ...], ...]:
    """Chunks of both axes; columns are whole where only the rows' are given."""
    if not isinstance(chunks, tuple):
        chunks = (chunks, -1)
    return da.core.normalize_chunks(chunks, shape=shape, dtype=dtype)
