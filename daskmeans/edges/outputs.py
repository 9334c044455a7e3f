"""Outputs that are whole or not there: written beside their place, and moved into it at the end."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daskmeans.errors import OutputError, OutputExistsError
from daskmeans.estimators.saving import is_model

# The second slash may have been lost on the way through a Path. A single letter is a drive.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


@dataclass(frozen=True)
class OutputKind:
    """What an output is. Overwriting replaces nothing of another kind: it may be someone's work.

    Attributes
    ----------
    name : str
        With its article, for messages.
    matches : function (Path) -> bool
        Tells whether what is at a path is of this kind.
    """

    name: str
    matches: Callable[[Path], bool]


MODEL = OutputKind("a saved model", is_model)


def check_output(path: str | os.PathLike[str], kind: OutputKind, *, overwrite: bool) -> Path:
    """Raise if an output could not be put at `path` later; for a call before the work starts.

    Returns
    -------
    Path
        Where the output goes: absolute, and behind symbolic links, which stay.

    Raises
    ------
    OutputExistsError
        If something is there, and `overwrite` is false or it is of another kind.
    OutputError
        If the folder is not there and cannot be made, or cannot be written.
    """
    if _URL.match(os.fspath(path)):
        raise OutputError(
            f"{path} is not a local path: outputs appear at once by a rename, which object stores "
            "do not have. Write to a local path and copy from there."
        )
    target = Path(path).resolve()
    probe = target.parent / f".{target.name}.{uuid.uuid4().hex}.probe"
    try:
        if target.exists():
            _check_replaceable(path, target, kind, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OutputExistsError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror} ({Path(path).parent})."
        ) from error
    return target


def _check_replaceable(
    path: str | os.PathLike[str], target: Path, kind: OutputKind, *, overwrite: bool
) -> None:
    if not overwrite:
        raise OutputExistsError(
            f"{path} exists already: choose another name, or pass overwrite=True (--overwrite on "
            "the command line)."
        )
    is_empty_folder = target.is_dir() and not any(target.iterdir())
    if not is_empty_folder and not kind.matches(target):
        raise OutputExistsError(
            f"{path} is not {kind.name}, so it is not overwritten: choose another name."
        )


def check_apart(
    outputs: Iterable[str | os.PathLike[str]], inputs: Iterable[str | os.PathLike[str]]
) -> None:
    """Raise if an output would replace an input or another output, or lie inside of one.

    Raises
    ------
    OutputError
    """
    written, read = list(outputs), list(inputs)
    for number, path in enumerate(written):
        for other in [*read, *written[:number]]:
            one, two = Path(path).resolve(), Path(other).resolve()
            if one.is_relative_to(two) or two.is_relative_to(one):
                raise OutputError(
                    f"{path} cannot be written where {other} is: choose a place of its own."
                )


@contextmanager
def written_beside(
    path: str | os.PathLike[str], kind: OutputKind, *, overwrite: bool
) -> Iterator[Path]:
    """Give a new name in the same folder to write to; move it to `path` if nothing was raised.

    What is at `path` stays until the new output is whole. A run that is killed leaves a hidden
    name that ends in `.partial`.
    """
    target = check_output(path, kind, overwrite=overwrite)
    partial = target.parent / f".{target.name}.{uuid.uuid4().hex}.partial"
    try:
        yield partial
        put_in_place(partial, path, target, kind, overwrite=overwrite)
    finally:
        _remove(partial)


def put_in_place(
    partial: Path,
    path: str | os.PathLike[str],
    target: Path,
    kind: OutputKind,
    *,
    overwrite: bool,
) -> None:
    """Move a whole output to `target`, which the user calls `path`, as `check_output` gave it.

    Raises
    ------
    OutputExistsError
        If something came there meanwhile, and `overwrite` is false or it is of another kind.
    """
    replaced = partial.with_suffix(".replaced")
    if target.exists():
        _check_replaceable(path, target, kind, overwrite=overwrite)
        _remove(replaced)
        target.rename(replaced)
        try:
            partial.rename(target)
        except BaseException:
            replaced.rename(target)
            raise
    else:
        partial.rename(target)
    # A run that was killed between the two moves left it too.
    _remove(replaced)


def _remove(path: Path) -> None:
    if path.is_dir():
        # Tasks that still run after another one failed may write while the folder goes: an error
        # from here would hide the one that matters.
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
