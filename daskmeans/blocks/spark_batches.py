"""Arrow batches, as Spark hands them to its Python workers, as arrays of rows and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from daskmeans.errors import RowsError
from daskmeans.typing import Array

Layout: TypeAlias = Literal["columns", "array", "vector"]


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

    def read(self, columns: Sequence[Any], where: str, first: int) -> Array:
        """Return rows of shape (r, d) of the features' Arrow arrays.

        In C order, and in memory of their own.

        Parameters
        ----------
        columns : sequence of pyarrow.Array
        where : str
            Of what `first` counts the rows, for errors.
        first : int

        Raises
        ------
        RowsError
            For nulls, vectors that are sparse, and rows of different lengths.
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
            _check_dense(column, name, where, first)
            column = column.field("values")
        return _whole_rows(column, name, where, first)


def _check_dense(column: Any, name: str, where: str, first: int) -> None:
    kinds = column.field("type").to_numpy(zero_copy_only=False)
    if (kinds == 0).any():
        row = first + int(np.flatnonzero(kinds == 0)[0])
        raise RowsError(
            f"The column {name!r} has a sparse vector in row {row} of {where}. Sparse vectors are "
            "not taken, since rows made dense may need far more memory: convert them where that "
            "is meant, for instance by pyspark.ml.functions.vector_to_array."
        )


def _whole_rows(lists: Any, name: str, where: str, first: int) -> Array:
    """Return the numbers of an Arrow list array, all lists of one length, as rows."""
    offsets = lists.offsets.to_numpy()
    lengths = np.diff(offsets)
    d = int(lengths[0]) if len(lengths) else 0
    if (lengths != d).any():
        row = int(np.flatnonzero(lengths != d)[0])
        raise RowsError(
            f"The column {name!r} has {lengths[row]} numbers in row {first + row} of {where}, and "
            f"{d} in rows before it: each row has to have as many."
        )
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
