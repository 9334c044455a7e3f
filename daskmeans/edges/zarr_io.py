"""Rows from a Zarr store by its path."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import zarr

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
        raise RowsError(
            f"There is nothing at {name}: give the path of a Zarr array.{_around(Path(name))}"
        )
    found = _open(name)
    if isinstance(found, zarr.Group):
        arrays = _array_names(found)
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


def _open(name: str) -> zarr.Array[Any] | zarr.Group:
    # Absolute, since the workers of a cluster run in folders of their own.
    location = name if "://" in name else Path(name).absolute()
    try:
        return zarr.open(location, mode="r")
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RowsError(f"{name} is not a Zarr store: {error}") from error


def _array_names(group: zarr.Group) -> list[str]:
    with warnings.catch_warnings():
        # zarr warns of every file in the folder that is not part of the store.
        warnings.simplefilter("ignore")
        return sorted(key for key, node in group.members(None) if isinstance(node, zarr.Array))


def _around(path: Path) -> str:
    """Name the arrays of the group that a missing path leads into, if it leads into one."""
    for parent in path.parents:
        if any((parent / name).is_file() for name in ("zarr.json", ".zgroup")):
            found = _open(os.fspath(parent))
            if isinstance(found, zarr.Group):
                return f" The group {parent} holds the arrays {', '.join(_array_names(found))}."
    return ""
