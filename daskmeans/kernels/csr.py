"""Rows of which only the values that are not zero are stored: compressed sparse rows (CSR)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csr_array, hstack

from daskmeans.typing import Array


@dataclass(frozen=True, eq=False)
class CSRRows:
    """Sparse rows in canonical form: columns ascend within a row, and none comes twice.

    Consecutive rows are views. A value that is stored may be zero. It has of an array what code
    that takes some rows of a block and hands them on asks for; there is no silent way to a dense
    array (see `as_dense`).

    Attributes
    ----------
    data : ndarray of shape (m,)
    indices : ndarray of shape (m,), int32
        Columns of the values.
    indptr : ndarray of shape (r + 1,), int64
        Row i is at indptr[i] to indptr[i + 1] of `data`; the first row need not be at 0.
    n_features : int
    """

    data: Array
    indices: Array
    indptr: Array
    n_features: int

    ndim = 2

    @classmethod
    def of(cls, matrix: Any) -> CSRRows:
        """Take over a SciPy sparse array or matrix, or a two-dimensional one of package sparse.

        What is CSR in canonical form already is not copied, but for wide indices.
        """
        if not hasattr(matrix, "tocsr"):
            matrix = matrix.to_scipy_sparse()
        given, matrix = matrix, matrix.tocsr()
        if not matrix.has_canonical_format:
            if matrix is given:
                matrix = matrix.copy()
            matrix.sum_duplicates()
        data = np.asarray(matrix.data)
        if not data.dtype.isnative:
            data = data.astype(data.dtype.newbyteorder("="))
        indptr = np.asarray(matrix.indptr, dtype=np.int64)
        return cls(data, np.asarray(matrix.indices, dtype=np.int32), indptr, matrix.shape[1])

    @classmethod
    def of_dense(cls, rows: Array) -> CSRRows:
        """Return rows with every value stored."""
        r, d = rows.shape
        indices = np.tile(np.arange(d, dtype=np.int32), r)
        return cls(rows.reshape(-1), indices, d * np.arange(r + 1, dtype=np.int64), d)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def span(self) -> slice:
        """Where the values of these rows are."""
        return slice(int(self.indptr[0]), int(self.indptr[-1]))

    @property
    def n_values(self) -> int:
        return int(self.indptr[-1] - self.indptr[0])

    @property
    def nbytes(self) -> int:
        """Bytes of these rows alone, views of more or not."""
        each = self.data.itemsize + self.indices.itemsize
        return self.n_values * each + int(self.indptr.nbytes)

    def __getitem__(self, key: Any) -> Any:
        """Take some rows, and of these neighbouring columns; of one row or column all values."""
        if isinstance(key, tuple):
            columns = key[1]
            if isinstance(columns, slice):
                start, stop, _ = columns.indices(self.n_features)
                if start >= stop:
                    none = np.zeros(len(np.arange(len(self))[key[0]]) + 1, np.int64)
                    return CSRRows(self.data[:0], self.indices[:0], none, 0)
                return self[key[0]]._columns(start, stop)
            some = self[key[0]]
            column = range(self.n_features)[columns]
            return as_dense(some._columns(column, column + 1))[:, 0]
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                indptr = self.indptr[start : max(start, stop) + 1]
                return CSRRows(self.data, self.indices, indptr, self.n_features)
            key = np.arange(start, stop, step)
        elif isinstance(key, (int, np.integer)):
            return as_dense(self[int(key) : int(key) + 1])[0]
        chosen = np.flatnonzero(key) if np.asarray(key).dtype == bool else np.asarray(key)
        starts = self.indptr[:-1][chosen]
        lengths = self.indptr[1:][chosen] - starts
        indptr = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        places = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        return CSRRows(self.data[places], self.indices[places], indptr, self.n_features)

    def _columns(self, start: int, stop: int) -> CSRRows:
        """Return some neighbouring columns."""
        span = self.span
        inside = (self.indices[span] >= start) & (self.indices[span] < stop)
        return self._only(inside, np.int32(start), stop - start)

    def _only(self, kept: Array, first_column: np.int32, n_features: int) -> CSRRows:
        counts = np.concatenate(([0], np.cumsum(kept, dtype=np.int64)))
        indptr = counts[self.indptr - self.indptr[0]]
        span = self.span
        indices = self.indices[span][kept] - first_column
        return CSRRows(self.data[span][kept], indices, indptr, n_features)

    def without_zeros(self) -> CSRRows:
        """Return the same rows with no zero stored: equal rows are then stored alike."""
        kept = self.data[self.span] != 0
        return self if kept.all() else self._only(kept, np.int32(0), self.n_features)

    def astype(self, dtype: Any) -> CSRRows:
        """Return the rows with their values in another dtype; themselves if it is theirs."""
        if self.data.dtype == dtype:
            return self
        cut = self.compact()
        return CSRRows(cut.data.astype(dtype), cut.indices, cut.indptr, self.n_features)

    def compact(self) -> CSRRows:
        """Return the rows in arrays that hold nothing else."""
        span = self.span
        if span == slice(0, len(self.data)):
            return self
        indptr = self.indptr - self.indptr[0]
        return CSRRows(self.data[span], self.indices[span], indptr, self.n_features)

    def copy(self) -> CSRRows:
        """Return rows that hold on to no larger array."""
        cut = self.compact()
        return CSRRows(cut.data.copy(), cut.indices.copy(), cut.indptr.copy(), self.n_features)

    def to_scipy(self) -> Any:
        """Return a SciPy array of the same values."""
        cut = self.compact()
        found = csr_array((cut.data, cut.indices, cut.indptr), shape=self.shape, copy=False)
        found.has_canonical_format = True
        return found

    def row_numbers(self) -> Array:
        """Return the row of each value, (m,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def __reduce__(self) -> tuple[Any, ...]:
        # What travels to another process is these rows, not those that they are a view of.
        cut = self.compact()
        return CSRRows, (cut.data, cut.indices, cut.indptr, self.n_features)


AnyRows: TypeAlias = Array | CSRRows


def is_sparse(value: Any) -> bool:
    """Tell whether something holds sparse values: of SciPy, of the package sparse, or CSRRows."""
    package = type(value).__module__.partition(".")[0]
    return isinstance(value, CSRRows) or (
        package in ("scipy", "sparse") and hasattr(value, "nnz") and hasattr(value, "shape")
    )


def as_dense(rows: AnyRows) -> Array:
    """Return a few rows as float64, every value stored: what becomes centers."""
    if not isinstance(rows, CSRRows):
        return np.asarray(rows, dtype=np.float64)
    dense = np.zeros(rows.shape)
    dense[rows.row_numbers(), rows.indices[rows.span]] = rows.data[rows.span]
    return dense


def empty_like(rows: AnyRows, dtype: Any = np.float64) -> Any:
    """Return rows to be filled, with values where others have some."""
    if not isinstance(rows, CSRRows):
        return np.empty(rows.shape, dtype)
    cut = rows.compact()
    return CSRRows(np.empty(cut.n_values, dtype), cut.indices, cut.indptr, rows.n_features)


def write_rows(target: AnyRows, rows: AnyRows) -> None:
    """Write rows over others that store values in the same places."""
    if isinstance(target, CSRRows) and isinstance(rows, CSRRows):
        target.data[target.span] = rows.data[rows.span]
    else:
        target[...] = rows  # type: ignore[index]


def joined(parts: Sequence[AnyRows]) -> AnyRows:
    """Return the rows of one or more arrays one after the other: sparse if any of them is."""
    dense = [part for part in parts if not isinstance(part, CSRRows)]
    if len(dense) == len(parts):
        return np.concatenate(dense)
    sparse = [
        part.compact() if isinstance(part, CSRRows) else CSRRows.of_dense(part) for part in parts
    ]
    lengths = [part.n_values for part in sparse]
    before = np.cumsum([0, *lengths])
    indptr = [part.indptr[1:] + start for part, start in zip(sparse, before, strict=False)]
    return CSRRows(
        np.concatenate([part.data for part in sparse]),
        np.concatenate([part.indices for part in sparse]),
        np.concatenate([np.zeros(1, np.int64), *indptr]),
        sparse[0].n_features,
    )


def side_by_side(parts: Sequence[AnyRows]) -> AnyRows:
    """Return rows that are split along their features in one: sparse if any part of them is."""
    if len(parts) == 1:
        return parts[0]
    dense = [part for part in parts if not isinstance(part, CSRRows)]
    if len(dense) == len(parts):
        return np.concatenate(dense, axis=1)
    sparse = [part if isinstance(part, CSRRows) else CSRRows.of_dense(part) for part in parts]
    return CSRRows.of(hstack([part.to_scipy() for part in sparse], format="csr"))


def first_of_equal(rows: AnyRows) -> Array:
    """Return the place of the first of each set of equal rows."""
    if isinstance(rows, CSRRows):
        stored = rows.without_zeros().compact()
        seen: dict[tuple[bytes, bytes], int] = {}
        for i, (start, stop) in enumerate(zip(stored.indptr, stored.indptr[1:], strict=False)):
            row = stored.indices[start:stop].tobytes(), stored.data[start:stop].tobytes()
            seen.setdefault(row, i)
        return np.array(list(seen.values()), np.int64)
    _, first = np.unique(rows, axis=0, return_index=True)
    return first


def equal_rows(one: AnyRows, other: AnyRows) -> bool:
    """Tell whether rows hold the same values."""
    if not isinstance(one, CSRRows) or not isinstance(other, CSRRows):
        return type(one) is type(other) and np.array_equal(one, other)  # type: ignore[arg-type]
    a, b = one.without_zeros().compact(), other.without_zeros().compact()
    return (
        np.array_equal(a.indptr, b.indptr)
        and np.array_equal(a.indices, b.indices)
        and np.array_equal(a.data, b.data)
    )


def stored_arrays(rows: AnyRows) -> tuple[Array, ...]:
    """Return the arrays that tell rows from others."""
    if not isinstance(rows, CSRRows):
        return (rows,)
    stored = rows.without_zeros().compact()
    return stored.data, stored.indices, stored.indptr
