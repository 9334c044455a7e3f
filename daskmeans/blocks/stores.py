"""Arrays in files: how each travels to the task that reads it, and in what units it is read."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from daskmeans.errors import RowsError, missing_extra
from daskmeans.typing import Array


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
