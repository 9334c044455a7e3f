"""Partitions of a Spark DataFrame as blocks of numbers, in the form in which Spark keeps them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmeans.blocks.block import Block, divided
from daskmeans.blocks.spark_batches import BatchReader, checked_weights
from daskmeans.errors import DaskMeansError, RowsError
from daskmeans.kernels.csr import AnyRows, CSRRows, joined
from daskmeans.typing import Array

# What a Python worker takes at a time from its partition.
BLOCK_BYTES = 8 << 20

# Of a DataFrame whose rows are blocks.
COLUMNS = (
    "partition int, number int, n_rows long, n_features int, n_values long, rows binary, "
    "indices binary, indptr binary, weights binary, error binary"
)


@dataclass(frozen=True)
class Place:
    """A block of a partition, or why there is none.

    Attributes
    ----------
    partition, number : int
        Order of the rows: by partition, then by number.
    n_rows, n_features : int
    n_values : int or None
        How many values sparse rows store; None for dense ones.
    error : DaskMeansError or None
    """

    partition: int
    number: int
    n_rows: int
    n_features: int
    n_values: int | None
    error: DaskMeansError | None = None

    @property
    def sparse_bytes(self) -> int:
        """Size of the rows as sparse ones in float64, with all values stored if they are dense."""
        n_values = self.n_rows * self.n_features if self.n_values is None else self.n_values
        return (8 + 4) * n_values + 8 * (self.n_rows + 1)


@dataclass(frozen=True)
class Record:
    """A block as Spark keeps it.

    Attributes
    ----------
    place : Place
    rows : buffer
        Of the numbers, in C order; of sparse rows those that are stored.
    indices, indptr : buffer or None
        Of int32 and int64, for sparse rows: see `CSRRows`.
    weights : buffer or None
        Of float64.
    """

    place: Place
    rows: Any
    indices: Any
    indptr: Any
    weights: Any

    def any_rows(self, dtype: np.dtype[Any]) -> AnyRows:
        """Return the rows, whose numbers are of this dtype."""
        place = self.place
        numbers = np.frombuffer(self.rows, dtype)
        if self.indptr is None:
            return numbers.reshape(place.n_rows, place.n_features)
        indices, indptr = (
            np.frombuffer(self.indices, np.int32),
            np.frombuffer(self.indptr, np.int64),
        )
        return CSRRows(numbers, indices, indptr, place.n_features)


@dataclass(frozen=True)
class PartitionToBlocks:
    """The task that turns the Arrow batches of a partition into rows of `COLUMNS`.

    Attributes
    ----------
    reader : BatchReader
    weight, id : str or None
        Names of the columns that follow those of the features.
    divide : bool
        Divide each row by its length.
    block_bytes : int
        A block is whole once it has so many.
    """

    reader: BatchReader
    weight: str | None
    id: str | None
    divide: bool
    block_bytes: int = BLOCK_BYTES

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        from pyspark import TaskContext

        partition = TaskContext.get().partitionId()
        number = 0
        try:
            for rows, weights in self._blocks(batches, f"partition {partition}"):
                yield _batch(partition, number, rows, weights, None)
                number += 1
        except DaskMeansError as error:
            # As a value: Spark would run a task that raises three times more, to the same end.
            yield _batch(partition, number, np.empty((0, 0)), None, error)
            for _ in batches:
                pass

    def _blocks(self, batches: Iterator[Any], where: str) -> Iterator[tuple[AnyRows, Array | None]]:
        n_features = len(self.reader.features)
        read: list[AnyRows] = []
        weights: list[Array] = []
        first = size = 0
        last_id = None
        for batch in batches:
            if not batch.num_rows:
                continue
            columns = batch.columns
            if self.id is not None:
                last_id = _check_ids(columns.pop(), last_id, self.id)
            if self.weight is not None:
                weights.append(checked_weights(columns.pop(), self.weight, where, first))
            rows = self.reader.read(columns[:n_features], where, first)
            if read and rows.shape[1] != read[0].shape[1]:
                raise other_length(self.reader.features[0], rows.shape[1], read[0].shape[1], where)
            if self.divide:
                rows = divided(Block(0, first, rows, None)).rows
            read.append(rows)
            first += len(rows)
            size += rows.nbytes
            if size >= self.block_bytes:
                yield joined(read), np.concatenate(weights) if weights else None
                read, weights, size = [], [], 0
        if read:
            yield joined(read), np.concatenate(weights) if weights else None


def other_length(name: str, found: int, expected: int, where: str) -> RowsError:
    """Make the error for arrays of different lengths."""
    return RowsError(
        f"The column {name!r} has {found} numbers in some rows of {where}, and {expected} in "
        "others: each row has to have as many."
    )


def _check_ids(ids: Any, last: Any, name: str) -> Any:
    """Raise for an id that is null, or not the only one; return the last one."""
    import pyarrow.compute as pc

    if ids.null_count:
        raise RowsError(f"The column {name!r} of ids has a null: each row needs an id of its own.")
    equal = pc.equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    twice = ids[int(np.flatnonzero(equal)[0])].as_py() if equal.any() else None
    if last is not None and ids[0].as_py() == last:
        twice = last
    if twice is not None:
        raise RowsError(
            f"The column {name!r} of ids has {twice!r} more than once: each row needs an id of its "
            "own, by which the order of the rows is known."
        )
    return ids[-1].as_py()


def _batch(
    partition: int, number: int, rows: AnyRows, weights: Array | None, error: Exception | None
) -> Any:
    import pyarrow as pa

    n_values = indices = indptr = None
    if isinstance(rows, CSRRows):
        n_values, indices, indptr = rows.n_values, rows.indices, rows.indptr
        numbers = rows.data
    else:
        numbers = rows
    values = {
        "partition": pa.array([partition], pa.int32()),
        "number": pa.array([number], pa.int32()),
        "n_rows": pa.array([len(rows)], pa.int64()),
        "n_features": pa.array([rows.shape[1]], pa.int32()),
        "n_values": pa.array([n_values], pa.int64()),
        "rows": _binary(numbers),
        "indices": _binary(indices),
        "indptr": _binary(indptr),
        "weights": _binary(weights),
        "error": pa.array([None if error is None else pickle.dumps(error)], pa.binary()),
    }
    return pa.RecordBatch.from_arrays(list(values.values()), names=list(values))


def _binary(array: Array | None) -> Any:
    """Return an array's memory as an Arrow array of one value, not copied; a null for None."""
    import pyarrow as pa

    if array is None:
        return pa.array([None], pa.binary())
    ends = pa.py_buffer(np.array([0, array.nbytes], np.int32))
    return pa.Array.from_buffers(
        pa.binary(), 1, [None, ends, pa.py_buffer(np.ascontiguousarray(array))]
    )


# Of what `Place` tells, and of the buffers of a record in its order.
PLACE_COLUMNS = ("partition", "number", "n_rows", "n_features", "n_values", "error")
_BUFFERS = ("rows", "indices", "indptr", "weights")


def place_in(row: Any) -> Place:
    """Return what a row of `PLACE_COLUMNS` tells."""
    told = {name: row[name] for name in PLACE_COLUMNS}
    if told["error"] is not None:
        told["error"] = pickle.loads(told["error"])
    return Place(**told)


def _own(value: Any) -> bytearray | None:
    # Bytes that may be written to, though nobody does: for arrays that may not, numba would compile
    # every kernel again.
    return None if value is None else bytearray(value)


def record_of(row: Any) -> Record:
    """The task that makes a record of a row of `COLUMNS`."""
    return Record(place_in(row), *(_own(row[name]) for name in _BUFFERS))


def place_of(record: Record) -> Place:
    """The task that tells how many rows a block has."""
    return record.place


def records_of(batches: Iterator[Any]) -> Iterator[Record]:
    """Yield the records of Arrow batches of rows of `COLUMNS`."""
    for batch in batches:
        for i in range(batch.num_rows):
            place = place_in({name: batch[name][i].as_py() for name in PLACE_COLUMNS})
            # `as_buffer` of a null is None.
            yield Record(place, *(_own(batch[name][i].as_buffer()) for name in _BUFFERS))
