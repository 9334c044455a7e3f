"""One more column for each row of a Spark DataFrame: labels or distances, made when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmeans.algorithms.assignment import CenterSet
from daskmeans.algorithms.rowwise import RowFunction, label_rows
from daskmeans.blocks.block import Block, make_block
from daskmeans.blocks.spark_batches import BatchReader
from daskmeans.blocks.spark_rows import SparkRows
from daskmeans.kernels.csr import CSRRows
from daskmeans.passes.schedulers import blas_on_one_thread
from daskmeans.typing import Array, Metric

# What a column that nobody named is called.
PREDICTION, DISTANCES = "prediction", "distances"


@dataclass(frozen=True)
class RowFunctionOfBatches:
    """What Spark's Python workers do with the features' Arrow arrays."""

    function: RowFunction
    centers: CenterSet
    reader: BatchReader
    divide: bool

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        first = 0
        with blas_on_one_thread():
            for batch in batches:
                columns = batch if isinstance(batch, tuple) else (batch,)
                where = "what one task was given"
                rows = self.reader.read(columns, where, first)
                # Arrays of a batch without rows are of no length.
                n_features = self.centers.centers.shape[1] if len(rows) else rows.shape[1]
                block = make_block(0, first, [rows], None, n_features, divide=self.divide)
                first += len(rows)
                if self.function is label_rows:
                    labels = np.empty(len(block), np.int32)
                    self.function(block, self.centers, labels)
                    yield pa.array(labels)
                else:
                    distances = np.empty((len(block), len(self.centers.centers)))
                    self.function(block, self.centers, distances)
                    if isinstance(block.rows, CSRRows):
                        dense = np.flatnonzero(~self.reader.sparse_among(columns))
                        distances[dense] = self._of_dense(block.rows[dense])
                    ends = np.arange(len(block) + 1, dtype=np.int32) * distances.shape[1]
                    yield pa.ListArray.from_arrays(ends, distances.ravel())

    def _of_dense(self, rows: CSRRows) -> Array:
        """Return the distances of dense vectors that came in a batch with sparse ones.

        Measured as dense rows are: the last digits must not depend on Spark's batches.
        """
        block = Block(0, 0, rows.data.reshape(rows.shape), None)
        distances = np.empty((len(rows), len(self.centers.centers)))
        self.function(block, self.centers, distances)
        return distances


def with_column(
    rows: SparkRows,
    function: RowFunction,
    centers: CenterSet,
    name: str,
    metric: Metric = "euclidean",
) -> Any:
    """Return the DataFrame with a column more: an int for labels, an array<double> for distances.

    Parameters
    ----------
    rows : SparkRows
    function : RowFunction
        `label_rows`, or a function of distances.
    centers : CenterSet
    name : str
        Of the new column.
    metric : {"euclidean", "cosine"}
        For "cosine" the function is given rows divided by their lengths.
    """
    import pyarrow as pa
    from pyspark.sql.functions import arrow_udf

    task = RowFunctionOfBatches(function, centers, rows.reader(), metric == "cosine")

    def work(batches: Any) -> Any:
        return task(batches)

    # By these Spark knows what it is to hand over: an array, or a tuple of them for each batch.
    several, one = Iterator[tuple[pa.Array, ...]], Iterator[pa.Array]
    work.__annotations__ = {"batches": several if len(rows.features) > 1 else one, "return": one}
    made = arrow_udf(work, "int" if function is label_rows else "array<double>")
    return rows.frame.withColumn(name, made(*rows.feature_columns()))
