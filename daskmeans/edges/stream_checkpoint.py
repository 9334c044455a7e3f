"""The checkpoint of a stream: one zip file of JSON and arrays. Nothing is pickled."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from daskmeans.algorithms.minibatch import MiniBatchState
from daskmeans.errors import ModelFormatError, OutputError
from daskmeans.estimators.archive import read_archive, write_archive
from daskmeans.typing import Metric

_log = logging.getLogger("daskmeans")

_KIND, _FORMAT = "checkpoint of a stream", 1
_ARRAYS = ("centers", "counts")


@dataclass(frozen=True)
class StreamPosition:
    """A stream between two batches.

    Attributes
    ----------
    state : MiniBatchState
    feature_names : list of str, or None
    position : object
        JSON from which the source goes on.
    n_batches, n_skipped : int
    metric : {"euclidean", "cosine"}
        Of the model.
    """

    state: MiniBatchState
    feature_names: list[str] | None
    position: Any
    n_batches: int
    n_skipped: int
    metric: Metric


def write_position(path: str | os.PathLike[str], position: StreamPosition) -> None:
    """Write a checkpoint over the one before; the file is whole at any moment.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    fields = asdict(position)
    state = fields.pop("state")
    arrays = {name: state.pop(name) for name in _ARRAYS}
    try:
        write_archive(path, _KIND, _FORMAT, {"state": state, **fields}, arrays)
    except OSError as error:
        raise OutputError(f"The checkpoint {path} cannot be written: {error}") from error
    _log.info("Checkpoint %s is written, after %d batches.", path, position.n_batches)


def read_position(path: str | os.PathLike[str]) -> StreamPosition | None:
    """Read a checkpoint; None if there is none.

    Raises
    ------
    ModelFormatError
        If the file is something else, damaged, or of a newer format.
    """
    try:
        description, arrays = read_archive(path, _KIND, _FORMAT)
    except FileNotFoundError:
        return None
    try:
        centers, counts = (np.asarray(arrays[name], np.float64) for name in _ARRAYS)
        state = MiniBatchState(centers, counts, **description.pop("state"))
        return StreamPosition(state, **description)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFormatError(f"The {_KIND} {path} is damaged: {error}") from error
