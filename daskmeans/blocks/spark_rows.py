"""Rows of a Spark DataFrame: which of its columns are meant.

Nothing here imports pyspark but by way of a DataFrame that is there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmeans.blocks.spark_batches import BatchReader, Layout
from daskmeans.errors import RowsError

# What pyspark.ml calls the column of vectors where nobody names it.
_FEATURES = "features"
_DTYPES = {
    "boolean": "i1",
    "tinyint": "i1",
    "smallint": "i2",
    "int": "i4",
    "bigint": "i8",
    "float": "f4",
    "double": "f8",
}


def is_spark(rows: Any) -> bool:
    """Tell whether rows are a Spark DataFrame, or columns of one."""
    if isinstance(rows, SparkRows):
        return True
    # Without an import: `pyspark.sql.DataFrame`, in Spark Connect too.
    return type(rows).__module__.startswith("pyspark.sql") and hasattr(rows, "mapInArrow")


@dataclass(frozen=True, eq=False)
class SparkRows:
    """Columns of a Spark DataFrame that k-means is to take; `spark_rows` makes and checks them.

    Attributes
    ----------
    frame : pyspark.sql.DataFrame
    features : tuple of str
        Numeric columns, or a single column of arrays or vectors.
    layout : {"columns", "array", "vector"}
    dtype : numpy dtype
        Of the rows.
    weight, id : str or None
        Columns of weights, and of what the rows are sorted by.
    missing : bool
        Missing values of numeric columns count as NaN, and text that is no number too.
    """

    frame: Any
    features: tuple[str, ...]
    layout: Layout
    dtype: np.dtype[Any]
    weight: str | None = None
    id: str | None = None
    missing: bool = False

    @property
    def named(self) -> bool:
        """Whether each feature is a column with a name of its own."""
        return self.layout == "columns"

    def feature_columns(self) -> list[Any]:
        """Return the features as expressions, all of types that Arrow has numbers for."""
        return [_as_number(self.frame, name) for name in self.features]

    def selected(self) -> Any:
        """Return the DataFrame of features, weight and id alone, named by their places."""
        from pyspark.sql.functions import col

        rows = self.frame
        chosen = [each.alias(f"x{j}") for j, each in enumerate(self.feature_columns())]
        if self.weight is not None:
            chosen.append(_as_number(rows, self.weight).cast("double").alias("weight"))
        if self.id is not None:
            chosen.append(column_of(rows, self.id).alias("id"))
        selected = rows.select(*chosen)
        if self.id is not None:
            selected = selected.repartitionByRange(col("id")).sortWithinPartitions(col("id"))
        return selected

    def reader(self) -> BatchReader:
        """Return what makes arrays of Arrow batches of these columns."""
        return BatchReader(self.features, self.layout, self.dtype, self.missing)


def spark_rows(
    frame: Any,
    features: str | Sequence[str] | None = None,
    *,
    weight: str | None = None,
    id: str | None = None,
    missing: bool = False,
) -> SparkRows:
    """Choose columns of a Spark DataFrame.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
    features : str or sequence of str, optional
        Columns of numbers, of text that is to be cast to numbers, or one column of arrays of
        numbers or of MLlib vectors, of which sparse ones stay sparse. By default the column
        "features" if it is one of arrays or vectors, as pyspark.ml has it; else all columns of
        numbers, without `weight` and `id`; where there are none, the only column of arrays or
        vectors.
    weight : str, optional
    id : str, optional
        Values by which rows are sorted, each one once.
    missing : bool
        Let missing values of numeric columns be NaN, in rows of float64.

    Raises
    ------
    RowsError
        For columns that are not there, or of a type that has no numbers.
    """
    types = dict(frame.dtypes)
    for name in (weight, id):
        if name is not None:
            _check_there(types, name)
    if features is None:
        features = _found(types, (weight, id))
    names = (features,) if isinstance(features, str) else tuple(features)
    if not names:
        raise RowsError("No columns are given: name at least one.")
    for name in names:
        _check_there(types, name)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise RowsError(f"The column {twice[0]!r} is given more than once: give each column once.")
    if len(names) == 1 and _is_vector(frame, names[0]):
        return SparkRows(frame, names, "vector", np.dtype(np.float64), weight, id)
    element = _element(types[names[0]])
    if len(names) == 1 and element is not None:
        return SparkRows(frame, names, "array", np.dtype(_DTYPES[element]), weight, id)
    for name in names:
        if not (_is_number(types[name]) or types[name] == "string"):
            raise RowsError(
                f"The column {name!r} is of type {types[name]}, and k-means needs numbers: cast "
                "it, or leave it out. A column of arrays of numbers or of vectors stands alone."
            )
    dtype = np.result_type(*(_DTYPES.get(types[name], "f8") for name in names))
    if missing:
        dtype = np.dtype(np.float64)
    return SparkRows(frame, names, "columns", dtype, weight, id, missing)


def column_of(frame: Any, name: str) -> Any:
    """Return a column by its whole name, dots included."""
    return frame["`" + name.replace("`", "``") + "`"]


def _as_number(frame: Any, name: str) -> Any:
    kind, column = dict(frame.dtypes)[name], column_of(frame, name)
    if kind == "string":
        # Text that is no number becomes null, and is refused where the rows are read.
        return column.try_cast("double")
    if kind.startswith("decimal"):
        return column.cast("double")
    return column.cast("tinyint") if kind == "boolean" else column


def _check_there(types: dict[str, str], name: str) -> None:
    if name not in types:
        listed = ", ".join(f"{each} ({kind})" for each, kind in types.items())
        raise RowsError(f"The DataFrame has no column {name!r}. Its columns are {listed}.")


def _is_number(kind: str) -> bool:
    return kind in _DTYPES or kind.startswith("decimal")


def _element(kind: str) -> str | None:
    """Return the type of an array's elements if they are numbers."""
    inner = kind.removeprefix("array<").removesuffix(">")
    numbers = kind.startswith("array<") and inner in _DTYPES and inner != "boolean"
    return inner if numbers else None


def _is_vector(frame: Any, name: str) -> bool:
    return type(frame.schema[name].dataType).__name__ == "VectorUDT"


def number_columns(frame: Any, without: Sequence[str | None] = ()) -> list[str]:
    """Return the names of a DataFrame's columns of numbers, without flags.

    Raises
    ------
    RowsError
        If there are none.
    """
    found = _numbers_of(dict(frame.dtypes), without)
    if not found:
        raise _no_numbers(dict(frame.dtypes))
    return found


def _numbers_of(types: dict[str, str], without: Sequence[str | None]) -> list[str]:
    return [
        name
        for name, kind in types.items()
        if name not in without and _is_number(kind) and kind != "boolean"
    ]


def _no_numbers(types: dict[str, str]) -> RowsError:
    listed = ", ".join(f"{name} ({kind})" for name, kind in types.items())
    return RowsError(
        f"The DataFrame has no columns of numbers. Its columns are {listed}. Name those that are "
        "meant: columns of text are cast to numbers then."
    )


def _found(types: dict[str, str], without: Sequence[str | None]) -> list[str]:
    whole = [name for name, kind in types.items() if _element(kind) or kind == "vector"]
    if _FEATURES in whole:
        return [_FEATURES]
    numbers = _numbers_of(types, without)
    if numbers:
        return numbers
    if len(whole) == 1:
        return whole
    raise _no_numbers(types)
