"""Numeric columns of Parquet and CSV files, as a dask DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from daskmeans.errors import RowsError, missing_extra

if TYPE_CHECKING:
    import dask.dataframe as dd


def open_parquet(
    path: str, columns: Sequence[str] | None, storage_options: Mapping[str, Any] | None
) -> dd.DataFrame:
    """Open a Parquet file, a folder of them, or those that a pattern matches.

    Parameters
    ----------
    path : str
    columns : sequence of str or None
        None takes integers and floats, and leaves out flags, text, dates and categories.
    storage_options : mapping or None
        For the file system of a URL.

    Raises
    ------
    RowsError
        If the files cannot be read or a column is missing or not numeric.
    MissingExtraError
        If dask's DataFrames are not installed.
    """
    frame = _opened(_dataframes().read_parquet, path, storage_options=storage_options)
    return frame[_numeric(frame, columns, path)]


def open_csv(
    path: str, columns: Sequence[str] | None, storage_options: Mapping[str, Any] | None
) -> dd.DataFrame:
    """Open a CSV file, or those that a pattern matches. Columns become float64.

    The parameters and errors are those of `open_parquet`. The first line names the columns.
    """
    read = _dataframes().read_csv
    frame = _opened(read, path, storage_options=storage_options)
    if all(_is_number(str(name)) for name in frame.columns):
        raise RowsError(
            f"The first line of {path} holds numbers, {', '.join(map(str, frame.columns[:3]))}..., "
            "where names of columns are expected. Add such a line, or pass what "
            f"dask.dataframe.read_csv({path!r}, header=None) gives."
        )
    kept = _numeric(frame, columns, path)
    # The first lines looked like integers in columns that may hold fractions or nothing further
    # down.
    return _opened(
        read,
        path,
        storage_options=storage_options,
        usecols=kept,
        dtype=dict.fromkeys(kept, np.float64),
    )[kept]


def _dataframes() -> Any:
    try:
        import dask.dataframe
    except ImportError as error:
        raise missing_extra("dask[dataframe]", "dataframe", "Reading Parquet or CSV") from error
    return dask.dataframe


def _opened(read: Callable[..., Any], path: str, **options: Any) -> dd.DataFrame:
    if "://" not in path and not has_magic(path) and not Path(path).exists():
        raise RowsError(f"There is nothing at {path}: give the path of a table.")
    try:
        frame = read(path, **options)
        frame.columns  # noqa: B018 - of Parquet, what reads the files' schema
    except (OSError, ValueError, ImportError) as error:
        # dask wraps what pandas says into lines of its own.
        raise RowsError(f"{path} cannot be read: {error.__cause__ or error}") from error
    return frame


def _numeric(frame: dd.DataFrame, columns: Sequence[str] | None, path: str) -> list[str]:
    kinds = {name: dtype.kind for name, dtype in frame.dtypes.items()}
    if not kinds:
        raise RowsError(f"There is nothing at {path}, or a table without columns.")
    held = ", ".join(f"{name} ({dtype})" for name, dtype in frame.dtypes.items())
    if columns is None:
        kept = [name for name, kind in kinds.items() if kind in "fiu"]
        if not kept:
            raise RowsError(f"{path} has no numeric columns. Its columns are {held}.")
        return kept
    if isinstance(columns, str) or not columns:
        raise RowsError(f"columns={columns!r}: give a list of names. {path} has {held}.")
    for name in columns:
        if name not in kinds:
            raise RowsError(f"{path} has no column {name!r}. Its columns are {held}.")
        if kinds[name] not in "fiub":
            raise RowsError(
                f"The column {name!r} of {path} is not numeric. Its columns are {held}."
            )
    return list(columns)


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
