"""Where row blocks come from: a list of what a task has to read for each block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Any, Protocol

import numpy as np
from dask.typing import Key as TaskKey

from daskmeans.blocks.block import working_dtype
from daskmeans.kernels.csr import AnyRows, CSRRows
from daskmeans.typing import Metric


class Readable(Protocol):
    """A part that a task reads by itself, and that travels to it."""

    @property
    def resident(self) -> bool:
        """Whether it is an array in memory already."""

    def read(self) -> Any:
        """Return the array."""


@dataclass(frozen=True)
class RowRange:
    """Rows start to stop of something that slices to arrays; read inside the task."""

    array: Any
    start: int
    stop: int

    @property
    def resident(self) -> bool:
        return isinstance(self.array, (np.ndarray, CSRRows))

    def read(self) -> AnyRows:
        rows = self.array[self.start : self.stop]
        return rows if isinstance(rows, CSRRows) else np.asarray(rows)

    def __reduce__(self) -> tuple[Any, ...]:
        # What travels to another process is the range's own rows, not the whole array.
        if self.resident:
            return type(self), (self.read(), 0, self.stop - self.start)
        return type(self), (self.array, self.start, self.stop)


@dataclass(frozen=True)
class Key:
    """A part that a task of the source's own graph makes."""

    key: TaskKey


Part = Readable | Key


@dataclass(frozen=True)
class RowSource:
    """Rows as aligned blocks.

    Attributes
    ----------
    n_features : int
    dtype : numpy dtype
        As declared; blocks are checked when they are read.
    sizes : tuple of int, or None
        Rows of each block; None where that is unknown before reading.
    parts : tuple of tuples of Part
        For each block what to read, split along the features.
    weights : tuple of Part, or None
        For each block its weights. None means 1 everywhere.
    graph : mapping
        dask tasks behind the keys.
    feature_names : tuple of str, or None
    in_memory : bool
        The rows are arrays of this process.
    metric : {"euclidean", "cosine"}
        For "cosine" the rows of blocks have length 1.
    unit_rows : bool
        The parts hold such rows; else they are divided by their lengths as blocks are made.
    sparse : bool
        The rows are declared to be sparse.
    sparse_bytes : int or None
        Size of all sparse rows in memory; None until it is known.
    """

    n_features: int
    dtype: np.dtype[Any]
    sizes: tuple[int, ...] | None
    parts: tuple[tuple[Part, ...], ...]
    weights: tuple[Part, ...] | None = None
    graph: Mapping[Any, Any] = field(default_factory=dict, repr=False)
    feature_names: tuple[str, ...] | None = None
    in_memory: bool = False
    metric: Metric = "euclidean"
    unit_rows: bool = False
    sparse: bool = False
    sparse_bytes: int | None = None

    @property
    def divides(self) -> bool:
        """Whether rows are divided by their lengths as blocks are made."""
        return self.metric == "cosine" and not self.unit_rows

    @property
    def block_dtype(self) -> np.dtype[Any]:
        """The dtype in which blocks hold the rows."""
        return working_dtype(self.dtype) if self.metric == "cosine" else self.dtype

    @property
    def kept_bytes(self) -> int | None:
        """Size of all rows in memory, as blocks hold them; None until it is known."""
        if self.sparse:
            return self.sparse_bytes
        return self.n_rows * self.n_features * self.block_dtype.itemsize

    @property
    def n_blocks(self) -> int:
        return len(self.parts)

    @property
    def known_sizes(self) -> tuple[int, ...]:
        """Rows of each block; it is an error to ask before they were counted."""
        if self.sizes is None:
            raise ValueError("The block sizes of these rows have not been counted yet.")
        return self.sizes

    @property
    def n_rows(self) -> int:
        return sum(self.known_sizes)

    @property
    def n_bytes(self) -> int | None:
        """Size of all rows in memory, in the dtype that they are stored in; None if unknown."""
        if self.sparse:
            return self.sparse_bytes
        return self.n_rows * self.n_features * self.dtype.itemsize

    @property
    def starts(self) -> tuple[int, ...] | None:
        """Global number of each block's first row; None while sizes are unknown."""
        return None if self.sizes is None else (0, *accumulate(self.sizes[:-1]))

    def ranges_of(self, array: Any) -> tuple[RowRange, ...]:
        """Return for each block its part of an array with an entry for each row."""
        edges = (0, *accumulate(self.known_sizes))
        return tuple(RowRange(array, start, stop) for start, stop in pairwise(edges))

    def whole_array(self) -> AnyRows:
        """Return the array behind an in-memory source."""
        (part,) = self.parts[0]
        assert isinstance(part, RowRange)
        array: AnyRows = part.array
        return array

    def with_sizes(self, sizes: tuple[int, ...]) -> RowSource:
        return replace(self, sizes=sizes)

    def measured_by(self, metric: Metric) -> RowSource:
        """Return the source of the same rows, which for "cosine" have length 1 already."""
        return replace(self, metric=metric, unit_rows=metric == "cosine")
