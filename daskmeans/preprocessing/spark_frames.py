"""The changes of a `Preprocessor` as expressions over columns of a Spark DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from daskmeans.blocks.spark_rows import column_of, number_columns, spark_rows
from daskmeans.errors import RowsError
from daskmeans.preprocessing.changes import Changes


def frame_of(X: Any) -> Any:
    """Return the Spark DataFrame that is to be prepared.

    Raises
    ------
    RowsError
        For columns of one that were chosen already, since `columns` chooses.
    """
    if not hasattr(X, "dtypes"):
        raise RowsError(
            "X is columns of a Spark DataFrame: pass the DataFrame, and name them by `columns`."
        )
    return X


def checked_in_spark(frame: Any, columns: Sequence[Any] | None) -> list[str]:
    """Return the columns of a Spark DataFrame to take: those given, or the numeric ones.

    Raises
    ------
    RowsError
        For columns that it does not have, that are neither numbers nor text, or none at all.
    """
    if columns is None:
        return number_columns(frame)
    if isinstance(columns, str) or not len(columns):
        raise RowsError(f"columns={columns!r}: give a list of columns.")
    rows = spark_rows(frame, list(columns), missing=True)
    if not rows.named:
        raise RowsError(f"The column {columns[0]!r} holds arrays: prepare columns of numbers.")
    return list(rows.features)


def changed_in_spark(frame: Any, columns: Sequence[str], changes: Changes) -> Any:
    """Return the changed columns alone, of the rows that stay, as double."""
    from pyspark.sql.functions import lit, when

    numbers = _numbers(frame, columns)
    kept = frame.filter(_kept(numbers, changes))
    made = []
    for j, (name, (value, missing)) in enumerate(
        zip(columns, _numbers(kept, columns), strict=True)
    ):
        if changes.limits is not None and not changes.limits.drop:
            low, high = float(changes.limits.low[j]), float(changes.limits.high[j])
            # A missing value stays one: Spark takes NaN for larger than any number.
            clipped = when(value < lit(low), lit(low)).when(value > lit(high), lit(high))
            value = when(missing, value).otherwise(clipped.otherwise(value))
        if changes.fill is not None:
            value = when(missing, lit(float(changes.fill[j]))).otherwise(value)
        if changes.mean is not None and changes.scale is not None:
            value = (value - lit(float(changes.mean[j]))) / lit(float(changes.scale[j]))
        made.append(value.alias(name))
    return kept.select(*made)


def kept_in_spark(frame: Any, columns: Sequence[str], changes: Changes) -> Any:
    """Return a DataFrame of one column, "kept", that tells which rows stay."""
    return frame.select(_kept(_numbers(frame, columns), changes).alias("kept"))


def _numbers(frame: Any, columns: Sequence[str]) -> list[tuple[Any, Any]]:
    """Return for each column its values as double, and whether they are missing."""
    from pyspark.sql.functions import isnan

    chosen = spark_rows(frame, list(columns), missing=True).feature_columns()
    values = [each.cast("double") for each in chosen]
    return [(value, value.isNull() | isnan(value)) for value in values]


def _kept(numbers: Sequence[tuple[Any, Any]], changes: Changes) -> Any:
    from pyspark.sql.functions import lit

    if changes.limits is None or not changes.limits.drop:
        return lit(True)
    inside = [
        missing | ((value >= lit(float(low))) & (value <= lit(float(high))))
        for (value, missing), low, high in zip(
            numbers, changes.limits.low, changes.limits.high, strict=True
        )
    ]
    return reduce(lambda one, other: one & other, inside)


def text_as_numbers(frame: Any) -> Any:
    """Return a DataFrame in which columns of text that hold numbers alone are columns of numbers.

    Empty text, "NA", "NaN" and "null" are missing values. Reads all rows.
    """
    from pyspark.sql.functions import count, lower, trim, when

    names = [name for name, kind in frame.dtypes if kind == "string"]
    if not names:
        return frame
    words, numbers = [], []
    for name in names:
        text = trim(column_of(frame, name))
        words.append(when(~lower(text).isin("", "na", "nan", "null"), text))
        numbers.append(words[-1].try_cast("double"))
    counts = [count(each).alias(f"n{j}") for j, each in enumerate([*words, *numbers])]
    found = frame.select(*counts).first()
    taken = {
        name: numbers[j]
        for j, name in enumerate(names)
        if found[j] and found[j] == found[len(names) + j]
    }
    kept = [
        taken[name].alias(name) if name in taken else column_of(frame, name)
        for name in frame.columns
    ]
    return frame.select(*kept) if taken else frame
