"""Arrays in files: how each travels to the task that reads it, and in what units it is read."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from daskmeans.errors import DaskMeansError, RowsError, missing_extra
from daskmeans.typing import Array


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
class HDF5Dataset:
    """A dataset by path and name: an open h5py object cannot travel, so each read opens the file.

    Attributes
    ----------
    path, name : str
        The file, and the dataset inside it.
    shape : tuple of int
    dtype : numpy dtype
    chunks : tuple of int, or None
        Storage chunks; None if the dataset is contiguous.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None

    @classmethod
    def of(cls, dataset: Any) -> HDF5Dataset:
        """Describe an open `h5py.Dataset`.

        Raises
        ------
        ValueError
            If the file cannot be opened a second time for reading.
        """
        made = cls(
            dataset.file.filename, dataset.name, dataset.shape, dataset.dtype, dataset.chunks
        )
        try:
            made[0:0]
        except OSError as error:
            raise RowsError(
                f"X is the dataset {made.name} of {made.path}, which cannot be opened for reading "
                f"({error}). Close the file, or open it with mode='r', before clustering it."
            ) from error
        return made

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Any) -> Array:
        try:
            import h5py
        except ImportError as error:
            raise missing_extra("h5py", "hdf5", "Reading an HDF5 dataset") from error
        with h5py.File(self.path, "r") as file:
            return np.asarray(file[self.name][index])


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


def read_unit(array: Any) -> int | None:
    """Return how many rows of a stored array are read together, None where any number will do.

    A shard of a sharded Zarr array, else a chunk: reading less decompresses the same bytes again.
    """
    unit = getattr(array, "shards", None) or getattr(array, "chunks", None)
    return int(unit[0]) if unit else None
