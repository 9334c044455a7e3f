"""Dask arrays computed into Zarr stores, chunk by chunk: whole or not there, and resumable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, groupby
from math import ceil, prod
from pathlib import Path
from typing import Any

import dask.array as da
import locket
import numpy as np
import zarr

from daskmeans.edges.outputs import OutputKind, check_output, move_into_place
from daskmeans.edges.zarr_rows import open_node
from daskmeans.errors import DaskMeansError, OutputError, RowsError

# More files than this in one store are a burden to file systems and object stores.
_MOST_FILES = 100_000
_FILES_OF_SHARDS = 10_000
_IDENTITY = "daskmeans_unfinished"


def _is_array(path: Path) -> bool:
    try:
        return isinstance(open_node(path.absolute(), str(path)), zarr.Array)
    except RowsError:
        return False


ZARR_ARRAY = OutputKind("a Zarr array", _is_array)


def write_zarr(array: da.Array, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Compute a dask array, such as labels or distances, into a Zarr array; nothing is gathered.

    The store appears at `path` once it is complete. Until then it grows beside it under a hidden
    name, and a call that failed or was killed is gone on with by the same call again: chunks that
    are there are not computed a second time. That it is the same is told from the name of the dask
    array, which stands for the model and for where the rows are: rows that are replaced by others
    in the same place meanwhile are not noticed.

    Parameters
    ----------
    array : dask array
        Of known chunks. The Zarr chunks are its own, the largest one along each axis where they
        are irregular. More than 100,000 of them are put into shards.
    path : str or path
        A local path.
    overwrite : bool, default=False
        Replace a Zarr array that is there.

    Raises
    ------
    OutputExistsError, OutputError
        See `outputs.check_output`, before anything is computed; if another process writes the same
        output; if a chunk cannot be written, as on a full disk.
    ValueError
        If sizes of chunks are unknown.

    Examples
    --------
    >>> import dask.array as da, numpy as np, tempfile, zarr
    >>> from daskmeans import KMeans
    >>> rows = da.from_array(np.array([[1.0], [2.0], [9.0]]), chunks=2)
    >>> path = tempfile.mkdtemp() + "/labels.zarr"
    >>> write_zarr(KMeans(2, random_state=0).fit(rows).labels_, path)
    >>> zarr.open_array(path, mode="r").chunks
    (2,)
    """
    if np.isnan(array.shape).any():
        raise RowsError(
            f"{os.fspath(path)} cannot be written from blocks of unknown sizes: call "
            "compute_chunk_sizes() on the rows first."
        )
    target = check_output(path, ZARR_ARRAY, overwrite=overwrite)
    unfinished = target.parent / f".{target.name}.unfinished"
    with _alone(target):
        layout = _Layout.of(array)
        stored = _continued(unfinished, array, layout)
        if stored is None:
            with _writing(path):
                _discard(unfinished)
                stored = _begun(unfinished, array, layout)
        _compute_missing(array.rechunk(layout.files), stored, unfinished, path)
        with _writing(path):
            del stored.attrs[_IDENTITY]
            move_into_place(unfinished, path, ZARR_ARRAY, overwrite=overwrite)


@dataclass(frozen=True)
class _Layout:
    """How an array is laid out in its store.

    Attributes
    ----------
    chunks : tuple of int
    shards : tuple of int, or None
        Each one file; without them each chunk is.
    """

    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None

    @classmethod
    def of(cls, array: da.Array) -> _Layout:
        chunks = tuple(max(1, *sizes) for sizes in array.chunks)
        n_chunks = prod(ceil(size / chunk) for size, chunk in zip(array.shape, chunks, strict=True))
        if n_chunks <= _MOST_FILES:
            return cls(chunks, None)
        return cls(chunks, (chunks[0] * ceil(n_chunks / _FILES_OF_SHARDS), *chunks[1:]))

    @property
    def files(self) -> tuple[int, ...]:
        """Shape of what one file holds. Each task owns whole files, so none needs a lock."""
        return self.shards or self.chunks


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the lock of an output. The system lets go of it when a process dies."""
    lock = target.parent / f".{target.name}.lock"
    try:
        with locket.lock_file(str(lock), timeout=0):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except locket.LockError as error:
        raise OutputError(
            f"{target} is being written by another process: wait for it, or choose another name."
        ) from error


def _continued(unfinished: Path, array: da.Array, layout: _Layout) -> zarr.Array[Any] | None:
    """Open what an earlier call left of the same array; None if there is no such thing."""
    try:
        with zarr.config.set({"array.write_empty_chunks": True}):
            stored = zarr.open_array(unfinished, mode="r+")
        same = (
            stored.attrs.get(_IDENTITY) == array.name
            and stored.shape == array.shape
            and stored.dtype == array.dtype
            and (stored.chunks, stored.shards) == (layout.chunks, layout.shards)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Nothing there, or metadata that was being written when the machine went down.
        return None
    return stored if same else None


def _begun(unfinished: Path, array: da.Array, layout: _Layout) -> zarr.Array[Any]:
    # A chunk of fill values is written like any other: that it is there says that it was computed.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return zarr.create_array(
            store=str(unfinished),
            shape=array.shape,
            chunks=layout.chunks,
            shards=layout.shards,
            dtype=array.dtype,
            attributes={_IDENTITY: array.name},
        )


def _discard(unfinished: Path) -> None:
    if unfinished.exists():
        shutil.rmtree(unfinished)


@contextmanager
def _writing(path: str | os.PathLike[str], where: str = "") -> Iterator[None]:
    """Say of an error of the file system what it kept from being written, and how to go on."""
    try:
        yield
    except DaskMeansError:
        raise
    except OSError as error:
        raise OutputError(
            f"{os.fspath(path)} cannot be written{where}: {error.strerror or error}. Chunks that "
            "are written are kept: once this is mended, the same call goes on from there."
        ) from error


def _compute_missing(
    array: da.Array, stored: zarr.Array[Any], unfinished: Path, path: str | os.PathLike[str]
) -> None:
    """Compute the blocks of an array whose files are not there."""
    target: Any = _Target(stored, os.fspath(path))
    edges = [0, *accumulate(array.chunks[0])]
    parts, regions = [], []
    numbers = range(array.numblocks[0])
    for missing, run in groupby(numbers, lambda n: _is_missing(n, array, stored, unfinished)):
        neighbors = list(run)
        if missing:
            rows = slice(edges[neighbors[0]], edges[neighbors[-1] + 1])
            parts.append(array[rows])
            regions.append((rows, *(slice(None) for _ in array.shape[1:])))
    if parts:
        da.store(parts, [target] * len(parts), regions=regions, lock=False)


def _is_missing(number: int, array: da.Array, stored: zarr.Array[Any], unfinished: Path) -> bool:
    """Tell whether one of the files of a row of blocks is not there."""
    return not all(
        (unfinished / stored.metadata.encode_chunk_key((number, *others))).is_file()
        for others in np.ndindex(*array.numblocks[1:])
    )


@dataclass(frozen=True)
class _Target:
    """A Zarr array whose errors say which rows could not be written, and how to go on."""

    stored: zarr.Array[Any]
    path: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.stored.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.stored.dtype)

    def __setitem__(self, index: Any, values: Any) -> None:
        with _writing(self.path, f" at rows {index[0].start} to {index[0].stop}"):
            self.stored[index] = values
