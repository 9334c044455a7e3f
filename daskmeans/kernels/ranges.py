"""Column ranges of a block and its first row that is not finite, in one sweep."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from daskmeans.kernels.compile import kernel

_RUN = 64  # numbers folded side by side, so that narrow rows fill vector registers too


@kernel
def _fold_ranges(
    values,  # IN    (m * width,) float32 or float64: rows end to end, a run of whole rows a step
    low,  # INOUT (width,) dtype of values
    high,  # INOUT (width,) dtype of values
    poison,  # INOUT (width,) dtype of values, NaN where a value was NaN or infinite
):
    width = low.size
    for start in range(0, values.size, width):
        run = values[start : start + width]
        for j in range(width):
            x = run[j]
            low[j] = x if x < low[j] else low[j]
            high[j] = x if x > high[j] else high[j]
            poison[j] += x * 0.0


@singledispatch
def column_ranges(rows: Any) -> tuple[Any, Any, int]:
    """Return the minimum and maximum of each column and the first row that is not finite.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order, r > 0

    Returns
    -------
    low, high : ndarrays of shape (d,), float64
    bad_row : int
        Number of the first row with NaN or infinity, -1 if there is none (the ranges are
        meaningless if there is one).
    """
    r, d = rows.shape
    group = max(1, _RUN // d)
    width = group * d
    low = np.full(width, np.inf, dtype=rows.dtype)
    high = np.full(width, -np.inf, dtype=rows.dtype)
    poison = np.zeros(width, dtype=rows.dtype)
    whole = r - r % group
    _fold_ranges(rows[:whole].reshape(-1), low, high, poison)
    if whole < r:
        tail = slice(0, d)
        _fold_ranges(rows[whole:].reshape(-1), low[tail], high[tail], poison[tail])
    bad_row = -1
    if np.isnan(poison).any():
        bad_row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
    return (
        low.reshape(group, d).min(axis=0).astype(np.float64),
        high.reshape(group, d).max(axis=0).astype(np.float64),
        bad_row,
    )
