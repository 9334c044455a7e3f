"""The checkpoint of a fit: one zip file of JSON and arrays. Nothing is pickled."""

from __future__ import annotations

import io
import json
import os
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from sklearn.base import BaseEstimator

from daskmeans.algorithms.fit_state import FitState, LloydState, RowsIdentity
from daskmeans.algorithms.restarts import IterationRecord, RestartState
from daskmeans.errors import ModelFormatError, OutputError, OutputExistsError
from daskmeans.typing import Array

_FORMAT = 1
_DESCRIPTION = "checkpoint.json"
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
            put_whole(path, _packed(Checkpoint(parameters, state)))
        except OSError as error:
            raise OutputError(f"The checkpoint {path} cannot be written: {error}") from error

    return write


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Raise if a new fit must not write its checkpoint to a path: for a call before the work.

    Raises
    ------
    OutputExistsError
        If another fit is unfinished there, or something that is not a checkpoint.
    """
    system, place = _opened(path)
    if not system.exists(place):
        return
    try:
        finished = read_checkpoint(path).state.lloyd.finished
    except ModelFormatError as error:
        raise OutputExistsError(
            f"{path} exists already, and is not overwritten: choose another name. {error}"
        ) from error
    if not finished:
        raise OutputExistsError(
            f"{path} holds a fit that has not ended: KMeans.resume({os.fspath(path)!r}, X) goes on "
            "with it. Remove the file to begin anew."
        )


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read what `checkpoint_writer` wrote.

    Raises
    ------
    ModelFormatError
        If there is no such file, or it is damaged or of a newer format.
    """
    system, place = _opened(path)
    try:
        content = system.cat_file(place)
    except OSError as error:
        raise ModelFormatError(f"There is no checkpoint at {path}: {error}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            # Each member is read whole, which compares it with its checksum.
            members = {name: file.read(name) for name in file.namelist()}
        description = json.loads(members[_DESCRIPTION])
        number = description["format"]
    except (zipfile.BadZipFile, EOFError, ValueError, KeyError, TypeError) as error:
        raise ModelFormatError(
            f"{path} is not a checkpoint of a fit, or it is damaged: {error}"
        ) from error
    if number != _FORMAT:
        raise ModelFormatError(
            f"The checkpoint {path} is of format {number}, and this version of daskmeans reads "
            f"format {_FORMAT}: was it written by a newer version?"
        )
    try:
        return _unpacked(description, members)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFormatError(f"The checkpoint {path} is damaged: {error}") from error


def _opened(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """Return the file system of a path or a URL, and the path in it."""
    system, place = fsspec.url_to_fs(os.fspath(path))
    return system, place


def put_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that is whole at any moment, or not there."""
    system, place = _opened(path)
    if not isinstance(system, LocalFileSystem):
        # Object stores show an object once it is complete.
        system.pipe_file(place, content)
        return
    target = Path(place)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{uuid.uuid4().hex}.partial"
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            # Else the new name may reach the disk before what it names.
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _packed(checkpoint: Checkpoint) -> bytes:
    state, lloyd = checkpoint.state, checkpoint.state.lloyd
    description = {
        "format": _FORMAT,
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
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(_DESCRIPTION, json.dumps(description, indent=2) + "\n")
        for number, restart in enumerate(lloyd.restarts):
            for name in _ARRAYS:
                array = getattr(restart, name)
                if array is not None:
                    file.writestr(_member(number, name), _bytes_of(array))
    return content.getvalue()


def _unpacked(description: dict[str, Any], members: dict[str, bytes]) -> Checkpoint:
    rows = description["rows"]
    names = rows["feature_names"]
    identity = RowsIdentity(**{**rows, "feature_names": None if names is None else tuple(names)})
    restarts = []
    for number, saved in enumerate(description["restarts"]):
        arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
        for name in saved["arrays"]:
            arrays[name] = _array_of(members[_member(number, name)])
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
    return f"restart-{number}/{name}.npy"


def _bytes_of(array: Array) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _array_of(content: bytes) -> Array:
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
