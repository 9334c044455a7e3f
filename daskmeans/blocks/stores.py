"""Memory maps, how they travel, and the units in which stored arrays are read."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from daskmeans.typing import Array

_READ_BYTES = 64 << 20
# Many small chunks are read some at a time, which takes half as long as one by one.
_LEAST_READ_BYTES = 4 << 20
_LEAST_BLOCKS = 64


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


def block_unit(array: Any, axis: int = 0) -> int:
    """Return how much of a stored array a block has along an axis: of one read unit, or several.

    Units are put together while they are small and leave blocks enough for many threads. Whatever
    cuts a store into blocks asks here, so that passes over it and lazy labels of it agree.
    """
    unit = max(1, read_unit(array, axis))
    others = math.prod(size for number, size in enumerate(array.shape) if number != axis)
    unit_bytes = max(1, unit * others * np.dtype(array.dtype).itemsize)
    n_units = -(-array.shape[axis] // unit)
    return unit * max(1, min(_LEAST_READ_BYTES // unit_bytes, n_units // _LEAST_BLOCKS))


def unchunked_unit(array: Any, axis: int = 0) -> int:
    """Return how much of an array without storage chunks to read together along an axis."""
    others = math.prod(size for number, size in enumerate(array.shape) if number != axis)
    return max(1, _READ_BYTES // max(1, others * np.dtype(array.dtype).itemsize))
