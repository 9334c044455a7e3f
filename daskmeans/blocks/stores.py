"""Zarr arrays and memory maps as tasks read them, and the units in which they are read."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dask.array as da
import numpy as np

from daskmeans.errors import DaskMeansError, RowsError
from daskmeans.typing import Array

_READ_BYTES = 64 << 20


@dataclass(frozen=True)
class ZarrRows:
    """A Zarr array whose errors say which rows could not be read.

    Attributes
    ----------
    array : zarr.Array
    """

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        return int(self.array.ndim)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(self.array.chunks)

    @property
    def shards(self) -> tuple[int, ...] | None:
        shards = getattr(self.array, "shards", None)
        return None if shards is None else tuple(shards)

    def __getitem__(self, index: Any) -> Array:
        try:
            read = np.asarray(self.array[index])
            if _is_all(read, self.array.fill_value) and not _is_there(self.array):
                raise FileNotFoundError("the array is no longer there")
        except (MemoryError, DaskMeansError):
            raise
        except Exception as error:
            rows = index[0] if isinstance(index, tuple) else index
            raise unreadable(f"Rows {_range_of(rows)} of {self.array.store_path}", error) from error
        return read


def unreadable(what: str, error: Exception) -> RowsError:
    """Make the error for rows whose reading failed: a damaged chunk, a store that is gone."""
    cause = " ".join(str(error).split()) or "no reason given"
    return RowsError(
        f"{what} could not be read ({type(error).__name__}: {cause}). Is a chunk damaged, or has "
        "the store gone? Restore it, or select the rows without it."
    )


def _range_of(rows: Any) -> str:
    return f"{rows.start} to {rows.stop}" if isinstance(rows, slice) else str(rows)


def _is_there(array: Any) -> bool:
    """Tell whether a Zarr array still has its metadata.

    To Zarr a chunk that is missing holds fill values, and so does every chunk of a store that is.
    """
    import zarr

    try:
        zarr.open_array(array.store, path=array.path, mode="r")
    except (OSError, ValueError, KeyError):
        return False
    return True


def _is_all(values: Array, fill_value: Any) -> bool:
    """Tell whether all values are the fill value; the ends are looked at first."""
    if values.size == 0 or fill_value is None:
        return False
    equal = (lambda part: part != part) if fill_value != fill_value else _equal_to(fill_value)
    return bool(equal(values[:1]).all() and equal(values[-1:]).all() and equal(values).all())


def _equal_to(fill_value: Any) -> Callable[[Array], Array]:
    return lambda part: np.asarray(part == fill_value)


@dataclass(frozen=True)
class MemoryMap:
    """A NumPy memory map by its file: tasks in other processes map it too instead of copying."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, array: np.memmap[Any, Any]) -> MemoryMap | None:
        """Describe a whole C-order memory map; None for a view of a part of one."""
        if not isinstance(array.base, mmap.mmap) or not array.flags.c_contiguous:
            return None
        return cls(str(array.filename), array.dtype, array.shape, int(array.offset))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @cached_property
    def _mapped(self) -> Array:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_mapped"}

    def __getitem__(self, index: Any) -> Array:
        return np.asarray(self._mapped[index])


def read_unit(array: Any, axis: int = 0) -> int:
    """Return how much of a stored array is read together along an axis.

    A shard of a sharded Zarr array, else a chunk: reading less decompresses the same bytes again.
    Of what is stored without chunks (memory maps, contiguous HDF5), about 64 MB.
    """
    storage = getattr(array, "shards", None) or getattr(array, "chunks", None)
    return int(storage[axis]) if storage else unchunked_unit(array, axis)


def unchunked_unit(array: Any, axis: int = 0) -> int:
    """Return how much of an array without storage chunks to read together along an axis."""
    others = math.prod(size for number, size in enumerate(array.shape) if number != axis)
    return max(1, _READ_BYTES // max(1, others * np.dtype(array.dtype).itemsize))


def slabs(array: Any, axis: int = 0) -> da.Array:
    """Return a stored array as a dask array whose blocks are cut along one axis alone.

    Each block reads whole storage chunks, and no two blocks read the same one.
    """
    chunks = tuple(read_unit(array, axis) if number == axis else -1 for number in range(array.ndim))
    return da.from_array(array, chunks=chunks, lock=False, inline_array=True, asarray=False)
