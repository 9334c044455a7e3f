"""Zarr arrays that are being written: hidden beside their target, and gone on with after a stop.

The folder is named after what is written and has it in its attributes, so that a second run knows
which files it can keep, and tasks of an earlier run that was given up (dask cannot stop a running
one) write to a folder that is not this run's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import locket
import numpy as np
import zarr

from daskmeans.edges.zarr_layout import Layout
from daskmeans.errors import OutputError
from daskmeans.typing import Array

_ATTRIBUTE = "daskmeans"
_KEPT = "What was written is kept: put this right and run the same again, which goes on from there."


@contextmanager
def sole_writer(target: Path, name: str) -> Iterator[None]:
    """Hold the lock on writing to `target`; a process that dies lets go of it.

    Raises
    ------
    OutputError
        If somebody else holds it.
    """
    path = target.parent / f".{target.name}.lock"
    lock = locket.lock_file(str(path), timeout=0)
    held = True
    try:
        lock.acquire()
    except locket.LockError as error:
        raise OutputError(
            f"{name} is being written by another run: wait for its end, or choose another name."
        ) from error
    except OSError:
        # Some network file systems have no locks. Then two runs at once waste work; as below, it is
        # no harm otherwise.
        held = False
    try:
        yield
    finally:
        if held:
            # While one run ends and removes the file, two others can come to hold a lock each.
            # Whatever they write is the same, or goes to folders of different names.
            with suppress(OSError):
                path.unlink()
            lock.release()


@dataclass(frozen=True)
class PartialStore:
    """A Zarr array on its way to `target`; travels to the tasks that write it.

    Attributes
    ----------
    target : Path
        Absolute.
    name : str
        The target as the user calls it, for messages.
    layout : Layout
    token : str
        Says what is computed, as the name of a dask array does.
    """

    target: Path
    name: str
    layout: Layout
    token: str

    @property
    def identity(self) -> dict[str, Any]:
        """What has to be the same for files to be kept; as JSON gives it back."""
        described: dict[str, Any] = json.loads(
            json.dumps({"token": self.token, **asdict(self.layout)})
        )
        return described

    @cached_property
    def folder(self) -> Path:
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        return self.target.parent / f".{self.target.name}.{digest[:16]}.partial"

    def prepare(self) -> None:
        """Make the folder, or keep the one that an earlier run left; remove those of other runs.

        Raises
        ------
        OutputError
        """
        pattern = re.compile(rf"\.{re.escape(self.target.name)}\.[0-9a-f]{{16}}\.partial")
        try:
            for found in self.target.parent.iterdir():
                if pattern.fullmatch(found.name) and found != self.folder:
                    shutil.rmtree(found, ignore_errors=True)
            if self._is_sound():
                # What a killed run was about to write.
                for path in self.folder.rglob("*.partial"):
                    path.unlink(missing_ok=True)
                return
            if self.folder.exists():
                shutil.rmtree(self.folder)
            zarr.create_array(
                store=str(self.folder),
                shape=self.layout.shape,
                chunks=self.layout.chunks,
                shards=self.layout.shards,
                dtype=self.layout.dtype,
                fill_value=_never(np.dtype(self.layout.dtype)),
                attributes={_ATTRIBUTE: self.identity},
            )
        except OSError as error:
            raise OutputError(f"{self.name} cannot be written: {error}.") from error

    def open(self) -> zarr.Array[Any]:
        """Open what `prepare` made, for writing."""
        opened = zarr.open_array(str(self.folder), mode="r+")
        # Else zarr leaves chunks out that hold nothing but the fill value; here a file that is not
        # there is one to write.
        return opened.with_config({"write_empty_chunks": True})

    def _is_sound(self) -> bool:
        try:
            found = self.open()
        except Exception:
            # Missing, or damaged in one of the many ways that zarr tells apart.
            return False
        described = Layout(found.shape, found.chunks, found.shards, found.dtype.str)
        return described == self.layout and found.attrs.get(_ATTRIBUTE) == self.identity

    def missing(self) -> list[tuple[int, ...]]:
        """Return the places of the files that are still to be written."""
        encode = self.open().metadata.encode_chunk_key
        written = {
            path
            for folder, _, files in os.walk(self.folder)
            for path in (os.path.join(folder, file) for file in files)
            if not path.endswith(".partial")
            # A machine that lost power can leave a file empty that was being closed.
            and os.path.getsize(path)
        }
        return [
            coordinates
            for coordinates in self.layout.coordinates()
            if os.path.join(self.folder, *encode(coordinates).split("/")) not in written
        ]

    def write(self, opened: zarr.Array[Any], coordinates: tuple[int, ...], values: Array) -> None:
        """Write one file of the array that `open` gave, whole or not at all.

        Raises
        ------
        OutputError
            That names the file; what was written before is kept.
        """
        where = f"Chunk {'/'.join(map(str, coordinates))} of {self.name}"
        if not (self.folder / "zarr.json").is_file():
            # zarr would make the folders anew, and leave them without a description.
            raise self.vanished()
        try:
            opened[self.layout.region(coordinates)] = values
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"{where} could not be written: {reason}. {_KEPT}") from error

    def vanished(self) -> OutputError:
        """Make the error for files that somebody removed while they were written."""
        return OutputError(
            f"{self.name} was not finished: {self.folder}, where it is written, was removed or "
            f"changed meanwhile. {_KEPT}"
        )

    def discard(self) -> None:
        # Tasks that still run may write while the folder goes: an error from here would hide the
        # one that matters.
        shutil.rmtree(self.folder, ignore_errors=True)


def _never(dtype: np.dtype[Any]) -> Any:
    """Return a value that is no label or distance, which a chunk that gets lost later reads as."""
    return {"i": -1, "f": np.nan}.get(dtype.kind)
