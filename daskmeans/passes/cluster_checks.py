"""What a cluster must have before a pass runs on it, and what is said when its workers die."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dask.utils import format_bytes

from daskmeans.blocks.chains import tasks_behind
from daskmeans.blocks.source import Key, RowSource
from daskmeans.errors import ClusterError

# Packages whose versions decide whether workers understand the tasks, and what bits they answer.
_COMPARED = ("daskmeans", "numpy", "numba")

# Addresses that were checked already, for each client.
_checked: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


def check_client(client: Any) -> None:
    """Raise if a cluster cannot run passes, and warn if it has other versions.

    The cluster is asked once, and then for the workers that joined.

    Raises
    ------
    ClusterError
        If the scheduler or a worker cannot import this package.
    """
    known = _checked.setdefault(client, set())
    new = set(client.nthreads()) - known
    found = _answers(client, sorted(new), and_scheduler=not known)
    lacking = {place: answer for place, answer in found.items() if "lacks" in answer}
    if lacking:
        place, answer = next(iter(lacking.items()))
        more = f", and {len(lacking) - 1} more," if len(lacking) > 1 else ""
        raise ClusterError(
            f"{_capital(place)}{more} cannot import daskmeans: {answer['lacks']}. "
            "Install daskmeans there, or, where only its own files are missing, send them with "
            "daskmeans.upload_to(client)."
        )
    here = _probe()()
    others = [
        f"{place} has {name} {answer[name]}, not {here[name]}"
        for place, answer in found.items()
        for name in _COMPARED
        if answer.get(name) != here[name]
    ]
    if others:
        more = f"; and {len(others) - 3} more" if len(others) > 3 else ""
        warnings.warn(
            f"The cluster has other versions than this process: {'; '.join(others[:3])}{more}. "
            "Tasks may fail there, and results may differ in their last bits.",
            UserWarning,
            stacklevel=2,
        )
    known |= new


def is_everywhere(client: Any) -> bool:
    """Tell whether the scheduler and all workers of a client can import this package."""
    found = _answers(client, sorted(client.nthreads()), and_scheduler=True)
    return not any("lacks" in answer for answer in found.values())


def _answers(client: Any, workers: list[str], *, and_scheduler: bool) -> dict[str, dict[str, str]]:
    """Ask workers, by their addresses, what they have; the keys of the answers name the places."""
    found: dict[str, Any] = {}
    if and_scheduler:
        found["the scheduler"] = client.run_on_scheduler(_probe())
    if workers:
        answers = client.run(_probe(), workers=workers, on_error="return")
        found |= {f"worker {address}": answer for address, answer in answers.items()}
    # A worker that went away meanwhile answers with an exception.
    return {place: answer for place, answer in found.items() if isinstance(answer, dict)}


def _probe() -> Callable[[], dict[str, str]]:
    """Return a function that tells versions, pickled by its code: it runs where we may be missing.

    Its answer has the versions of `_COMPARED`, or under "lacks" why the package is not imported.
    """
    names = _COMPARED

    def versions() -> dict[str, str]:
        import importlib

        found = {}
        for name in reversed(names):
            try:
                found[name] = str(importlib.import_module(name).__version__)
            except ImportError as error:
                found["lacks"] = str(error)
        return found

    return versions


def check_fits(client: Any, source: RowSource, *, kept: bool) -> None:
    """Raise if rows cannot be read, or kept, in the memory of a cluster's workers.

    Parameters
    ----------
    client : Client
    source : RowSource
        Of known sizes, not held by the cluster yet.
    kept : bool
        All rows are to stay on the workers.

    Raises
    ------
    ClusterError
    """
    limits = _memory_limits(client)
    if not limits:
        return
    number, size = _largest_block(source)
    if size is not None and size > max(limits):
        raise ClusterError(
            f"{_capital(_place(source, number))} needs {format_bytes(size)}, and no worker may "
            f"hold more than {format_bytes(max(limits))}. Rechunk X to smaller blocks, or give "
            "the workers more memory."
        )
    if kept and source.kept_bytes is not None and source.kept_bytes > sum(limits):
        raise ClusterError(
            f"{format_bytes(source.kept_bytes)} of rows were to be kept by workers that may hold "
            f"{format_bytes(sum(limits))} together. Add workers; or pass a dask array or a store "
            "with persist='auto', which is read in each pass if it does not fit."
        )


@contextmanager
def explained(source: RowSource) -> Iterator[None]:
    """Context that says what dying workers worked on, in rows and bytes.

    Parameters
    ----------
    source : RowSource
        As it was before the cluster kept its rows: dying tasks may be those of its graph.

    Raises
    ------
    ClusterError
        In place of distributed's `KilledWorker`.
    """
    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        limit = error.last_worker.memory_limit
        allowed = format_bytes(limit) if limit else "as much as its machine has"
        block = _block_made_by(source, error.task)
        if source.sizes is None:
            work = "blocks of unknown size"
        elif block is not None:
            work = f"{_place(source, block)}, {_said(_block_bytes(source, block))}"
        else:
            block, size = _largest_block(source)
            work = f"blocks one by one, the largest {_place(source, block)}, {_said(size)}"
        raise ClusterError(
            f"{error.allowed_failures + 1} workers died one after the other at the task "
            f"{error.task!r}, the last one at {error.last_worker.address}. It works on {work}; "
            f"that worker may hold {allowed}, shared by its threads. If memory was the reason (the "
            "worker's log tells), rechunk X to smaller blocks, give workers fewer threads or more "
            "memory, or use persist=False."
        ) from error


def _block_made_by(source: RowSource, task: Any) -> int | None:
    """Return the number of the first block that a task is needed for, or None."""
    for number, parts in enumerate(source.parts):
        keys = [part.key for part in parts if isinstance(part, Key)]
        if any(task in tasks_behind(source.graph, key) for key in keys):
            return number
    return None


def _memory_limits(client: Any) -> list[int]:
    """Return the bytes that each worker may hold; nothing if one is not limited."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [int(worker["memory_limit"] or 0) for worker in workers]
    return limits if all(limits) else []


def _largest_block(source: RowSource) -> tuple[int, int | None]:
    """Return the number of the block with most rows, and its bytes."""
    number = max(range(source.n_blocks), key=source.known_sizes.__getitem__)
    return number, _block_bytes(source, number)


def _block_bytes(source: RowSource, number: int) -> int | None:
    """Return the bytes of a block; of sparse ones their share, or None while that is unknown."""
    if source.n_bytes is None:
        return None
    return source.known_sizes[number] * source.n_bytes // max(1, source.n_rows)


def _said(n_bytes: int | None) -> str:
    return "of unknown size" if n_bytes is None else format_bytes(n_bytes)


def _place(source: RowSource, number: int) -> str:
    start, size = (source.starts or ())[number], source.known_sizes[number]
    return f"block {number} of X (rows {start} to {start + size - 1})"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
