"""One zip file of JSON and arrays, at a path or a URL: whole at any moment. Nothing is pickled."""

from __future__ import annotations

import io
import json
import math
import os
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from daskmeans.errors import ModelFormatError
from daskmeans.typing import Array

_DESCRIPTION = "description.json"
# Versions of the format of NumPy's arrays, and what reads their headers.
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def opened(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """Return the file system of a path or a URL, and the path in it."""
    system, place = fsspec.url_to_fs(os.fspath(path))
    return system, place


def is_there(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is a file at a path or a URL."""
    system, place = opened(path)
    return bool(system.exists(place))


def write_archive(
    path: str | os.PathLike[str],
    kind: str,
    number: int,
    description: Mapping[str, Any],
    arrays: Mapping[str, Array],
) -> None:
    """Write an archive over the one before.

    Parameters
    ----------
    path : str or path
    kind : str
        What the archive holds; a reader of another kind refuses it.
    number : int
        Version of the format.
    description : mapping
        JSON.
    arrays : mapping of str to ndarray
        Of numbers.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        header = {"kind": kind, "format": number, **description}
        file.writestr(_DESCRIPTION, json.dumps(header, indent=1) + "\n")
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            file.writestr(f"{name}.npy", member.getvalue())
    _put_whole(path, content.getvalue())


def _put_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that is whole at any moment, or not there."""
    system, place = opened(path)
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


def read_archive(
    path: str | os.PathLike[str], kind: str, number: int
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what `write_archive` wrote: the description, and the arrays by name.

    Parameters
    ----------
    path, kind, number : see `write_archive`

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ModelFormatError
        If it cannot be read, is of another kind or format, or damaged.
    """
    system, place = opened(path)
    try:
        content = system.cat_file(place)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = (
            f"cannot be read: {error}" if not system.isdir(place) else "is a folder, not a file"
        )
        raise ModelFormatError(f"The {kind} {path} {reason}.") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            _check_sizes(file, len(content))
            # Each member is read whole, which compares it with its checksum.
            members = {name: file.read(name) for name in file.namelist()}
        description = json.loads(members.pop(_DESCRIPTION))
        found = description.pop("kind"), description.pop("format")
    except _DAMAGE as error:
        raise ModelFormatError(f"{path} is not a {kind}, or it is damaged: {error}") from error
    if found[0] != kind:
        raise ModelFormatError(f"{path} is not a {kind} but a {found[0]}.")
    if found[1] != number:
        raise ModelFormatError(
            f"The {kind} {path} is of format {found[1]}, and this version of daskmeans reads "
            f"format {number}: was it written by a newer version?"
        )
    try:
        arrays = {name.removesuffix(".npy"): _array_of(member) for name, member in members.items()}
    except _DAMAGE as error:
        raise ModelFormatError(f"The {kind} {path} is damaged: {error}") from error
    return description, arrays


# What a changed byte makes of a zip file, of JSON or of an array. RuntimeError: a flag that says
# the file is encrypted; NotImplementedError, a kind of it: an unknown compression.
_DAMAGE = (
    zipfile.BadZipFile,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    SyntaxError,
    OverflowError,
    MemoryError,
)


def _check_sizes(file: zipfile.ZipFile, n_bytes: int) -> None:
    """Raise for members that take more than their file: nothing is compressed in ours.

    Otherwise a small file could fill the memory.
    """
    members = file.infolist()
    if any(info.compress_type != zipfile.ZIP_STORED for info in members):
        raise ValueError("its members are compressed, which daskmeans never does")
    if sum(info.file_size for info in members) > n_bytes:
        raise ValueError("it claims to hold more than its own size")


def _array_of(content: bytes) -> Array:
    """Return the array of a member, once what its header claims is known to be there."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"a member is of version {version} of NumPy's format")
    shape, is_fortran, dtype = _HEADERS[version](stream)
    if dtype.kind not in "fiub":
        raise ValueError("a member is not an array of numbers")
    start = stream.tell()
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError(
            f"a member claims shape {shape} of {dtype} and holds {len(content) - start} bytes"
        )
    array = np.frombuffer(content, dtype, offset=start)
    return array.reshape(shape, order="F" if is_fortran else "C").copy()


def is_archive(path: str | os.PathLike[str], kind: str) -> bool:
    """Tell whether a file begins like an archive of a kind, without reading it whole."""
    system, place = opened(path)
    try:
        with system.open(place, "rb") as file, zipfile.ZipFile(file) as archive:
            _check_sizes(archive, int(system.size(place)))
            description = json.loads(archive.read(_DESCRIPTION))
        return bool(description["kind"] == kind)
    except (OSError, *_DAMAGE):
        return False
