"""The checkpoint of a stream: one zip file of JSON and arrays. Nothing is pickled."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass
from typing import Any

import fsspec
import numpy as np

from daskmeans.algorithms.minibatch import MiniBatchState
from daskmeans.errors import ModelFormatError, OutputError
from daskmeans.estimators.checkpoint import put_whole
from daskmeans.typing import Array

_FORMAT = 1
_DESCRIPTION = "stream.json"
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
    """

    state: MiniBatchState
    feature_names: list[str] | None
    position: Any
    n_batches: int
    n_skipped: int


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
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        description = {"format": _FORMAT, "state": state, **fields}
        file.writestr(_DESCRIPTION, json.dumps(description) + "\n")
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            file.writestr(f"{name}.npy", member.getvalue())
    try:
        put_whole(path, content.getvalue())
    except OSError as error:
        raise OutputError(f"The checkpoint {path} cannot be written: {error}") from error


def read_position(path: str | os.PathLike[str]) -> StreamPosition | None:
    """Read a checkpoint; None if there is none.

    Raises
    ------
    ModelFormatError
        If the file is something else, damaged, or of a newer format.
    """
    system, place = fsspec.url_to_fs(os.fspath(path))
    try:
        content = system.cat_file(place)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelFormatError(f"The checkpoint {path} cannot be read: {error}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            # Each member is read whole, which compares it with its checksum.
            members = {name: file.read(name) for name in file.namelist()}
        description = json.loads(members[_DESCRIPTION])
        number = description.pop("format")
    except (zipfile.BadZipFile, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFormatError(
            f"{path} is not the checkpoint of a stream, or it is damaged: {error}"
        ) from error
    if number != _FORMAT:
        raise ModelFormatError(
            f"The checkpoint {path} is of format {number}, and this version of daskmeans reads "
            f"format {_FORMAT}: was it written by a newer version?"
        )
    try:
        centers, counts = (_array_of(members[f"{name}.npy"]) for name in _ARRAYS)
        state = MiniBatchState(centers, counts, **description.pop("state"))
        return StreamPosition(state, **description)
    except (KeyError, TypeError, ValueError, AttributeError, EOFError) as error:
        raise ModelFormatError(f"The checkpoint {path} is damaged: {error}") from error


def _array_of(content: bytes) -> Array:
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False), dtype=np.float64)
