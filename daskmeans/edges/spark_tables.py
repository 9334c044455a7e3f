"""Tables that Spark reads, and single columns of its DataFrames in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from daskmeans.blocks.inputs import ArrayLike
from daskmeans.blocks.spark_rows import column_of, is_spark
from daskmeans.edges.sources import FORMATS
from daskmeans.errors import RowsError, missing_extra
from daskmeans.preprocessing.spark_frames import text_as_numbers
from daskmeans.typing import Array

_READ = {end: kind for end, kind in FORMATS.items() if kind in ("Parquet", "CSV")}


def table_in_spark(rows: ArrayLike, columns: Sequence[str | int] | None) -> Any:
    """Return a Spark DataFrame, of which columns of text that hold numbers are numbers.

    Parameters
    ----------
    rows : str, or pyspark.sql.DataFrame
        A path or URL of Parquet or CSV that Spark reads, in the session that is active, or in a new
        one of Spark's own defaults. The first line of CSV names the columns.
    columns : sequence of str, optional
        Columns that are taken: no others are looked at.

    Raises
    ------
    RowsError
        For rows of another kind or format.
    MissingExtraError
        If pyspark is not installed.
    """
    if isinstance(rows, str):
        rows = _read(rows)
    elif not is_spark(rows) or not hasattr(rows, "dtypes"):
        raise RowsError(
            f"engine='spark' takes a Spark DataFrame, or a path of Parquet or CSV, and rows is a "
            f"{type(rows).__name__}: leave engine out."
        )
    # Others are named by whoever takes the columns.
    names = [each for each in columns or () if isinstance(each, str) and each in rows.columns]
    return text_as_numbers(
        rows.select(*(column_of(rows, name) for name in names)) if names else rows
    )


def _read(path: str) -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise missing_extra("pyspark", "spark", "engine='spark'") from error
    kind = next((kind for end, kind in _READ.items() if path.rstrip("/").endswith(end)), None)
    if kind is None:
        raise RowsError(
            f"{path} is of a format that Spark does not read here: {', '.join(_READ)} are. "
            "Read it by spark.read, and pass the DataFrame."
        )
    session = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
    if kind == "CSV":
        return session.read.option("header", True).csv(path)
    return session.read.parquet(path)


def gathered(frame: Any, column: str) -> Array:
    """Return a column of a Spark DataFrame as an array of shape (n,), in the order of the rows."""
    return np.asarray(frame.select(column).toArrow().column(0).to_numpy())
