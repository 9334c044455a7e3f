"""Rows of a store as tasks read them: an error says which of them could not be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import normalize_token

from daskmeans.blocks.stores import block_unit
from daskmeans.errors import DaskMeansError, RowsError
from daskmeans.typing import Array


@dataclass(frozen=True)
class StoredRows:
    """Rows of a store; what goes wrong when some are read is told with their place.

    Attributes
    ----------
    array : zarr.Array, HDF5Dataset, MemoryMap
        Anything with a shape that slices to NumPy arrays.
    unit : int
        Rows of a block.
    axis : int
        The axis along which blocks are cut.

    Examples
    --------
    >>> import tempfile, zarr
    >>> path = tempfile.mkdtemp() + "/rows.zarr"
    >>> stored = zarr.create_array(path, data=np.ones((6, 2)), chunks=(3, 2))
    >>> StoredRows(stored, unit=3)[3:5]
    array([[1., 1.],
           [1., 1.]])
    """

    array: Any
    unit: int
    axis: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.array.dtype)

    @property
    def place(self) -> str:
        """Where the array is, as a user would name it."""
        if hasattr(self.array, "store_path"):
            return str(self.array.store_path).removeprefix("file://").rstrip("/")
        return " of ".join(
            str(getattr(self.array, key)) for key in ("name", "path") if hasattr(self.array, key)
        )

    @property
    def _file(self) -> Path | None:
        """A file that is there as long as the store is; None where there is no such local one."""
        if not hasattr(self.array, "store_path"):
            return Path(self.array.path) if hasattr(self.array, "path") else None
        root = getattr(self.array.store_path.store, "root", None)
        if not isinstance(root, Path):
            return None
        name = "zarr.json" if self.array.metadata.zarr_format == 3 else ".zarray"
        return root / self.array.store_path.path / name

    def __getitem__(self, index: Any) -> Array:
        try:
            read = np.asarray(self.array[index])
            # Chunks that are not there read as the fill value: only this tells that all have gone.
            if (file := self._file) is not None:
                file.stat()
            elif _is_all(read, getattr(self.array, "fill_value", None)):
                _check_there(self.array)
        except (MemoryError, DaskMeansError):
            raise
        except Exception as error:
            # A damaged chunk surfaces as whatever its codec raises.
            raise self._unreadable(index, error) from error
        return read

    def _unreadable(self, index: Any, error: Exception) -> RowsError:
        rows = index[self.axis] if isinstance(index, tuple) else index
        n_rows = self.shape[self.axis]
        picked = (
            range(n_rows)[rows]
            if isinstance(rows, slice)
            else np.atleast_1d(np.arange(n_rows)[rows]).tolist()
        )
        first, last = min(picked, default=0), max(picked, default=0)
        return RowsError(
            f"Block {first // self.unit} (rows {first} to {last}) of {self.place} cannot be read: "
            f"{type(error).__name__}: {error}. What is stored there is damaged or has gone: "
            "restore it, or write it anew, and run the same again."
        )

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        # Results of rows that were since written anew at the same path are not those of these.
        try:
            changed = file.stat().st_mtime_ns if (file := self._file) is not None else None
        except OSError:
            changed = None
        return type(self).__name__, normalize_token(self.array), self.unit, self.axis, changed


def _check_there(array: Any) -> None:
    """Raise if a Zarr array has no metadata any more."""
    import zarr

    zarr.open_array(array.store, path=array.path, mode="r")


def _is_all(values: Array, fill_value: Any) -> bool:
    """Tell whether all values are the fill value; the ends are looked at first."""
    if values.size == 0 or fill_value is None:
        return False
    equal = (lambda part: part != part) if fill_value != fill_value else _equal_to(fill_value)
    return bool(equal(values[:1]).all() and equal(values[-1:]).all() and equal(values).all())


def _equal_to(fill_value: Any) -> Callable[[Array], Array]:
    return lambda part: np.asarray(part == fill_value)


def slabs(array: Any, axis: int = 0) -> da.Array:
    """Return a stored array as a dask array whose blocks are cut along one axis alone.

    Each block reads whole storage chunks, several if they are small, and no two blocks read the
    same one.
    """
    unit = block_unit(array, axis)
    chunks = tuple(unit if number == axis else -1 for number in range(array.ndim))
    # A memory map that does not travel by its file stands for itself.
    rows = array if isinstance(array, np.ndarray) else StoredRows(array, unit, axis)
    return da.from_array(
        rows,
        chunks=chunks,
        lock=False,
        inline_array=True,
        asarray=False,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )
