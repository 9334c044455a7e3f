"""Outputs that are whole or not there: written beside their place, and moved into it at the end."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daskmeans.errors import OutputError, OutputExistsError


def check_output(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise if an output could not be put at `path` later; for a call before the work starts.

    Raises
    ------
    OutputExistsError
        If something is there and `overwrite` is false.
    OutputError
        If the folder is not there and cannot be made, or cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists already: choose another name, or pass --overwrite.")
    probe = path.parent / f".{path.name}.{uuid.uuid4().hex}.probe"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror} ({path.parent}).") from error


@contextmanager
def written_beside(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Give a new name in the same folder to write to; move it to `path` if nothing was raised.

    What is at `path` stays until the new output is whole. A run that is killed leaves a hidden
    name that ends in `.partial`.
    """
    check_output(path, overwrite=overwrite)
    path = Path(path)
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex}.partial"
    try:
        yield partial
        if path.exists():
            replaced = partial.with_suffix(".replaced")
            path.rename(replaced)
            partial.rename(path)
            _remove(replaced)
        else:
            partial.rename(path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
