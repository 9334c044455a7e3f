"""Passes over blocks that a cluster holds: grouped once where they are, then one task a thread."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.task_spec import Task, TaskRef
from dask.typing import Key as TaskKey

from daskmeans.blocks.block import Block, make_block
from daskmeans.blocks.chains import weights_graph
from daskmeans.blocks.source import Key, RowRange, RowSource
from daskmeans.partials import PartialT
from daskmeans.passes.graph import MOST_LITERAL_BYTES, Graph, with_merge_tree
from daskmeans.passes.groups import Group
from daskmeans.passes.placement import placed_groups
from daskmeans.passes.plan import Pass, handed_over, merge
from daskmeans.passes.reports import wait_for_cluster
from daskmeans.passes.tally import Tally
from daskmeans.passes.walk import walk

# As many partials go to the driver as they are; more, or larger ones, are merged by the workers
# first.
_MOST_GATHERED, _MOST_GATHERED_BYTES = 8, 64 << 20


@dataclass(frozen=True)
class BlockPlace:
    """Where a block is among all rows, and of how many parts it is made.

    Attributes
    ----------
    number, start, n_rows : int
    n_parts : int
        Arrays side by side that make its rows.
    weighted : bool
        An array of weights follows them.
    """

    number: int
    start: int
    n_rows: int
    n_parts: int
    weighted: bool


def make_group(
    places: tuple[BlockPlace, ...], n_features: int, divide: bool, *arrays: Any
) -> Group:
    """The task that gathers blocks which are, or were sent, where it runs."""
    blocks = []
    rest = iter(arrays)
    for place in places:
        parts = [next(rest) for _ in range(place.n_parts)]
        weights = next(rest) if place.weighted else None
        blocks.append(
            make_block(
                place.number,
                place.start,
                parts,
                weights,
                n_features,
                place.n_rows,
                divide=divide,
            )
        )
    return Group.of(blocks)


def pass_over_group(step: Pass[PartialT], group: Group) -> PartialT:
    """The task of a pass on one group."""
    blocks = group.blocks_for(step)
    found = walk(step, iter([_handing_out(block) for block in blocks]), read_ahead=False)
    assert found is not None
    return found


def _handing_out(block: Block) -> Any:
    return lambda: block


class ResidentBlocks:
    """Blocks that a cluster holds, and the groups that they are in at present.

    Groups are made of the blocks, which can be made again: what a dying worker held, the scheduler
    computes anew. A pass finds out which workers there are for the one after it, which groups the
    blocks again if they changed.

    Parameters
    ----------
    client : Client
    source : RowSource
        Of known sizes, its parts held by the cluster.
    """

    def __init__(self, client: Any, source: RowSource) -> None:
        self._client = client
        self._source = source
        self._weights = _placed_weights(client, source)
        self._threads: dict[str, int] = client.nthreads()
        self._grouped_for: dict[str, int] | None = None
        self._futures: list[Any] = []
        self._groups: list[tuple[str, Any]] = []

    def __call__(self, step: Pass[PartialT], token: str, tally: Tally | None = None) -> PartialT:
        """Run a pass: a task for each group, whose partials are merged here if they are few."""
        if self._threads != self._grouped_for:
            self._group_blocks(token, tally)
        size = len(pickle.dumps(step)) * len(self._groups)
        graph: Graph = {}
        apart: list[Any] = []
        keys: list[TaskKey] = [(f"{step.name}-{token}", i) for i in range(len(self._groups))]
        if size <= MOST_LITERAL_BYTES:
            for key, (_, group) in zip(keys, self._groups, strict=True):
                graph[group.key] = group
                graph[key] = Task(key, pass_over_group, step, TaskRef(group.key))
        else:
            apart = self._started_apart(step, keys, token)
            graph.update((future.key, future) for future in apart)
        if len(keys) > _MOST_GATHERED or len(keys) * step.partial_bytes > _MOST_GATHERED_BYTES:
            keys = [with_merge_tree(graph, keys, token)]
        try:
            # A client sends at most every 10 ms: letting go of the last pass's futures before would
            # hold up this pass.
            self._futures = self._client.get(graph, keys, sync=False)
            # The next pass goes by it; asking meanwhile costs no time.
            self._threads = self._client.nthreads()
            if tally is not None:
                wait_for_cluster([(future, ()) for future in self._futures], tally)
            return merge(*self._client.gather(self._futures))
        except BaseException:
            # What is queued is cancelled with its futures. An error is kept by its future, and
            # keeps by its traceback whatever this pass holds: nobody else would let go of it.
            for future in (*apart, *self._futures):
                future.release()
            self._futures = []
            raise

    def _started_apart(self, step: Pass[PartialT], keys: list[TaskKey], token: str) -> list[Any]:
        """Start the tasks of a large step, each bound loosely to where its group is.

        The step is a key that all tasks share, to whose holder the scheduler would draw them.
        """
        shared: TaskKey = f"kmeans-parameters-{token}"
        (handed,) = self._client.get(
            {shared: Task(shared, handed_over, step)}, [shared], sync=False
        )
        found = []
        # Groups of a worker are neighbours, as `placed_groups` has them.
        keyed = zip(keys, self._groups, strict=True)
        for address, of_worker in groupby(keyed, key=lambda each: each[1][0]):
            graph: Graph = {shared: handed}
            mine = []
            for key, (_, group) in of_worker:
                graph[group.key] = group
                graph[key] = Task(key, pass_over_group, TaskRef(shared), TaskRef(group.key))
                mine.append(key)
            found += self._client.get(graph, mine, sync=False, **_loosely_at(address))
        return found

    def _group_blocks(self, token: str, tally: Tally | None) -> None:
        """Group the blocks where they are, moving some if a worker has far more than its share.

        The first pass waits here until they are read: that is what it tells of.
        """
        source, client = self._source, self._client
        rows: list[Any] = []
        waited_for: list[tuple[Any, tuple[int, ...]]] = []
        for number, of_block in enumerate(source.parts):
            futures = [source.graph[part.key] for part in _keys_of(of_block)]
            rows += futures
            waited_for += [(future, ()) for future in futures[:-1]] + [(futures[-1], (number,))]
        if not self._threads:
            client.wait_for_workers(1)
            self._threads = client.nthreads()
        wait_for_cluster(waited_for, tally)
        holders = client.who_has(rows)
        # A block of several parts is where its first part is.
        found = [tuple(holders[_keys_of(parts)[0].key]) for parts in source.parts]
        groups = []
        starts = source.starts or ()
        placed = placed_groups(source.known_sizes, found, self._threads)
        for address, runs in groupby(placed, key=itemgetter(0)):
            graph: Graph = {}
            keys: list[TaskKey] = []
            for _, numbers in runs:
                places, arguments = [], []
                for number in numbers:
                    parts = [source.graph[part.key] for part in _keys_of(source.parts[number])]
                    if self._weights is not None:
                        parts.append(self._weights[number])
                    places.append(
                        BlockPlace(
                            number,
                            starts[number],
                            source.known_sizes[number],
                            len(source.parts[number]),
                            self._weights is not None,
                        )
                    )
                    graph.update((future.key, future) for future in parts)
                    arguments += [TaskRef(future.key) for future in parts]
                key: TaskKey = (f"kmeans-group-{token}", numbers[0])
                graph[key] = Task(
                    key, make_group, tuple(places), source.n_features, source.divides, *arguments
                )
                keys.append(key)
            made = client.get(graph, keys, sync=False, **_loosely_at(address))
            groups += [(address, future) for future in made]
        self._groups, self._grouped_for = groups, self._threads


def _keys_of(parts: tuple[Any, ...]) -> list[Key]:
    return [part for part in parts if isinstance(part, Key)]


def _placed_weights(client: Any, source: RowSource) -> list[Any] | None:
    """Return the weights of each block as futures, or None."""
    if source.weights is None:
        return None
    keys = [part.key for part in source.weights if isinstance(part, Key)]
    graph = weights_graph(source)
    if not keys:
        first = source.weights[0]
        assert isinstance(first, RowRange)
        array = da.from_array(np.asarray(first.array), chunks=(source.known_sizes,))
        graph, keys = dict(array.__dask_graph__()), array.__dask_keys__()
    futures: list[Any] = client.get(graph, keys, sync=False)
    return futures


def _loosely_at(address: str) -> dict[str, Any]:
    """Return options that send tasks to a worker, or elsewhere once it is gone.

    Workers that the user's own annotations ask for come first.
    """
    if "workers" in dask.get_annotations():
        return {}
    return {"workers": [address], "allow_other_workers": True}
