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
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Generic

import numpy as np

from daskmeans.blocks.block import Block, working_dtype
from daskmeans.blocks.source import Key, RowSource
from daskmeans.blocks.spark_partitions import (
    COLUMNS,
    PLACE_COLUMNS,
    PartitionToBlocks,
    Place,
    Record,
    other_length,
    place_in,
    place_of,
    record_of,
    records_of,
)
from daskmeans.blocks.spark_rows import SparkRows
from daskmeans.errors import ClusterError, DaskMeansError, RowsError
from daskmeans.kernels.csr import CSRRows
from daskmeans.partials import PartialT
from daskmeans.passes.events import PassEnded, PassStarted, tell
from daskmeans.passes.plan import Pass, merge
from daskmeans.passes.schedulers import blas_on_one_thread
from daskmeans.passes.walk import RunningMerge
from daskmeans.typing import Metric
from daskmeans.version import __version__

# As many partials go to the driver as they are; more are merged by Spark's tree first.
_MOST_GATHERED = 64


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
    sparse : bool
        Some block has sparse rows: then dense ones are taken as such too, since what is summed of a
        row must not depend on the rows that share its block.
    """

    step: Pass[PartialT]
    dtype: np.dtype[Any]
    places: Mapping[tuple[int, int], tuple[int, int, int]]
    sparse: bool

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
        number, start, _ = known
        rows = record.any_rows(self.dtype)
        if self.sparse and not isinstance(rows, CSRRows):
            rows = CSRRows.of_dense(rows)
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
        return [place_in(row) for row in self._frame.select(*PLACE_COLUMNS).collect()]

    def run(self, task: PassOverPartition[PartialT]) -> list[Outcome[PartialT]]:
        found = self._frame.mapInArrow(_OverBatches(task), "outcome binary").collect()
        return [pickle.loads(row.outcome) for row in found]


@dataclass(frozen=True)
class _OverBatches:
    """A pass on the blocks of a partition that come as Arrow batches."""

    task: PassOverPartition[Any]

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for outcome in self.task(records_of(batches)):
            yield pa.RecordBatch.from_arrays(
                [pa.array([pickle.dumps(outcome)], pa.binary())], names=["outcome"]
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
        For nulls, rows of different lengths, and weights that are no weights; for "cosine", of rows
        of zeros.
    ClusterError
        If Spark's workers cannot import this package.
    """

    def __init__(self, rows: SparkRows, metric: Metric = "euclidean") -> None:
        divide = metric == "cosine"
        task = PartitionToBlocks(rows.reader(), rows.weight, rows.id, divide)
        converted = rows.selected().mapInArrow(task, COLUMNS)
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
        sparse = any(place.n_values is not None for place in places)
        names: tuple[str, ...] | None = rows.features
        if not rows.named:
            # Sparse rows may have millions of features, and names travel with passes.
            names = None if sparse else tuple(f"{rows.features[0]}[{j}]" for j in range(n_features))
        self._dtype = working_dtype(rows.dtype) if divide else rows.dtype
        self.source = RowSource(
            n_features,
            self._dtype,
            sizes,
            tuple((part,) for part in kept),
            weights=None if rows.weight is None else kept,
            feature_names=names,
            sparse=sparse,
            sparse_bytes=sum(place.sparse_bytes for place in places) if sparse else None,
        ).measured_by(metric)

    @property
    def row_state_bytes(self) -> int:
        """0: Spark gives a partition to whichever of its Python workers is free."""
        return 0

    @property
    def bytes_read(self) -> int:
        """Bytes of rows that were read: once, to be kept by Spark."""
        return self.source.n_bytes or 0

    def learn_sizes(self, sizes: tuple[int, ...]) -> None:
        """Take over the rows of each block, which are known."""
        self.source = self.source.with_sizes(sizes)

    def learn_bytes(self, n_bytes: int) -> None:
        """Take over the size of sparse rows, found in a pass."""
        self.source = replace(self.source, sparse_bytes=n_bytes)

    def __call__(self, step: Pass[PartialT]) -> PartialT:
        """Run a pass and return the merged partial of all blocks."""
        n_blocks = self.source.n_blocks
        tell(PassStarted(step.name, n_blocks))
        started = time.perf_counter()
        self.n_passes += 1
        with _explained():
            task = PassOverPartition(step, self._dtype, self._places, self.source.sparse)
            outcomes = self._blocks.run(task)
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
        raise other_length(rows.features[0], few, many, "the DataFrame")
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
        # Of a module in it: there is another version, without that module.
        if "No module named 'daskmeans" not in str(error):
            raise
        raise ClusterError(
            f"Spark's Python workers cannot import daskmeans {__version__}: install it where the "
            "executors run, or let Spark ship an environment that has it (spark.archives, "
            "PYSPARK_PYTHON)."
        ) from error
