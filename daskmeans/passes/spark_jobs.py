"""A pass over blocks that Spark keeps, as a job of its own: a task for each partition."""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np

from daskmeans.blocks.block import Block
from daskmeans.blocks.row_state import forget_all
from daskmeans.blocks.spark_partitions import (
    PLACE_COLUMNS,
    Place,
    Record,
    place_in,
    place_of,
    record_of,
    records_of,
)
from daskmeans.errors import DaskMeansError, RowsError
from daskmeans.kernels.csr import CSRRows
from daskmeans.partials import PartialT
from daskmeans.passes.plan import Pass, merge
from daskmeans.passes.schedulers import blas_on_one_thread
from daskmeans.passes.walk import RunningMerge

# As many partials go to the driver as they are; more are merged by Spark's tree first.
_MOST_GATHERED = 64


@dataclass(frozen=True)
class Outcome(Generic[PartialT]):
    """What a pass yields of some blocks.

    Attributes
    ----------
    partial : Partial or None
        None where there were no blocks, or an error.
    error : DaskMeansError or None
        Of the first block that has one.
    number : int
        Of that block.
    """

    partial: PartialT | None
    error: DaskMeansError | None = None
    number: int = -1


def outcome_of(step: Pass[PartialT], blocks: Iterable[Block]) -> Outcome[PartialT]:
    """Run a pass on some blocks. Errors of this package are values.

    Spark would try a task that raises three times more, to the same end.
    """
    merged: RunningMerge[PartialT] = RunningMerge()
    number = -1
    try:
        for block in blocks:
            number = block.number
            merged.add(step.chunk(block, step.parameters))
    except DaskMeansError as error:
        return Outcome(None, error, number)
    return Outcome(merged.result())


def merge_outcomes(*outcomes: Outcome[PartialT]) -> Outcome[PartialT]:
    """Merge what a pass yielded of several lots of blocks; of errors that of the first block stays.

    The task of an inner node of Spark's tree, too.
    """
    failed = [each for each in outcomes if each.error is not None]
    if failed:
        return min(failed, key=lambda each: each.number)
    found = [each.partial for each in outcomes if each.partial is not None]
    return Outcome(merge(*found) if found else None)


@dataclass(frozen=True)
class BlocksOfRecords:
    """Makes blocks of what Spark keeps of a partition.

    Attributes
    ----------
    dtype : numpy dtype
    places : mapping of (partition, number) to (block number, first row, rows)
    sparse : bool
        Some block has sparse rows: then dense ones are taken as such too, since what is summed of a
        row must not depend on the rows that share its block.
    """

    dtype: np.dtype[Any]
    places: Mapping[tuple[int, int], tuple[int, int, int]]
    sparse: bool

    def __call__(self, records: Iterable[Record]) -> Iterator[Block]:
        for record in records:
            yield self._block(record)

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


@dataclass(frozen=True)
class PassOverPartition(Generic[PartialT]):
    """The task of a pass on the blocks of one partition."""

    step: Pass[PartialT]
    blocks: BlocksOfRecords

    def __call__(self, records: Iterable[Record]) -> Iterator[Outcome[PartialT]]:
        left = iter(records)
        with blas_on_one_thread():
            outcome = outcome_of(self.step, self.blocks(left))
        # Records are taken to the end in any case: Spark lets a worker that leaves some die, and
        # its successor would import this package again.
        for _ in left:
            pass
        # The next pass finds this partition in whichever worker is free then.
        forget_all()
        yield outcome


class JobBlocks:
    """Blocks that a session of Spark's own driver keeps as an RDD.

    Attributes
    ----------
    rdd : pyspark.RDD
        Of `Record`.
    context : pyspark.SparkContext
    release : function ()
        Lets Spark keep them no longer.
    """

    def __init__(self, converted: Any) -> None:
        from pyspark import StorageLevel

        # As objects of the JVM: serialised ones would be copied once more in each pass.
        self.rdd = converted.rdd.map(record_of).persist(StorageLevel.MEMORY_AND_DISK_DESER)
        self.context = converted.sparkSession.sparkContext
        # Spark keeps an RDD that nobody can reach until it is told.
        self.release = weakref.finalize(self, _unpersist, self.rdd)
        self.release.atexit = False

    def places(self) -> list[Place]:
        """Make the blocks; return what there is of each."""
        return list(self.rdd.map(place_of).collect())

    def run(self, step: Pass[PartialT], blocks: BlocksOfRecords) -> Outcome[PartialT]:
        """Run a pass as a job."""
        found = self.rdd.mapPartitions(PassOverPartition(step, blocks))
        name = "spark.job.description"
        before = self.context.getLocalProperty(name)
        self.context.setLocalProperty(name, step.name)
        try:
            if self.rdd.getNumPartitions() > _MOST_GATHERED:
                merged: Outcome[PartialT] = found.treeReduce(merge_outcomes)
                return merged
            return merge_outcomes(*found.collect())
        finally:
            self.context.setLocalProperty(name, before)


class ConnectBlocks:
    """Blocks that a Spark Connect session keeps as a DataFrame, since it has no RDDs.

    Attributes
    ----------
    release : function ()
        Lets Spark keep them no longer.
    """

    def __init__(self, converted: Any) -> None:
        self._frame = converted.persist()
        self.release = weakref.finalize(self, _unpersist, self._frame)
        self.release.atexit = False

    def places(self) -> list[Place]:
        """Make the blocks; return what there is of each."""
        return [place_in(row) for row in self._frame.select(*PLACE_COLUMNS).collect()]

    def run(self, step: Pass[PartialT], blocks: BlocksOfRecords) -> Outcome[PartialT]:
        """Run a pass as a job."""
        task = _OverBatches(PassOverPartition(step, blocks))
        found = self._frame.mapInArrow(task, "outcome binary").collect()
        return merge_outcomes(*(pickle.loads(row.outcome) for row in found))


@dataclass(frozen=True)
class JobPasses:
    """Runs each pass over blocks of a Spark Connect session as a job."""

    kept: ConnectBlocks
    blocks: BlocksOfRecords

    @property
    def row_state_bytes(self) -> int:
        """0: Spark gives a partition to whichever of its Python workers is free."""
        return 0

    def run(self, step: Pass[PartialT]) -> Outcome[PartialT]:
        """Run a pass."""
        return self.kept.run(step, self.blocks)

    def close(self) -> None:
        """Let Spark keep the rows no longer."""
        self.kept.release()


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
