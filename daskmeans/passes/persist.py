"""Keep rows in memory between passes where they fit: in this process, or on the workers."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import dask.array as da
import numpy as np
import psutil
from dask.task_spec import Task
from dask.typing import Key as TaskKey
from dask.utils import format_bytes

from daskmeans.blocks.chains import weights_graph, with_blocks
from daskmeans.blocks.inputs import row_source
from daskmeans.blocks.source import Key, RowRange, RowSource
from daskmeans.passes.plan import DividedRows, argument, join_parts
from daskmeans.passes.reports import get_counted
from daskmeans.passes.schedulers import Scheduler, cluster_memory, is_local
from daskmeans.passes.tally import Tally

Persist: TypeAlias = bool | Literal["auto"]

# Rows may take one part in this many of the free memory.
_ROWS_SHARE = 2

_log = logging.getLogger("daskmeans")


def decide(source: RowSource, persist: Persist, scheduler: Scheduler, client: Any) -> bool:
    """Tell whether rows are to be kept in memory, and log why.

    Parameters
    ----------
    source : RowSource
        Of known sizes.
    persist : {"auto", True, False}
    scheduler : function
    client : Client or None

    Raises
    ------
    ValueError
        For True on a scheduler of processes, which have no memory in common.
    """
    if not persist:
        return False
    if client is None and not is_local(scheduler):
        if persist is True:
            raise ValueError(
                "persist=True keeps rows in the memory of threads or of a cluster's workers, and "
                "the current scheduler has neither. Use threads or a Client, or persist='auto'."
            )
        return False
    if source.kept_bytes is None and persist == "auto":
        return False  # until the first pass has seen how many values rows have
    size = "as many as there are" if source.kept_bytes is None else format_bytes(source.kept_bytes)
    if persist is True:
        _log.info("Rows are kept in memory, as persist=True asks: %s.", size)
        return True
    free = free_memory(client) // _ROWS_SHARE
    where = "this machine" if client is None else "the cluster's workers"
    if source.kept_bytes is not None and source.kept_bytes <= free:
        _log.info(
            "Rows are kept in memory: %s of at most %s, half of what is free on %s.",
            size,
            format_bytes(free),
            where,
        )
        return True
    _log.info(
        "Rows are read in each pass: %s do not fit in %s, half of what is free on %s.",
        size,
        format_bytes(free),
        where,
    )
    return False


def free_memory(client: Any) -> int:
    """Return the bytes that are free on the workers of a client, or on this machine."""
    if client is not None:
        return cluster_memory(client, free=True)
    return int(psutil.virtual_memory().available)


def gathered_here(source: RowSource, scheduler: Scheduler) -> RowSource:
    """Return the source with its rows computed into this process."""
    graph, keys = _joined(source)
    tally = Tally.of("kmeans-rows", source)
    numbers = {key: (number,) for number, key in enumerate(keys)}
    rows = get_counted(scheduler, graph, keys, tally, numbers)
    if tally is not None:
        tally.finish()
    return with_blocks(_as_kept(source), rows)


def placed_on_cluster(client: Any, source: RowSource) -> RowSource:
    """Return the source with its rows computed into the memory of the workers.

    It does not wait for them: the next pass does, block by block.
    """
    if source.in_memory and not source.sparse:
        first = source.parts[0][0]
        assert isinstance(first, RowRange)
        array = da.from_array(np.asarray(first.array), chunks=(source.known_sizes, -1))
        placed = row_source(client.persist(array))
        parts, graph = placed.parts, dict(placed.graph)
    else:
        tasks, keys = _joined(source)
        futures = client.get(tasks, keys, sync=False)
        parts = tuple((Key(future.key),) for future in futures)
        graph = {future.key: future for future in futures}
    return replace(
        _as_kept(source),
        parts=parts,
        graph={**weights_graph(source), **graph},
        in_memory=False,
    )


def _as_kept(source: RowSource) -> RowSource:
    """Return the source with its rows as `_joined` makes them."""
    return replace(source, dtype=source.block_dtype).measured_by(source.metric)


def _joined(source: RowSource) -> tuple[dict[TaskKey, Any], list[TaskKey]]:
    """Return a graph of the rows of each block, with all features, and its keys.

    Rows that are to be divided by their lengths are, so that it is done once.
    """
    graph: dict[TaskKey, Any] = dict(source.graph)
    keys: list[TaskKey] = []
    token = uuid.uuid4().hex
    for number, parts in enumerate(source.parts):
        key: TaskKey = (f"kmeans-rows-{token}", number)
        join: Any = join_parts
        if source.divides:
            join = DividedRows(number, (source.starts or ())[number], source.n_features)
        graph[key] = Task(key, join, *map(argument, parts), _data_producer=True)
        keys.append(key)
    return graph, keys
