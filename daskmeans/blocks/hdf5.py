"""Datasets in HDF5 files: how they travel, and which of them share an open file."""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmeans.errors import RowsError, missing_extra
from daskmeans.typing import Array


class OpenFile:
    """An HDF5 file open for reading, closed once nothing refers to this object any more."""

    def __init__(self, path: str) -> None:
        try:
            import h5py
        except ImportError as error:
            raise missing_extra("h5py", "hdf5", "Reading an HDF5 dataset") from error
        self.file = h5py.File(path, "r")
        weakref.finalize(self, self.file.close)

    def read(self, name: str, index: Any) -> Array:
        # No lock of our own: h5py lets one thread at a time into HDF5.
        return np.asarray(self.file[name][index])


# Weak, for a file that stays open cannot be written to: whoever reads it decides for how long.
_open_files: weakref.WeakValueDictionary[tuple[str, int, int], OpenFile] = (
    weakref.WeakValueDictionary()
)
_opening = threading.Lock()


def open_file(path: str) -> OpenFile:
    """Return the file as this process has it open, or open it.

    A file that was replaced or changed since is opened anew.

    Raises
    ------
    OSError
        If it is not there, not HDF5, or open for writing in another process.
    MissingExtraError
        If h5py is not installed.
    """
    status = os.stat(path)
    key = (path, status.st_mtime_ns, status.st_size)
    with _opening:
        found = _open_files.get(key)
        if found is None:
            found = _open_files[key] = OpenFile(path)
        return found


@dataclass(frozen=True)
class HDF5Dataset:
    """A dataset by path and name: an open h5py object cannot travel.

    A read takes the file as it is open in this process, or opens it for that read alone.

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

    def kept_open(self) -> HDF5Dataset:
        """Keep the file open for as long as this object lives, for all reads of this process."""
        object.__setattr__(self, "_file", open_file(self.path))
        return self

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_file"}

    def __getitem__(self, index: Any) -> Array:
        return open_file(self.path).read(self.name, index)
