"""The checkpoint of a fit: one zip file of JSON and arrays. Nothing is pickled."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sklearn.base import BaseEstimator

from daskmeans.algorithms.fit_state import FitState, LloydState, RowsIdentity
from daskmeans.algorithms.restarts import IterationRecord, RestartState
from daskmeans.errors import ModelFormatError, OutputError, OutputExistsError
from daskmeans.estimators.archive import is_there, read_archive, write_archive
from daskmeans.typing import Array

_log = logging.getLogger("daskmeans")

_KIND, _FORMAT = "checkpoint of a fit", 1
_ARRAYS = ("centers", "previous", "sums")


@dataclass(frozen=True)
class Checkpoint:
    """What a fit needs to go on, beside its rows.

    Attributes
    ----------
    parameters : dict
        Of the estimator, without those that are objects: they are not needed any more.
    state : FitState
    """

    parameters: dict[str, Any]
    state: FitState


def checkpoint_writer(
    estimator: BaseEstimator, path: str | os.PathLike[str]
) -> Callable[[FitState], None]:
    """Return what writes the states of an estimator's fit to a path or a URL, one over the other.

    Raises
    ------
    OutputError
        When it is called, if the file cannot be written.
    """
    parameters = {
        name: value
        for name, value in estimator.get_params().items()
        if value is None or isinstance(value, bool | int | float | str)
    }

    def write(state: FitState) -> None:
        try:
            write_archive(path, _KIND, _FORMAT, *_packed(Checkpoint(parameters, state)))
        except OSError as error:
            raise OutputError(f"The checkpoint {path} cannot be written: {error}") from error
        _log.info("Checkpoint %s is written, after %d passes.", path, state.lloyd.n_passes)

    return write


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Raise if a new fit must not write its checkpoint to a path: for a call before the work.

    Raises
    ------
    OutputExistsError
        If another fit is unfinished there, or something that is not a checkpoint.
    """
    if not is_there(path):
        return
    try:
        finished = read_checkpoint(path).state.lloyd.finished
    except ModelFormatError as error:
        raise OutputExistsError(
            f"{path} exists already, and is not overwritten: choose another name. {error}"
        ) from error
    if not finished:
        raise OutputExistsError(
            f"{path} holds a fit that has not ended: KMeans.resume({os.fspath(path)!r}, X), or "
            "--resume on the command line, goes on with it. Remove the file to begin anew."
        )


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read what `checkpoint_writer` wrote.

    Raises
    ------
    ModelFormatError
        If there is no such file, or it is damaged or of a newer format.
    """
    try:
        description, arrays = read_archive(path, _KIND, _FORMAT)
    except FileNotFoundError as error:
        raise ModelFormatError(f"There is no checkpoint at {path}: {error}") from error
    try:
        return _unpacked(description, arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFormatError(f"The {_KIND} {path} is damaged: {error}") from error


def _packed(checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a checkpoint as JSON and arrays."""
    state, lloyd = checkpoint.state, checkpoint.state.lloyd
    description = {
        "estimator": "KMeans",
        "parameters": checkpoint.parameters,
        "rows": asdict(state.rows),
        "seed": state.seed,
        "from_sample": state.from_sample,
        "limit": lloyd.limit,
        "n_passes": lloyd.n_passes,
        "bytes_read": lloyd.bytes_read,
        "finished": lloyd.finished,
        "restarts": [
            {
                "n_iter": restart.n_iter,
                "reason": restart.reason,
                "history": [asdict(record) for record in restart.history],
                "arrays": [name for name in _ARRAYS if getattr(restart, name) is not None],
            }
            for restart in lloyd.restarts
        ],
    }
    arrays = {
        _member(number, name): getattr(restart, name)
        for number, restart in enumerate(lloyd.restarts)
        for name in _ARRAYS
        if getattr(restart, name) is not None
    }
    return description, arrays


def _unpacked(description: dict[str, Any], members: dict[str, Array]) -> Checkpoint:
    rows = description["rows"]
    names = rows["feature_names"]
    identity = RowsIdentity(**{**rows, "feature_names": None if names is None else tuple(names)})
    restarts = []
    for number, saved in enumerate(description["restarts"]):
        arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
        for name in saved["arrays"]:
            arrays[name] = members[_member(number, name)]
        history = tuple(IterationRecord(**record) for record in saved["history"])
        restarts.append(
            RestartState(**arrays, n_iter=saved["n_iter"], reason=saved["reason"], history=history)
        )
    lloyd = LloydState(
        tuple(restarts),
        description["limit"],
        description["n_passes"],
        description["bytes_read"],
        description["finished"],
    )
    state = FitState(identity, description["seed"], description["from_sample"], lloyd)
    return Checkpoint(dict(description["parameters"]), state)


def _member(number: int, name: str) -> str:
    return f"restart-{number}/{name}"
