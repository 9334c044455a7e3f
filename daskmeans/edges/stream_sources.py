"""Where a stream's batches come from: iterables, a folder being filled, a store that grows."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from daskmeans.blocks.inputs import ArrayLike
from daskmeans.blocks.stores import read_unit
from daskmeans.edges.sources import FORMATS, open_rows
from daskmeans.edges.zarr_folders import is_zarr
from daskmeans.errors import RowsError

# Files of a folder that are batches. What a writer has not finished should have another name.
_SUFFIXES = frozenset(end for end, kind in FORMATS.items() if kind in ("NumPy", "Parquet", "CSV"))


@dataclass(frozen=True)
class Batch:
    """A batch, and where its source stands once it was used.

    Attributes
    ----------
    name : str
        For messages.
    rows : array-like, or None
        None where they could not be had.
    weights : array-like or None
    position : object
        JSON from which the source goes on.
    error : Exception or None
        Why the rows could not be had.
    """

    name: str
    rows: Any
    weights: Any
    position: Any
    error: Exception | None = None


class BatchSource(Protocol):
    """What batches come from."""

    def batches(self, position: Any, stopped: threading.Event) -> Iterator[Batch]:
        """Yield the batches after a position, None for all, until `stopped` is set."""


def _read(name: str, read: Callable[[], Any], position: Any) -> Batch:
    """Read a batch; what goes wrong is told with it."""
    try:
        rows = read()
    except (ValueError, TypeError, OSError) as error:
        return Batch(name, None, None, position, error)
    weights = None
    if isinstance(rows, tuple):
        rows, weights = rows
    return Batch(name, rows, weights, position)


@dataclass(frozen=True)
class IteratedBatches:
    """The items of an iterable: rows, (rows, weights), or futures of these.

    Attributes
    ----------
    items : iterable
    replays : bool
        It begins with the first batch again in a new process, so that those that were used are
        skipped.
    """

    items: Iterable[Any]
    replays: bool

    def batches(self, position: Any, stopped: threading.Event) -> Iterator[Batch]:
        number = skipped = int(position or 0)
        for item in self.items:
            if self.replays and skipped:
                skipped -= 1
                continue
            number += 1
            # Of dask's as_completed and of concurrent.futures.
            yield _read(f"batch {number}", getattr(item, "result", partial(_itself, item)), number)
            if stopped.is_set():
                return


def _itself(item: Any) -> Any:
    return item


@dataclass(frozen=True)
class AwaitedBatches:
    """The items of an asynchronous iterable, awaited in an event loop of the reading thread."""

    items: AsyncIterable[Any]
    replays: bool

    def batches(self, position: Any, stopped: threading.Event) -> Iterator[Batch]:
        with asyncio.Runner() as runner:
            source = aiter(self.items)
            end = object()

            async def next_item() -> Any:
                coming = asyncio.ensure_future(anext(source, end))
                while not coming.done():
                    await asyncio.wait({coming}, timeout=0.1)
                    if stopped.is_set():
                        coming.cancel()
                        return end
                return coming.result()

            def items() -> Iterator[Any]:
                while (item := runner.run(next_item())) is not end:
                    yield item

            yield from IteratedBatches(items(), self.replays).batches(position, stopped)


@dataclass(frozen=True)
class FolderBatches:
    """The files of a folder, in the order of their names, each a batch.

    Attributes
    ----------
    folder : Path
    follow : bool
        Wait for more files. A file is then taken once it has not changed for `poll_seconds`.
    poll_seconds : float
    """

    folder: Path
    follow: bool
    poll_seconds: float

    def batches(self, position: Any, stopped: threading.Event) -> Iterator[Batch]:
        used = set(position or ())
        while not stopped.is_set():
            names = self._settled_files()
            # Files that are gone will not come again, and need not be remembered.
            used &= {entry.name for entry in os.scandir(self.folder)}
            for name in names:
                if name in used:
                    continue
                used.add(name)
                yield _read(name, partial(_in_memory, self.folder / name), sorted(used))
                if stopped.is_set():
                    return
            if not self.follow:
                return
            stopped.wait(self.poll_seconds)

    def _settled_files(self) -> list[str]:
        settled = time.time() - self.poll_seconds
        with os.scandir(self.folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.is_file()
                and not entry.name.startswith((".", "_"))
                and Path(entry.name).suffix.lower() in _SUFFIXES
                and (not self.follow or entry.stat().st_mtime <= settled)
            )


def _in_memory(path: Path) -> ArrayLike:
    rows = open_rows(path)
    # A table keeps the names of its columns.
    return rows.compute() if hasattr(rows, "compute") else np.asarray(rows)


@dataclass
class GrowingRows:
    """A Zarr array that grows along its first axis; rows are read once, when they are new.

    Attributes
    ----------
    array : zarr.Array
    batch_rows : int
    follow : bool
        Wait for more rows, and use full batches only. Rows count as written once the array has had
        them for `poll_seconds`: a writer makes room first and fills it then.
    poll_seconds : float
    """

    array: Any
    batch_rows: int
    follow: bool
    poll_seconds: float

    def batches(self, position: Any, stopped: threading.Event) -> Iterator[Batch]:
        start = int(position or 0)
        if start > self.array.shape[0]:
            raise RowsError(
                f"The stream has used {start} rows of the store, which has {self.array.shape[0]} "
                "now: it is not the one that the checkpoint was made with."
            )
        written = 0 if self.follow else self.array.shape[0]
        while True:
            while start + self.batch_rows <= written or (not self.follow and start < written):
                stop = min(start + self.batch_rows, written)
                name = f"rows {start} to {stop - 1}"
                yield _read(name, partial(self.array.__getitem__, slice(start, stop)), stop)
                start = stop
                if stopped.is_set():
                    return
            if not self.follow:
                return
            grown = self._n_rows()
            if stopped.wait(self.poll_seconds):
                return
            written = grown

    def _n_rows(self) -> int:
        import zarr

        # Reading goes by the shape that the array was opened with.
        self.array = zarr.open_array(self.array.store, path=self.array.path, mode="r")
        return int(self.array.shape[0])


def batch_source(
    source: Any,
    *,
    follow: bool,
    poll_seconds: float,
    batch_rows: int | None,
    replays: bool,
) -> BatchSource:
    """Return what a stream reads, by what it was given; see `stream`.

    Raises
    ------
    RowsError
        If there is nothing at a path, or nothing that batches come from.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir() and not is_zarr(path):
            return FolderBatches(path, follow, poll_seconds)
        source = open_rows(source)
    if type(source).__module__.startswith("zarr"):
        if source.ndim != 2:
            raise RowsError(f"A stream reads rows of a 2-D array, not of shape {source.shape}.")
        rows = read_unit(source) if batch_rows is None else batch_rows
        return GrowingRows(source, rows, follow, poll_seconds)
    if isinstance(source, AsyncIterable):
        return AwaitedBatches(source, replays)
    if isinstance(source, Iterable) and not hasattr(source, "shape"):
        return IteratedBatches(source, replays)
    raise RowsError(
        f"A stream of batches cannot come from {type(source).__name__}: give an iterable of "
        "batches, the path of a folder that files are put into, or a Zarr array that grows. "
        "MiniBatchKMeans.fit takes rows that are all there."
    )
