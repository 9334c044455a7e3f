"""Which columns of a table are taken, and the table of these alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from daskmeans.blocks.inputs import ArrayLike, as_dask_array, is_lazy
from daskmeans.errors import RowsError
from daskmeans.typing import Array


def is_frame(X: ArrayLike) -> bool:
    """Tell whether rows have named columns: a pandas or dask DataFrame."""
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def numeric_columns(X: ArrayLike) -> list[Any]:
    """Return the names of a DataFrame's columns of integers and floats, or an array's numbers.

    Flags, text, dates and categories are left out. Nothing is read.

    Parameters
    ----------
    X : pandas or dask DataFrame, or array-like of shape (n_samples, n_features)

    Returns
    -------
    list of str or int

    Raises
    ------
    RowsError
        If there are none.

    Examples
    --------
    >>> import pandas as pd
    >>> from daskmeans.preprocessing import numeric_columns
    >>> numeric_columns(pd.DataFrame({"name": ["a"], "width": [1.5], "count": [2]}))
    ['width', 'count']
    """
    if not is_frame(X):
        return list(range(np.shape(X)[1]))
    found = [name for name, dtype in X.dtypes.items() if _is_numeric(dtype)]
    if not found:
        raise RowsError(f"X has no numeric columns. Its columns are {_described(X)}.")
    return found


def checked_columns(X: ArrayLike, columns: Sequence[Any] | None) -> list[Any]:
    """Return the columns to take: those given, or the numeric ones.

    Raises
    ------
    RowsError
        For columns that X does not have, that are not numeric, or none at all.
    """
    if columns is None:
        return numeric_columns(X)
    if isinstance(columns, str) or not len(columns):
        raise RowsError(f"columns={columns!r}: give a list of columns.")
    wanted = list(columns)
    twice = [name for name in wanted if wanted.count(name) > 1]
    if twice:
        raise RowsError(f"columns holds {twice[0]!r} more than once: give each column once.")
    if not is_frame(X):
        n_features = np.shape(X)[1]
        for number in wanted:
            if not isinstance(number, (int, np.integer)) or not 0 <= number < n_features:
                raise RowsError(
                    f"X has no column {number!r}: it is an array with columns 0 to "
                    f"{n_features - 1}."
                )
        return wanted
    for name in wanted:
        if name not in list(X.columns):
            raise RowsError(f"X has no column {name!r}. Its columns are {_described(X)}.")
        if not _is_numeric(X.dtypes[name], flags=True):
            raise RowsError(
                f"The column {name!r} is not numeric, it is {X.dtypes[name]}: convert it to "
                "numbers, or leave it out."
            )
    return wanted


def check_values(
    columns: Sequence[Any], counts: Array, constant: Array, drop_constant: bool
) -> None:
    """Raise for columns in which all values are missing, and if no column tells rows apart.

    Parameters
    ----------
    columns : sequence of str or int
    counts : ndarray of shape (d,), int64
        Values that are there.
    constant : ndarray of shape (d,), bool
        There are no two different values.
    drop_constant : bool
        Such columns are left out.

    Raises
    ------
    RowsError
    """
    empty = [name for name, count in zip(columns, counts, strict=True) if not count]
    if drop_constant and constant.all():
        same = [name for name, count in zip(columns, counts, strict=True) if count]
        why = [f"all are equal in {_listed(same)}"] if same else []
        why += [f"all are missing in {_listed(empty)}"] if empty else []
        raise RowsError(
            f"No column of X has two different values: {', and '.join(why)}. There is nothing to "
            "tell rows apart by."
        )
    if empty and not drop_constant:
        raise RowsError(
            f"All values are missing in {_listed(empty)}: leave such columns out, by `columns` or "
            "by drop_constant=True."
        )


def _listed(columns: Sequence[Any]) -> str:
    return f"the column {columns[0]!r}" if len(columns) == 1 else f"the columns {list(columns)}"


def taken(X: ArrayLike, columns: Sequence[Any]) -> ArrayLike:
    """Return the table of some columns alone: lazy for rows that are lazy or in a store."""
    if is_frame(X):
        return X[list(columns)]
    array = as_dask_array(X) if is_lazy(X) else np.asarray(X)
    return array if list(columns) == list(range(array.shape[1])) else array[:, list(columns)]


def _is_numeric(dtype: Any, *, flags: bool = False) -> bool:
    return dtype.kind in ("fiub" if flags else "fiu")


def _described(X: ArrayLike) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in X.dtypes.items())
