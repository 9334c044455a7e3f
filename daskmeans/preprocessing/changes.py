"""What is done to each row before it is clustered, block by block. Plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmeans.algorithms.columns import Limits
from daskmeans.typing import Array


def changed_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of changed rows."""
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)


@dataclass(frozen=True)
class Changes:
    """Changes to rows, which depend on nothing but the row.

    Attributes
    ----------
    fill : ndarray of shape (d,), float64, or None
        What stands for missing values.
    limits : Limits or None
        Outliers are dropped or clipped.
    mean, scale : ndarrays of shape (d,), float64, or None
        To be subtracted, then divided by.
    """

    fill: Array | None
    limits: Limits | None
    mean: Array | None
    scale: Array | None

    def kept(self, values: Array) -> Array:
        """Return which rows stay, of shape (r,), bool."""
        return np.ones(len(values), bool) if self.limits is None else self.limits.kept(values)

    def applied(self, values: Array) -> Array:
        """Return the rows that stay, changed, of shape (<= r, d): float32 for float32."""
        # In float64 whatever they are stored in: a mean of large numbers is not one of float32.
        changed = np.array(values[self.kept(values)], dtype=np.float64)
        if self.limits is not None and not self.limits.drop:
            np.clip(changed, self.limits.low, self.limits.high, out=changed)
        if self.fill is not None:
            np.copyto(changed, self.fill, where=np.isnan(changed))
        if self.mean is not None and self.scale is not None:
            changed -= self.mean
            changed /= self.scale
        return changed.astype(changed_dtype(values.dtype), copy=False)


def numbers(table: Any) -> Array:
    """Return a pandas DataFrame's or array's values, missing ones as NaN."""
    if hasattr(table, "columns"):
        return np.asarray(table.to_numpy(dtype=np.float64, na_value=np.nan))
    values = np.asarray(table)
    if values.dtype.kind == "f":
        return values
    return np.asarray(values, dtype=np.float64)


def changed_block(rows: Any, *, changes: Changes) -> Array:
    """Change one block of a dask array."""
    return changes.applied(numbers(rows))


def kept_block(rows: Any, *, changes: Changes) -> Array:
    """Tell which rows of a block stay."""
    return changes.kept(numbers(rows))


def changed_frame(frame: Any, *, changes: Changes) -> Any:
    """Change a pandas DataFrame; rows that stay keep their index."""
    values = numbers(frame)
    kept = changes.kept(values)
    changed = changes.applied(values)
    return type(frame)(changed, index=frame.index[kept], columns=frame.columns)


def labels_of_all(kept: Array, labels: Array, *, missing: int) -> Array:
    """Return labels in the place of the rows that stayed, and `missing` elsewhere."""
    found = np.full(len(kept), missing, labels.dtype)
    found[kept] = labels
    return found
