"""A pass as a dask graph of new-style tasks: runs of blocks, or single blocks, and a merge tree."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

from dask.task_spec import GraphNode, Task, TaskRef
from dask.typing import Key as TaskKey

from daskmeans.blocks.source import Key, Part, RowSource
from daskmeans.partials import PartialT
from daskmeans.passes.plan import (
    BlockReading,
    BlockTask,
    Pass,
    argument,
    handed_over,
    merge,
    merge_tree,
    rows_until,
)
from daskmeans.passes.walk import runs_of_blocks, walk_over

Graph = dict[TaskKey, Any]

# Parameters that take more than this with all tasks together are sent once, and between workers.
MOST_LITERAL_BYTES = 8 << 20


def graph_of_walks(
    step: Pass[PartialT],
    readings: list[BlockReading],
    n_walks: int,
    token: str,
    *,
    apart: bool = False,
) -> tuple[Graph, TaskKey]:
    """Return the tasks of a pass whose blocks are read inside of them, and the key of its result.

    Parameters
    ----------
    step : Pass
    readings : list of BlockReading
    n_walks : int
        Tasks to split the blocks into, at most.
    token : str
        Unlike that of any other pass: a scheduler must not hand out the result of an earlier one.
    apart : bool
        The tasks are sent to other processes one by one: a large step is a task of its own.
    """
    graph: Graph = {}
    keys: list[TaskKey] = []
    runs = runs_of_blocks(len(readings), n_walks)
    handed: Any = step
    if apart and len(pickle.dumps(step)) * len(runs) > MOST_LITERAL_BYTES:
        shared: TaskKey = f"kmeans-parameters-{token}"
        graph[shared] = Task(shared, handed_over, step)
        handed = TaskRef(shared)
    for number, run in enumerate(runs):
        key: TaskKey = (f"{step.name}-{token}", number)
        # Reading tasks are queued by a cluster, so that it reads no more than it computes.
        graph[key] = Task(
            key, walk_over, handed, tuple(readings[run.start : run.stop]), _data_producer=True
        )
        keys.append(key)
    return graph, with_merge_tree(graph, keys, token)


def graph_of_blocks(step: Pass[PartialT], source: RowSource, token: str) -> tuple[Graph, TaskKey]:
    """Return the tasks of a pass with one for each block, and the key of its result.

    For blocks that are made by the source's own graph, or whose sizes are unknown.
    """
    graph: Graph = dict(source.graph)
    users = Counter(
        key for task in source.graph.values() for key in getattr(task, "dependencies", ())
    )
    keys: list[TaskKey] = []
    starts = source.starts
    start: Any = 0
    for number, parts in enumerate(source.parts):
        weights = None if source.weights is None else source.weights[number]
        arguments = [argument(part) for part in (weights, *parts)]
        key: TaskKey = (f"{step.name}-{token}", number)
        call = BlockTask(
            step.chunk,
            step.parameters,
            number,
            source.n_features,
            None if source.sizes is None else source.sizes[number],
            source.divides,
        )
        if starts is not None:
            graph[key] = _fused(Task(key, call, starts[number], *arguments), parts, source, users)
        else:
            # The rows of a block are numbered as soon as those before it have been counted: a
            # chain of tiny tasks beside the blocks, instead of a pass that only counts.
            graph[key] = Task(key, call, start, *arguments)
            counted: TaskKey = (f"kmeans-row-numbers-{token}", number)
            graph[counted] = Task(counted, rows_until, start, arguments[1])
            start = TaskRef(counted)
        keys.append(key)
    return graph, with_merge_tree(graph, keys, token)


def blocks_of_tasks(graph: Graph, name: str, n_blocks: int) -> dict[TaskKey, range]:
    """Return which blocks each task of a pass goes over.

    Parameters
    ----------
    graph : dict
        As made by one of the functions above.
    name : str
        Of the pass, with its token.
    n_blocks : int
    """
    n_tasks = sum(isinstance(key, tuple) and key[0] == name for key in graph)
    return {(name, i): run for i, run in enumerate(runs_of_blocks(n_blocks, n_tasks))}


def with_merge_tree(graph: Graph, keys: list[TaskKey], token: str) -> TaskKey:
    """Add the merge tree of some results to a graph; return the key of its root."""
    for level, nodes in enumerate(merge_tree(len(keys))):
        above: list[TaskKey] = []
        for node, children in enumerate(nodes):
            key: TaskKey = (f"kmeans-merge-{token}", level, node)
            graph[key] = Task(key, merge, *(TaskRef(keys[child]) for child in children))
            above.append(key)
        keys = above
    return keys[0]


def _fused(
    task: Task, parts: tuple[Part, ...], source: RowSource, users: Counter[TaskKey]
) -> GraphNode:
    """Join a block's own reading task to its computing task where nothing else uses it."""
    if len(parts) == 1 and isinstance(parts[0], Key):
        reading = source.graph[parts[0].key]
        if isinstance(reading, Task) and not users[parts[0].key]:
            return Task.fuse(reading, task)
    return task
