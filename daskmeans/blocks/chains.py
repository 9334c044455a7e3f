"""Tasks of a dask graph that make one block and nothing else, to be run inside of another task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.task_spec import DataNode, GraphNode
from dask.typing import Key as TaskKey

from daskmeans.blocks.source import Key, Part, RowSource
from daskmeans.kernels.csr import AnyRows, CSRRows, is_sparse

# An array that several blocks share travels with each of them.
_SHARED_BYTES = 1 << 20


@dataclass(frozen=True)
class Chain:
    """The tasks behind one part of a block.

    Attributes
    ----------
    tasks : tuple of GraphNode
        In an order in which they can run; the last one makes the part.
    """

    tasks: tuple[GraphNode, ...]

    @property
    def resident(self) -> bool:
        """Whether there is nothing to do but to hand out an array."""
        return len(self.tasks) == 1 and _is_array(self.tasks[0])

    def read(self) -> Any:
        """Run the tasks, letting go of what no later one needs."""
        uses = Counter(key for task in self.tasks for key in task.dependencies)
        values: dict[TaskKey, Any] = {}
        for task in self.tasks:
            values[task.key] = task(values)
            for key in task.dependencies:
                uses[key] -= 1
                if not uses[key]:
                    del values[key]
        return values[self.tasks[-1].key]


def unchained(source: RowSource) -> RowSource | None:
    """Return the source with its graph taken apart into a chain for each part.

    None if that cannot be: two blocks share work, as after a rechunk, or a cluster holds some.
    """
    if not source.graph:
        return source
    graph = source.graph
    if not all(isinstance(node, GraphNode) for node in graph.values()):
        return None  # futures
    owner: dict[TaskKey, TaskKey] = {}

    def chained(part: Part) -> Part | None:
        if not isinstance(part, Key):
            return part
        tasks = _ancestors(graph, part.key)
        # Parts of small arrays in memory, such as means to be subtracted, are taken again for each
        # block.
        small: set[TaskKey] = set()
        for task in tasks:
            if isinstance(task, DataNode):
                if not _is_array(task):
                    continue
                if _n_bytes(task.value) <= _SHARED_BYTES:
                    small.add(task.key)
                elif task.key != part.key:
                    return None
            elif task.dependencies and task.dependencies <= small:
                small.add(task.key)
            elif owner.setdefault(task.key, part.key) != part.key:
                return None
        return Chain(tuple(tasks))

    def all_chained(parts: tuple[Part, ...]) -> tuple[Part, ...] | None:
        found = tuple(chain for chain in map(chained, parts) if chain is not None)
        return found if len(found) == len(parts) else None

    blocks: list[tuple[Part, ...]] = []
    for parts in source.parts:
        block = all_chained(parts)
        if block is None:
            return None
        blocks.append(block)
    weights = None
    if source.weights is not None:
        weights = all_chained(source.weights)
        if weights is None:
            return None
    return replace(source, parts=tuple(blocks), weights=weights, graph={})


def held_elsewhere(source: RowSource) -> bool:
    """Tell whether a cluster holds every block."""
    keys = [part.key for parts in source.parts for part in parts if isinstance(part, Key)]
    return bool(keys) and all(_is_held(source.graph.get(key)) for key in keys)


def with_blocks(source: RowSource, blocks: Iterable[AnyRows]) -> RowSource:
    """Return the source with its rows computed, one array for each block."""
    parts = tuple(
        (Chain((DataNode(f"kmeans-rows-{number}", rows),)),) for number, rows in enumerate(blocks)
    )
    return replace(source, parts=parts, graph=weights_graph(source))


def weights_graph(source: RowSource) -> dict[TaskKey, Any]:
    """Return the tasks behind the weights alone."""
    keys = [part.key for part in source.weights or () if isinstance(part, Key)]
    return {task.key: task for key in keys for task in _ancestors(source.graph, key)}


def tasks_behind(graph: Mapping[TaskKey, Any], key: TaskKey) -> set[TaskKey]:
    """Return the keys of all tasks behind a key, its own too; those of futures are not known."""
    found = {key}
    waiting = [key]
    while waiting:
        for other in getattr(graph.get(waiting.pop()), "dependencies", ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _ancestors(graph: Mapping[TaskKey, Any], key: TaskKey) -> list[GraphNode]:
    """Return the tasks behind a key in an order in which they can run, its own last."""
    ordered: dict[TaskKey, GraphNode] = {}
    waiting = [key]
    while waiting:
        node = graph[waiting[-1]]
        missing = [other for other in node.dependencies if other not in ordered]
        if missing:
            waiting.extend(missing)
        else:
            ordered.setdefault(waiting.pop(), node)
    return list(ordered.values())


def _is_array(node: GraphNode) -> bool:
    return isinstance(node, DataNode) and (
        isinstance(node.value, np.ndarray) or is_sparse(node.value)
    )


def _n_bytes(array: Any) -> int:
    sparse = is_sparse(array) and not isinstance(array, CSRRows)
    return int(array.data.nbytes if sparse else array.nbytes)


def _is_held(node: Any) -> bool:
    """Tell whether a node of a graph is a future: a result that a cluster holds."""
    return type(node).__module__.startswith("distributed")
