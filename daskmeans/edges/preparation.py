"""A fitted Preprocessor as a file of JSON. Nothing is pickled: loading runs no code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from daskmeans.algorithms.columns import Limits
from daskmeans.edges.outputs import OutputKind, written_beside
from daskmeans.errors import ModelFormatError
from daskmeans.preprocessing import Preprocessor
from daskmeans.version import __version__

_FORMAT = 1
_LEARNED = ("mean_", "std_", "median_", "missing_")


def _description(path: Path) -> dict[str, Any] | None:
    """Return what a file says of a Preprocessor, or None if it is another file."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return described if isinstance(described, dict) and "columns" in described else None


PREPARATION = OutputKind("a saved Preprocessor", lambda path: _description(path) is not None)


def save_preprocessor(
    preprocessor: Preprocessor, path: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Write a fitted Preprocessor to a new file, which appears once it is whole.

    A random state that is an object is not part of it: changing rows needs none.

    Parameters
    ----------
    preprocessor : Preprocessor
        Fitted.
    path : str or path
    overwrite : bool, default=False

    Raises
    ------
    OutputExistsError, OutputError
        See `outputs.check_output`.
    NotFittedError

    Examples
    --------
    >>> import tempfile
    >>> from daskmeans.preprocessing import Preprocessor
    >>> path = tempfile.mkdtemp() + "/preparation.json"
    >>> save_preprocessor(Preprocessor().fit([[1.0], [3.0]]), path)
    >>> load_preprocessor(path).transform([[5.0]]).tolist()
    [[3.0]]
    """
    check_is_fitted(preprocessor)
    parameters = preprocessor.get_params()
    del parameters["columns"], parameters["random_state"]
    limits = preprocessor._changes.limits
    names = getattr(preprocessor, "feature_names_in_", None)
    described = {
        "format": _FORMAT,
        "daskmeans": __version__,
        "parameters": parameters,
        "columns": _plain(preprocessor.columns_),
        "constant": _plain(preprocessor.constant_),
        "n_rows": preprocessor.n_rows_,
        "n_features_in": preprocessor.n_features_in_,
        "feature_names_in": None if names is None else list(names),
        # JSON has no infinity: a column without outliers has no limits.
        "low": None if limits is None else [_finite(value) for value in limits.low],
        "high": None if limits is None else [_finite(value) for value in limits.high],
        **{name: getattr(preprocessor, name).tolist() for name in _LEARNED},
    }
    with written_beside(path, PREPARATION, overwrite=overwrite) as partial:
        partial.write_text(json.dumps(described, indent=1, allow_nan=False), encoding="utf-8")


def _plain(columns: list[Any]) -> list[Any]:
    return [int(name) if isinstance(name, np.integer) else name for name in columns]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def load_preprocessor(path: str | os.PathLike[str]) -> Preprocessor:
    """Read a Preprocessor that `save_preprocessor` wrote; it changes rows to the same bits.

    Raises
    ------
    ModelFormatError
        If there is none at `path`, or one of a newer format.
    """
    described = _description(Path(path))
    if described is None:
        raise ModelFormatError(f"{path} is not a saved Preprocessor.")
    if described.get("format") != _FORMAT:
        raise ModelFormatError(
            f"The Preprocessor in {path} is of format {described.get('format')}, and daskmeans "
            f"{__version__} reads {_FORMAT}: update daskmeans."
        )
    loaded = Preprocessor(**described["parameters"])
    loaded.columns_, loaded.constant_ = described["columns"], described["constant"]
    loaded.n_rows_, loaded.n_features_in_ = described["n_rows"], described["n_features_in"]
    if described["feature_names_in"] is not None:
        loaded.feature_names_in_ = np.asarray(described["feature_names_in"], dtype=object)
    for name in _LEARNED:
        setattr(loaded, name, np.asarray(described[name]))
    limits = None
    if described["low"] is not None:
        low, high = (
            np.array([empty if value is None else value for value in described[name]])
            for name, empty in (("low", -np.inf), ("high", np.inf))
        )
        limits = Limits(low, high, loaded.outlier_action == "drop")
    loaded._changes = loaded._learned(limits)
    return loaded
