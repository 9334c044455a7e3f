"""Which of the arrays of a file is meant: the named one, or the only one that holds rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from daskmeans.errors import RowsError


def chosen_array(
    arrays: Mapping[str, Any], name: str | None, *, path: str, any_dimensions: bool
) -> str:
    """Return the name of the array that is meant.

    Parameters
    ----------
    arrays : mapping of str to array
        All arrays of the file, with shape and dtype.
    name : str or None
        None takes the only array of numbers with two dimensions.
    path : str
        For error messages.
    any_dimensions : bool
        Arrays of more than two dimensions can be meant too.

    Raises
    ------
    RowsError
        If there is no array of the name, or not exactly one that can be meant without a name. The
        text tells names and shapes of those that there are.
    """
    if name is not None:
        if name not in arrays:
            raise RowsError(f"{path} has no array {name!r}. It holds {_listed(arrays)}.")
        return name
    fitting = {
        key: array
        for key, array in arrays.items()
        if np.dtype(array.dtype).kind in "fiub"
        and (len(array.shape) == 2 or (any_dimensions and len(array.shape) > 2))
    }
    if not fitting:
        kind = "no array of numbers with two dimensions or more"
        if not any_dimensions:
            kind = "no array of numbers with two dimensions"
        raise RowsError(
            f"{path} holds {kind}, but {_listed(arrays)}. Of an array with more dimensions, give "
            "its name and feature_axis, the axis that holds the features."
        )
    if len(fitting) > 1:
        raise RowsError(
            f"{path} holds several arrays of rows, {_listed(fitting)}: name one of them, for "
            f"instance name={min(fitting)!r}."
        )
    return next(iter(fitting))


def _listed(arrays: Mapping[str, Any]) -> str:
    named = (f"{key} of shape {tuple(array.shape)}" for key, array in sorted(arrays.items()))
    return ", ".join(named) or "no arrays"
