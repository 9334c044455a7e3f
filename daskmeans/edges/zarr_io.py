"""Rows from a Zarr store by its path, and labels or distances to one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dask.array as da
import zarr

from daskmeans.edges.outputs import written_beside
from daskmeans.errors import RowsError


def open_zarr_rows(path: str | os.PathLike[str]) -> zarr.Array[Any]:
    """Open a two-dimensional Zarr array for reading.

    Parameters
    ----------
    path : str or path
        A store that is an array, or `store/name` for an array in a group.

    Raises
    ------
    ValueError
        If nothing is there, or a group (its arrays are named), or an array that is not rows of
        features.

    Examples
    --------
    >>> import numpy as np, tempfile, zarr
    >>> path = tempfile.mkdtemp() + "/rows.zarr"
    >>> zarr.save_array(path, np.ones((6, 2)))
    >>> open_zarr_rows(path).shape
    (6, 2)
    """
    name = os.fspath(path)
    if "://" not in name and not Path(name).exists():
        raise RowsError(f"There is nothing at {name}: give the path of a Zarr array.")
    try:
        found = zarr.open(name, mode="r")
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise RowsError(f"{name} is not a Zarr store: {error}") from error
    if not isinstance(found, zarr.Array):
        arrays = sorted(key for key, node in found.members(None) if isinstance(node, zarr.Array))
        if not arrays:
            raise RowsError(f"{name} is a Zarr group that holds no arrays.")
        raise RowsError(
            f"{name} is a Zarr group, not an array. It holds the arrays {', '.join(arrays)}: "
            f"give for instance {name.rstrip('/')}/{arrays[0]}."
        )
    if found.ndim != 2:
        raise RowsError(
            f"{name} has shape {found.shape}: k-means needs two dimensions, rows and features."
        )
    return found


def write_zarr(array: da.Array, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Compute a dask array chunk by chunk into a Zarr array; nothing is gathered.

    Parameters
    ----------
    array : dask array
        Of known chunks. The Zarr chunks are its own, the largest one along each axis where they
        are irregular.
    path : str or path
        A local path. The array appears there once it is complete.
    overwrite : bool, default=False
        Replace what is there.

    Raises
    ------
    OutputExistsError, OutputError
        See `outputs.check_output`; before anything is computed.
    """
    chunks = tuple(max(1, *sizes) for sizes in array.chunks)
    with written_beside(path, overwrite=overwrite) as partial:
        target = zarr.create_array(
            store=str(partial), shape=array.shape, chunks=chunks, dtype=array.dtype
        )
        # Each task owns whole Zarr chunks, so none needs a lock.
        array.rechunk(chunks).store(target, lock=False)
