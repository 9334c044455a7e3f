"""Arrow batches, as Spark hands them to its Python workers, as arrays of rows and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from daskmeans.errors import RowsError
from daskmeans.kernels.csr import AnyRows, CSRRows
from daskmeans.typing import Array

Layout: TypeAlias = Literal["columns", "array", "vector"]

# `type` of MLlib's vectors.
_SPARSE = 0


@dataclass(frozen=True)
class BatchReader:
    """Makes arrays of Arrow batches. What travels to Spark's Python workers.

    Attributes
    ----------
    features : tuple of str
    layout : {"columns", "array", "vector"}
    dtype : numpy dtype
    missing : bool
    """

    features: tuple[str, ...]
    layout: Layout
    dtype: np.dtype[Any]
    missing: bool

    def read(self, columns: Sequence[Any], where: str, first: int) -> AnyRows:
        """Return rows of shape (r, d) of the features' Arrow arrays.

        In C order, and in memory of their own. They are CSRRows if any of them is a sparse vector;
        then of dense vectors among them every value is stored.

        Parameters
        ----------
        columns : sequence of pyarrow.Array
        where : str
            Of what `first` counts the rows, for errors.
        first : int

        Raises
        ------
        RowsError
            For nulls, rows of different lengths, and sparse vectors whose indices are none.
        """
        if self.layout == "columns":
            rows = np.empty((len(columns[0]), len(columns)), self.dtype)
            for j, column in enumerate(columns):
                if column.null_count and not self.missing:
                    raise _null(self.features[j], column, where, first)
                rows[:, j] = column.to_numpy(zero_copy_only=False)
            return rows
        (column,) = columns
        (name,) = self.features
        if column.null_count:
            raise _null(name, column, where, first)
        if self.layout == "vector":
            if self.sparse_among(columns).any():
                return _sparse_rows(column, name, where, first)
            column = column.field("values")
        return _whole_rows(column, name, where, first)

    def sparse_among(self, columns: Sequence[Any]) -> Array:
        """Tell of each row whether it is a sparse vector, (r,) bool."""
        if self.layout != "vector":
            return np.zeros(len(columns[0]), bool)
        kinds = columns[0].field("type").to_numpy(zero_copy_only=False)
        return np.asarray(kinds == _SPARSE)


def _sparse_rows(vectors: Any, name: str, where: str, first: int) -> CSRRows:
    """Return vectors, some of which are sparse, all of one length, as sparse rows."""
    sparse = vectors.field("type").to_numpy(zero_copy_only=False) == _SPARSE
    values, columns = vectors.field("values"), vectors.field("indices")
    indptr = values.offsets.to_numpy().astype(np.int64)
    begin, end = int(indptr[0]), int(indptr[-1])
    indptr -= begin
    stored = np.diff(indptr)
    sizes = vectors.field("size").fill_null(0).to_numpy(zero_copy_only=False)
    lengths = np.where(sparse, sizes, stored)
    d = int(lengths[0])
    _check_lengths(lengths, name, where, first)
    of_sparse = np.repeat(sparse, stored)
    indices = np.empty(end - begin, np.int32)
    given = columns.flatten().to_numpy(zero_copy_only=False)
    as_many = np.diff(columns.offsets.to_numpy())[sparse] == stored[sparse]
    if as_many.all():
        indices[of_sparse] = given
        indices[~of_sparse] = np.tile(np.arange(d, dtype=np.int32), int((~sparse).sum()))
        # A kernel would read elsewhere by a column that is not there.
        rises = np.diff(indices, prepend=-1) > 0
        rises[indptr[:-1][stored > 0]] = True
        good = rises & (indices >= 0) & (indices < d)
        bad = np.flatnonzero(np.diff(np.concatenate(([0], np.cumsum(~good)))[indptr]))
    else:
        bad = np.flatnonzero(sparse)[~as_many]
    if bad.size:
        raise RowsError(
            f"The column {name!r} has a sparse vector in row {first + int(bad[0])} of {where} "
            f"whose indices do not ascend within 0 to {d - 1}, one for each value."
        )
    data = np.array(values.values.slice(begin, end - begin).to_numpy(zero_copy_only=True))
    return CSRRows(data, indices, indptr, d)


def _check_lengths(lengths: Array, name: str, where: str, first: int) -> None:
    if (lengths != lengths[:1]).any():
        row = int(np.flatnonzero(lengths != lengths[0])[0])
        raise RowsError(
            f"The column {name!r} has {lengths[row]} numbers in row {first + row} of {where}, and "
            f"{lengths[0]} in rows before it: each row has to have as many."
        )


def _whole_rows(lists: Any, name: str, where: str, first: int) -> Array:
    """Return the numbers of an Arrow list array, all lists of one length, as rows."""
    offsets = lists.offsets.to_numpy()
    lengths = np.diff(offsets)
    d = int(lengths[0]) if len(lengths) else 0
    _check_lengths(lengths, name, where, first)
    numbers = lists.values.slice(offsets[0], offsets[-1] - offsets[0])
    if numbers.null_count:
        place = int(np.flatnonzero(numbers.is_null().to_numpy(zero_copy_only=False))[0])
        raise RowsError(
            f"The column {name!r} has a null in row {first + place // d} of {where}, place "
            f"{place % d} of the array. k-means needs a number everywhere: fill or drop such rows."
        )
    # A copy, since Arrow's arrays may not be written to: for such numba would compile every kernel
    # again.
    return np.array(numbers.to_numpy(zero_copy_only=True)).reshape(len(lengths), d)


def _null(name: str, column: Any, where: str, first: int) -> RowsError:
    row = first + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
    return RowsError(
        f"The column {name!r} has a null, or text that is not a number, in row {row} of {where}. "
        "k-means needs a number everywhere: fill or drop such rows first."
    )


def checked_weights(column: Any, name: str, where: str, first: int) -> Array:
    """Return weights of an Arrow array as float64.

    Raises
    ------
    RowsError
        For nulls, and weights that are negative or not finite.
    """
    if column.null_count:
        raise _null(name, column, where, first)
    weights = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise RowsError(
            f"The column {name!r} has {weights[bad[0]]} in row {first + int(bad[0])} of {where}: "
            "weights must be finite and not negative."
        )
    return weights
