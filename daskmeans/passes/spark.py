"""Run passes over the rows of a Spark DataFrame: one more way to do what `passes.runner` does.

The first job turns partitions into blocks of numbers, which Spark keeps (`persist`) and makes again
where they are lost. Passes go to Python workers that hold these blocks while passes come, or where
there cannot be such workers, each is a job over the blocks (`spark_resident` decides).
In a Spark Connect session, which has no RDDs, blocks are the rows of a DataFrame instead.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate

from daskmeans.blocks.block import working_dtype
from daskmeans.blocks.source import Key, RowSource
from daskmeans.blocks.spark_partitions import COLUMNS, PartitionToBlocks, Place, other_length
from daskmeans.blocks.spark_rows import SparkRows
from daskmeans.errors import ClusterError, RowsError
from daskmeans.partials import PartialT
from daskmeans.passes.events import PassEnded, PassStarted, tell
from daskmeans.passes.plan import Pass
from daskmeans.passes.spark_jobs import BlocksOfRecords, ConnectBlocks, JobBlocks, JobPasses
from daskmeans.passes.spark_resident import SparkBlocks
from daskmeans.typing import Metric
from daskmeans.version import __version__


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
        task = PartitionToBlocks(rows.reader(), rows.weight, rows.id, metric == "cosine")
        converted = rows.selected().mapInArrow(task, COLUMNS)
        connect = ".connect." in type(rows.frame).__module__
        kept = ConnectBlocks(converted) if connect else JobBlocks(converted)
        self.n_passes = 0
        try:
            self._open(kept, rows, metric)
        except BaseException:
            # Or Spark would keep them for as long as somebody looks at the error.
            kept.release()
            raise

    def _open(self, kept: JobBlocks | ConnectBlocks, rows: SparkRows, metric: Metric) -> None:
        """Make the blocks, and find out what there is of each."""
        with _explained():
            places = sorted(kept.places(), key=lambda each: (each.partition, each.number))
        sizes, n_features = _checked(places, rows)
        starts = (0, *accumulate(sizes))
        numbered = {
            (place.partition, place.number): (number, starts[number], place.n_rows)
            for number, place in enumerate(places)
        }
        keys = tuple(Key(("spark-block", number)) for number in range(len(places)))
        sparse = any(place.n_values is not None for place in places)
        names: tuple[str, ...] | None = rows.features
        if not rows.named:
            # Sparse rows may have millions of features, and names travel with passes.
            names = None if sparse else tuple(f"{rows.features[0]}[{j}]" for j in range(n_features))
        dtype = working_dtype(rows.dtype) if metric == "cosine" else rows.dtype
        self.source = RowSource(
            n_features,
            dtype,
            sizes,
            tuple((part,) for part in keys),
            weights=None if rows.weight is None else keys,
            feature_names=names,
            sparse=sparse,
            sparse_bytes=sum(place.sparse_bytes for place in places) if sparse else None,
        ).measured_by(metric)
        blocks = BlocksOfRecords(dtype, numbered, sparse)
        # A session with a connection to Spark alone has none for workers either.
        self._blocks = (
            JobPasses(kept, blocks)
            if isinstance(kept, ConnectBlocks)
            else SparkBlocks(kept, blocks, _partition_bytes(places, sparse, dtype.itemsize))
        )

    @property
    def row_state_bytes(self) -> int:
        """Bytes that may be kept of all rows between passes, by workers that hold them."""
        return self._blocks.row_state_bytes

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

    def close(self) -> None:
        """Send the workers home, and let Spark keep the rows no longer."""
        self._blocks.close()

    def __call__(self, step: Pass[PartialT]) -> PartialT:
        """Run a pass and return the merged partial of all blocks."""
        n_blocks = self.source.n_blocks
        tell(PassStarted(step.name, n_blocks))
        started = time.perf_counter()
        self.n_passes += 1
        with _explained():
            outcome = self._blocks.run(step)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.partial is not None
        seconds = time.perf_counter() - started
        tell(PassEnded(step.name, n_blocks, seconds, self.source.n_rows))
        return outcome.partial


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


def _partition_bytes(places: list[Place], sparse: bool, itemsize: int) -> list[int]:
    """Return how many bytes the rows of each partition take in memory."""
    sizes: defaultdict[int, int] = defaultdict(int)
    for place in places:
        dense_bytes = place.n_rows * place.n_features * itemsize
        sizes[place.partition] += place.sparse_bytes if sparse else dense_bytes
    return list(sizes.values())


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
