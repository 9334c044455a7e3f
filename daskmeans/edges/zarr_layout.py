"""How a written Zarr array is cut into files: a file a chunk, or shards where those are many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import dask.array as da
import numpy as np

# A folder of more files than this takes file systems minutes to list, copy or delete.
MOST_FILES = 100_000
# With shards there are about this many files; each is made by one task, so in its memory.
_SHARD_FILES = 2_000
_MOST_SHARD_BYTES = 64 << 20


@dataclass(frozen=True)
class Layout:
    """Chunks of a Zarr array and, where there are many, the shards that hold them.

    Attributes
    ----------
    shape, chunks : tuple of int
    shards : tuple of int, or None
        Multiples of the chunks; None: each chunk is a file of its own.
    dtype : str
        As NumPy spells it.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    dtype: str

    @classmethod
    def of(cls, array: da.Array) -> Layout:
        """Lay a dask array out in its own chunks, the largest along each axis if irregular.

        Examples
        --------
        >>> Layout.of(da.zeros(10, chunks=4))
        Layout(shape=(10,), chunks=(4,), shards=None, dtype='<f8')
        """
        shape = tuple(int(size) for size in array.shape)
        chunks = tuple(max(1, *(int(size) for size in sizes)) for sizes in array.chunks)
        dtype = np.dtype(array.dtype)
        return cls(shape, chunks, _shards(shape, chunks, dtype.itemsize), dtype.str)

    @property
    def unit(self) -> tuple[int, ...]:
        """What one file holds, which is what one task writes."""
        return self.shards or self.chunks

    def coordinates(self) -> Iterator[tuple[int, ...]]:
        """Yield the place of every file in their grid."""
        return product(*(range(n) for n in _grid(self.shape, self.unit)))

    def region(self, coordinates: tuple[int, ...]) -> tuple[slice, ...]:
        """Return the part of the array that a file holds."""
        return tuple(
            slice(number * size, min((number + 1) * size, end))
            for number, size, end in zip(coordinates, self.unit, self.shape, strict=True)
        )


def _grid(shape: tuple[int, ...], unit: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-size // step) for size, step in zip(shape, unit, strict=True))


def _shards(
    shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int
) -> tuple[int, ...] | None:
    """Return shards of consecutive chunks of rows, or None where chunks are few or large."""
    n_chunks = math.prod(_grid(shape, chunks))
    if n_chunks <= MOST_FILES:
        return None
    fitting = _MOST_SHARD_BYTES // max(1, math.prod(chunks) * itemsize)
    together = min(-(-n_chunks // _SHARD_FILES), fitting, _grid(shape, chunks)[0])
    return (chunks[0] * together, *chunks[1:]) if together > 1 else None
