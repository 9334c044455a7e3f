"""An array of a Zarr store by path, URL or store object, with errors that name what is there."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import zarr
from zarr.abc.store import Store
from zarr.storage import ZipStore

from daskmeans.edges.zarr_folders import is_zarr, is_zarr_group
from daskmeans.errors import RowsError

if TYPE_CHECKING:
    import xarray

# Attributes by which the values of a variable differ from the numbers that are stored (CF
# conventions).
_PACKING = frozenset({"scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned"})

# Of what else a folder holds a message names so many.
_NAMED = 5


@dataclass(frozen=True)
class _Place:
    """A node of a store.

    Attributes
    ----------
    store : what zarr opens
    path : str
        The node inside the store.
    label : str
        What the user calls it.
    options : mapping or None
        Storage options, for the file system of a URL.
    """

    store: Any
    path: str
    label: str
    options: Mapping[str, Any] | None = None

    @property
    def above(self) -> Iterator[str]:
        """Paths of the groups that the node may lie in, innermost first."""
        parts = [part for part in self.path.split("/") if part]
        for length in range(len(parts) - 1, -1, -1):
            yield "/".join(parts[:length])


def open_zarr(
    location: Any, name: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> zarr.Array[Any] | xarray.DataArray:
    """Open an array for reading.

    Parameters
    ----------
    location : str, path or store
        A folder, a zip archive, a URL or a store object; `store/name` for an array in a group.
    name : str, optional
        The array inside the store.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    array : zarr.Array, or xarray.DataArray
        The latter if xarray wrote it and the numbers stored are not its values, because they are
        packed or a fill value marks missing ones.

    Raises
    ------
    RowsError
        If nothing is there, or a group: its arrays are named.
    MissingExtraError
        If xarray is needed and not installed.
    """
    place = _located(location, name, storage_options)
    found = _node(place)
    if isinstance(found, zarr.Group):
        arrays = _array_names(found)
        if not arrays:
            raise RowsError(f"{place.label} is a Zarr group that holds no arrays.")
        example = f"name={arrays[0]!r}"
        if isinstance(location, (str, os.PathLike)):
            example = f"{place.label.rstrip('/')}/{arrays[0]}"
        raise RowsError(
            f"{place.label} is a Zarr group, not an array. It holds the arrays "
            f"{', '.join(arrays)}: give for instance {example}."
        )
    return _unpacked(found, place) if _is_packed(found) else found


def open_node(store: Any, label: str, **options: Any) -> zarr.Array[Any] | zarr.Group:
    """Open what is at a place of a store, for reading.

    Raises
    ------
    RowsError
        If nothing is there, or something that zarr does not understand.
    """
    try:
        return zarr.open(store, mode="r", **options)
    except ImportError as error:
        # Of the package that fsspec needs for the protocol of a URL.
        raise RowsError(f"{label} cannot be opened: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
        raise RowsError(f"{label} is not a Zarr store: {error}") from error


def dimension_names(array: zarr.Array[Any]) -> tuple[str | None, ...] | None:
    """Return the names of an array's axes, as Zarr 3 or as xarray in Zarr 2 stores them."""
    named = getattr(array.metadata, "dimension_names", None)
    if named is None:
        named = array.attrs.get("_ARRAY_DIMENSIONS")
    return tuple(named) if named else None  # type: ignore[arg-type]


def _located(location: Any, name: str | None, options: Mapping[str, Any] | None) -> _Place:
    inner = (name or "").strip("/")
    if not isinstance(location, (str, os.PathLike)):
        label = str(location) if isinstance(location, Store) else type(location).__name__
        return _Place(location, inner, f"{label}/{inner}" if inner else label, options)
    text = os.fspath(location)
    label = f"{text.rstrip('/')}/{inner}" if inner else text
    if "://" in text:
        return _Place(text, inner, label, options)
    # Absolute, since the workers of a cluster run in folders of their own.
    path = Path(text, inner).absolute()
    root = next(place for place in (path, *path.parents) if place.exists())
    if root.suffix == ".zip" and root.is_file():
        return _Place(ZipStore(root, mode="r"), _inside(path, root), label)
    while is_zarr_group(root.parent):
        root = root.parent
    if root == path and root.is_dir() and not is_zarr(root):
        held = ", ".join(sorted(entry.name for entry in root.iterdir())[:_NAMED])
        raise RowsError(
            f"{label} is not a Zarr store, but a folder that holds {held or 'nothing'}: give the "
            "path of a Zarr array, or of a file of rows."
        )
    if root != path and not is_zarr_group(root):
        raise RowsError(f"There is nothing at {label}: give the path of a Zarr array.")
    return _Place(root, _inside(path, root), label)


def _inside(path: Path, root: Path) -> str:
    return "" if path == root else path.relative_to(root).as_posix()


def _node(place: _Place) -> zarr.Array[Any] | zarr.Group:
    options = {"storage_options": dict(place.options)} if place.options else {}
    try:
        return open_node(place.store, place.label, path=place.path, **options)
    except RowsError as error:
        for path in place.above:
            try:
                found = open_node(place.store, place.label, path=path, **options)
            except RowsError:
                continue
            if isinstance(found, zarr.Group):
                group = f"The group {path}" if path else "The store"
                raise RowsError(
                    f"There is nothing at {place.label} that zarr can open. {group} holds the "
                    f"arrays {', '.join(_array_names(found))}."
                ) from error
        raise


def _array_names(group: zarr.Group) -> list[str]:
    with warnings.catch_warnings():
        # zarr warns of every file in the folder that is not part of the store.
        warnings.simplefilter("ignore")
        return sorted(key for key, node in group.members(None) if isinstance(node, zarr.Array))


def _is_packed(array: zarr.Array[Any]) -> bool:
    """Tell whether xarray would give other values for an array than the numbers stored."""
    if dimension_names(array) is None:
        return False
    # In Zarr 2 the fill value itself is what marks a missing value for xarray.
    marked = array.metadata.zarr_format == 2 and array.fill_value is not None
    return marked or not _PACKING.isdisjoint(array.attrs)


def _unpacked(array: zarr.Array[Any], place: _Place) -> zarr.Array[Any] | xarray.DataArray:
    from daskmeans.edges.netcdf_rows import open_packed

    store: Any = array.store
    path, options = array.path, None
    if not path and isinstance(place.store, str):
        # The URL leads to the array itself, and xarray opens the group that it is in.
        store, _, path = place.store.rstrip("/").rpartition("/")
        options = dict(place.options) if place.options else None
    if not path:
        return array
    return open_packed(store, path, zarr_format=array.metadata.zarr_format, storage_options=options)
