"""Rows of features out of an array of any number of dimensions, without reading it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np

from daskmeans.blocks.inputs import ArrayLike, as_stored
from daskmeans.blocks.stored_rows import slabs
from daskmeans.errors import RowsError


def check_rows_of(
    array: Any,
    feature_axis: int | str | None,
    *,
    where: str,
    dimensions: Sequence[str | None] | None = None,
) -> int:
    """Return the number of the axis that holds the features.

    Parameters
    ----------
    array : array with shape, ndim and dtype
    feature_axis : int, str or None
        None stands for the last of two axes.
    where : str
        Path and name of the array, for error messages.
    dimensions : sequence of str or None, optional
        Names of the axes.

    Raises
    ------
    RowsError
        If the array holds no numbers, has fewer than two axes, has more and `feature_axis` is
        None, or does not have the axis.
    """
    shape = tuple(int(size) for size in array.shape)
    if np.dtype(array.dtype).kind not in "fiub":
        raise RowsError(
            f"{where} has dtype {array.dtype}, and k-means needs real numbers: name another array."
        )
    if len(shape) < 2:
        raise RowsError(
            f"{where} has shape {shape}: k-means needs two dimensions, rows and features. "
            "Numbers with a single feature are an array of shape (rows, 1): store it so, or pass "
            "a dask array reshaped by reshape(-1, 1)."
        )
    named = [name for name in dimensions or () if name is not None]
    if feature_axis is None:
        if len(shape) > 2:
            axes = f" or one of its dimensions {', '.join(named)}" if named else ""
            raise RowsError(
                f"{where} has shape {shape}: k-means needs two dimensions, rows and features. "
                "Tell which axis holds the features, and the others become rows: feature_axis=0 "
                f"to {len(shape) - 1}{axes}."
            )
        return 1
    if isinstance(feature_axis, str):
        if feature_axis not in named:
            known = f"has the dimensions {', '.join(named)}" if named else "does not name its axes"
            raise RowsError(
                f"feature_axis={feature_axis!r}, but {where} of shape {shape} {known}."
                + ("" if named else f" Give a number, 0 to {len(shape) - 1}.")
            )
        return list(dimensions or ()).index(feature_axis)
    if not -len(shape) <= feature_axis < len(shape):
        raise RowsError(
            f"feature_axis={feature_axis}, but {where} of shape {shape} has the axes 0 to "
            f"{len(shape) - 1}."
        )
    return feature_axis % len(shape)


def row_axis(axis: int) -> int:
    """Return the first axis beside that of the features: blocks are cut along it."""
    return 1 if axis == 0 else 0


def flattened(array: ArrayLike, axis: int) -> ArrayLike:
    """Return rows, in C order of all axes but that of the features.

    Parameters
    ----------
    array : zarr.Array, HDF5Dataset, memory map, dask array or xarray.DataArray
    axis : int
        The axis that becomes the features. Two-dimensional arrays come back as they are if it is
        their last one.

    Returns
    -------
    rows : the array, or a dask array of shape (rows, features)
        Each block is a whole run of rows: one storage chunk wide along the first of the other
        axes, and all of the rest.
    """
    if array.ndim == 2 and axis == 1:
        return array
    lazy = as_stored(array)
    if not dask.is_dask_collection(lazy):
        # Of a memory map that does not travel by its file (not in C order) the map itself: dask
        # names it by its file, and other arrays by all of their bytes.
        lazy = slabs(array if isinstance(lazy, np.ndarray) else lazy, row_axis(axis))
    lazy = da.moveaxis(lazy, axis, -1)
    lazy = lazy.rechunk({number: -1 for number in range(1, lazy.ndim)})
    return lazy.reshape(math.prod(lazy.shape[:-1]), lazy.shape[-1]) if lazy.ndim > 2 else lazy
