"""Run passes over the rows of a Spark DataFrame: one more way to do what `passes.runner` does.

The first job turns partitions into blocks of numbers, which Spark keeps (`persist`) and makes again
where they are lost. Each pass is a job over these blocks, of one task a partition: a Python worker
takes the blocks of its partition one by one, and a partial goes to the driver. In a Spark Connect
session, which has no RDDs, blocks are the rows of a DataFrame instead.
"""

from __future__ import annotations

import pickle
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Generic

import numpy as np

from daskmeans.blocks.block import Block, divided, working_dtype
from daskmeans.blocks.source import Key, RowSource
from daskmeans.blocks.spark_batches import BatchReader, checked_weights
from daskmeans.blocks.spark_rows import SparkRows
from daskmeans.errors import ClusterError, DaskMeansError, RowsError
from daskmeans.partials import PartialT
from daskmeans.passes.events import PassEnded, PassStarted, tell
from daskmeans.passes.plan import Pass, merge
from daskmeans.passes.schedulers import blas_on_one_thread
from daskmeans.passes.walk import RunningMerge
from daskmeans.typing import Array, Metric

# What a Python worker takes at a time from its partition.
BLOCK_BYTES = 8 << 20
# As many partials go to the driver as they are; more are merged by Spark's tree first.
_MOST_GATHERED = 64

_COLUMNS = (
    "partition int, number int, n_rows long, n_features int, rows binary, weights binary, "
    "error binary"
)


@dataclass(frozen=True)
class Place:
    """A block of a partition, or why there is none.

    Attributes
    ----------
    partition, number : int
        Order of the rows: by partition, then by number.
    n_rows, n_features : int
    error : DaskMeansError or None
    """

    partition: int
    number: int
    n_rows: int
    n_features: int
    error: DaskMeansError | None = None


@dataclass(frozen=True)
class Record:
    """A block as Spark keeps it.

    Attributes
    ----------
    place : Place
    rows : buffer
        Of the numbers, in C order.
    weights : buffer or None
        Of float64.
    """

    place: Place
    rows: Any
    weights: Any


@dataclass(frozen=True)
class PartitionToBlocks:
    """The task that turns the Arrow batches of a partition into rows of `_COLUMNS`."""

    reader: BatchReader
    weight: str | None
    id: str | None
    block_bytes: int
    divide: bool

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

    def _blocks(self, batches: Iterator[Any], where: str) -> Iterator[tuple[Array, Array | None]]:
        n_features = len(self.reader.features)
        read: list[Array] = []
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
                raise _other_length(self.reader.features[0], rows.shape[1], read[0].shape[1], where)
            if self.divide:
                rows = divided(Block(0, first, rows, None)).rows
            read.append(rows)
            first += len(rows)
            size += rows.nbytes
            if size >= self.block_bytes:
                yield np.concatenate(read), np.concatenate(weights) if weights else None
                read, weights, size = [], [], 0
        if read:
            yield np.concatenate(read), np.concatenate(weights) if weights else None


def _other_length(name: str, found: int, expected: int, where: str) -> RowsError:
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
    partition: int, number: int, rows: Array, weights: Array | None, error: Exception | None
) -> Any:
    import pyarrow as pa

    values = {
        "partition": pa.array([partition], pa.int32()),
        "number": pa.array([number], pa.int32()),
        "n_rows": pa.array([len(rows)], pa.int64()),
        "n_features": pa.array([rows.shape[1]], pa.int32()),
        "rows": _binary(rows),
        "weights": pa.array([None], pa.binary()) if weights is None else _binary(weights),
        "error": pa.array([None if error is None else pickle.dumps(error)], pa.binary()),
    }
    return pa.RecordBatch.from_arrays(list(values.values()), names=list(values))


def _binary(array: Array) -> Any:
    """Return an array's memory as an Arrow array of one value, not copied."""
    import pyarrow as pa

    ends = pa.py_buffer(np.array([0, array.nbytes], np.int32))
    return pa.Array.from_buffers(
        pa.binary(), 1, [None, ends, pa.py_buffer(np.ascontiguousarray(array))]
    )


def record_of(row: Any) -> Record:
    """The task that makes a record of a row of `_COLUMNS`."""
    error = None if row.error is None else pickle.loads(row.error)
    place = Place(row.partition, row.number, row.n_rows, row.n_features, error)
    # Of bytes that may be written to, though nobody does: for arrays that may not, numba would
    # compile every kernel again.
    weights = None if row.weights is None else bytearray(row.weights)
    return Record(place, bytearray(row.rows), weights)


def place_of(record: Record) -> Place:
    """The task that tells how many rows a block has."""
    return record.place


@dataclass(frozen=True)
class Outcome(Generic[PartialT]):
    """What a pass yields of some blocks: a partial, or the error of the first of them."""

    partial: PartialT | None
    error: DaskMeansError | None = None
    number: int = -1

    @property
    def result(self) -> PartialT:
        """Return the partial; it is an error to ask where there was one."""
        if self.error is not None:
            raise self.error
        assert self.partial is not None
        return self.partial


def merge_outcomes(one: Outcome[PartialT], other: Outcome[PartialT]) -> Outcome[PartialT]:
    """The task of an inner node of Spark's tree; of errors the one of the first block stays."""
    failed = [each for each in (one, other) if each.error is not None]
    if failed:
        return min(failed, key=lambda each: each.number)
    return Outcome(merge(one.result, other.result))


@dataclass(frozen=True)
class PassOverPartition(Generic[PartialT]):
    """The task of a pass on the blocks of one partition.

    Attributes
    ----------
    step : Pass
    dtype : numpy dtype
    places : mapping of (partition, number) to (block number, first row, rows)
    """

    step: Pass[PartialT]
    dtype: np.dtype[Any]
    places: Mapping[tuple[int, int], tuple[int, int, int]]

    def __call__(self, records: Iterable[Record]) -> Iterator[Outcome[PartialT]]:
        merged: RunningMerge[PartialT] = RunningMerge()
        error: DaskMeansError | None = None
        number = -1
        with blas_on_one_thread():
            for record in records:
                # Records are taken to the end in any case: Spark lets a worker that leaves some
                # die, and its successor would import this package again.
                if error is not None:
                    continue
                try:
                    block = self._block(record)
                    number = block.number
                    merged.add(self.step.chunk(block, self.step.parameters))
                except DaskMeansError as raised:
                    # As a value: Spark would try three times more, to the same end.
                    error = raised
        found = merged.result()
        if error is not None:
            yield Outcome(None, error, number)
        elif found is not None:
            yield Outcome(found)

    def _block(self, record: Record) -> Block:
        place = record.place
        known = self.places.get((place.partition, place.number))
        if known is None or known[2] != place.n_rows:
            raise RowsError(
                f"Partition {place.partition} of the DataFrame came out with other rows when Spark "
                "computed it again, since its order is not fixed: give a column of ids, or write "
                "the DataFrame to storage and read it from there."
            )
        number, start, n_rows = known
        rows = np.frombuffer(record.rows, self.dtype).reshape(n_rows, place.n_features)
        weights = None if record.weights is None else np.frombuffer(record.weights, np.float64)
        return Block(number, start, rows, weights)


class _Blocks:
    """Blocks that a session of Spark's own driver keeps as an RDD."""

    def __init__(self, converted: Any) -> None:
        from pyspark import StorageLevel

        # As objects of the JVM: serialised ones would be copied once more in each pass.
        self._rdd = converted.rdd.map(record_of).persist(StorageLevel.MEMORY_AND_DISK_DESER)
        self._context = converted.sparkSession.sparkContext
        # Spark keeps an RDD that nobody can reach until it is told.
        weakref.finalize(self, _unpersist, self._rdd).atexit = False

    def places(self) -> list[Place]:
        """Make the blocks; return what there is of each."""
        return list(self._rdd.map(place_of).collect())

    def run(self, task: PassOverPartition[PartialT]) -> list[Outcome[PartialT]]:
        found = self._rdd.mapPartitions(task)
        name = "spark.job.description"
        before = self._context.getLocalProperty(name)
        self._context.setLocalProperty(name, task.step.name)
        try:
            if self._rdd.getNumPartitions() > _MOST_GATHERED:
                return [found.treeReduce(merge_outcomes)]
            return list(found.collect())
        finally:
            self._context.setLocalProperty(name, before)


class _ConnectBlocks:
    """Blocks that a Spark Connect session keeps as a DataFrame."""

    def __init__(self, converted: Any) -> None:
        self._frame = converted.persist()
        weakref.finalize(self, _unpersist, self._frame).atexit = False

    def places(self) -> list[Place]:
        rows = self._frame.select("partition", "number", "n_rows", "n_features", "error").collect()
        return [
            Place(
                row.partition,
                row.number,
                row.n_rows,
                row.n_features,
                None if row.error is None else pickle.loads(row.error),
            )
            for row in rows
        ]

    def run(self, task: PassOverPartition[PartialT]) -> list[Outcome[PartialT]]:
        found = self._frame.mapInArrow(_OverBatches(task), "outcome binary").collect()
        return [pickle.loads(row.outcome) for row in found]


@dataclass(frozen=True)
class _OverBatches:
    """A pass on the blocks of a partition that come as Arrow batches."""

    task: PassOverPartition[Any]

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for outcome in self.task(_records(batches)):
            yield pa.RecordBatch.from_arrays(
                [pa.array([pickle.dumps(outcome)], pa.binary())], names=["outcome"]
            )


def _records(batches: Iterator[Any]) -> Iterator[Record]:
    for batch in batches:
        for i in range(batch.num_rows):
            partition, number, n_rows, n_features = (batch.column(j)[i].as_py() for j in range(4))
            rows, weights = (batch.column(j)[i] for j in (4, 5))
            yield Record(
                Place(partition, number, n_rows, n_features),
                bytearray(rows.as_buffer()),
                bytearray(weights.as_buffer()) if weights.is_valid else None,
            )


def _unpersist(kept: Any) -> None:
    try:
        kept.unpersist()
    except Exception:
        # The session has ended, and with it what it kept.
        return


class SparkRunner:
    """Runs passes over rows of a Spark DataFrame.

    Parameters
    ----------
    rows : SparkRows
    metric : {"euclidean", "cosine"}
        For "cosine" the rows are divided by their lengths as they become blocks.

    Attributes
    ----------
    source : RowSource
        Of blocks that Spark keeps: nothing in it can be read but by passes.
    n_passes : int

    Raises
    ------
    RowsError
        For nulls, sparse vectors, rows of different lengths, and weights that are no weights; for
        "cosine", of rows of zeros.
    ClusterError
        If Spark's workers cannot import this package.
    """

    def __init__(self, rows: SparkRows, metric: Metric = "euclidean") -> None:
        divide = metric == "cosine"
        task = PartitionToBlocks(rows.reader(), rows.weight, rows.id, BLOCK_BYTES, divide)
        converted = rows.selected().mapInArrow(task, _COLUMNS)
        connect = ".connect." in type(rows.frame).__module__
        self._blocks = _ConnectBlocks(converted) if connect else _Blocks(converted)
        self.n_passes = 0
        with _explained():
            places = sorted(self._blocks.places(), key=lambda each: (each.partition, each.number))
        sizes, n_features = _checked(places, rows)
        starts = (0, *accumulate(sizes))
        self._places = {
            (place.partition, place.number): (number, starts[number], place.n_rows)
            for number, place in enumerate(places)
        }
        kept = tuple(Key(("spark-block", number)) for number in range(len(places)))
        names = rows.features
        if not rows.named:
            names = tuple(f"{names[0]}[{j}]" for j in range(n_features))
        self._dtype = working_dtype(rows.dtype) if divide else rows.dtype
        self.source = RowSource(
            n_features,
            self._dtype,
            sizes,
            tuple((part,) for part in kept),
            weights=None if rows.weight is None else kept,
            feature_names=names,
        ).measured_by(metric)

    @property
    def row_state_bytes(self) -> int:
        """0: Spark gives a partition to whichever of its Python workers is free."""
        return 0

    @property
    def bytes_read(self) -> int:
        """Bytes of rows that were read: once, to be kept by Spark."""
        return self.source.n_bytes

    def learn_sizes(self, sizes: tuple[int, ...]) -> None:
        """Take over the rows of each block, which are known."""
        self.source = self.source.with_sizes(sizes)

    def __call__(self, step: Pass[PartialT]) -> PartialT:
        """Run a pass and return the merged partial of all blocks."""
        n_blocks = self.source.n_blocks
        tell(PassStarted(step.name, n_blocks))
        started = time.perf_counter()
        self.n_passes += 1
        with _explained():
            outcomes = self._blocks.run(PassOverPartition(step, self._dtype, self._places))
        failed = [each for each in outcomes if each.error is not None]
        if failed:
            _ = min(failed, key=lambda each: each.number).result
        result = merge(*(outcome.result for outcome in outcomes))
        seconds = time.perf_counter() - started
        tell(PassEnded(step.name, n_blocks, seconds, self.source.n_rows))
        return result


def _checked(places: list[Place], rows: SparkRows) -> tuple[tuple[int, ...], int]:
    """Return the rows of each block, and the features of all."""
    for place in places:
        if place.error is not None:
            raise place.error
    widths = {place.n_features for place in places}
    if len(widths) > 1:
        few, *_, many = sorted(widths)
        raise _other_length(rows.features[0], few, many, "the DataFrame")
    n_features = widths.pop() if widths else len(rows.features)
    if n_features == 0:
        raise RowsError(f"The column {rows.features[0]!r} has arrays without numbers.")
    return tuple(place.n_rows for place in places), n_features


@contextmanager
def _explained() -> Iterator[None]:
    """Context that says what to do where Spark's workers cannot import this package."""
    try:
        yield
    except Exception as error:
        if "No module named 'daskmeans'" not in str(error):
            raise
        raise ClusterError(
            "Spark's Python workers cannot import daskmeans: install it where the executors run, "
            "or let Spark ship an environment that has it (spark.archives, PYSPARK_PYTHON)."
        ) from error
