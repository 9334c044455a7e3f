"""Count what is read and which passes run, through the doors that every user has."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

from distributed import SchedulerPlugin
from zarr.storage import WrapperStore

from daskmeans.passes.events import IterationEnded, PassStarted, observing


class CountedRows:
    """A NumPy array that remembers which rows were read; for `dask.array.from_array`."""

    def __init__(self, values):
        self.values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self.reads = []

    def __getitem__(self, index):
        result = self.values[index]
        if result.size:
            # list.append is atomic, so threads may read at once.
            self.reads.append(index[0].indices(len(self.values))[:2])
        return result


class CountingStore(WrapperStore):
    """A Zarr store that counts how often each chunk or shard is fetched."""

    def __init__(self, store):
        super().__init__(store)
        self.reads = Counter()

    def _with_store(self, store):
        # zarr wraps a store again to make it read-only: that one counts here too.
        other = type(self)(store)
        other.reads = self.reads
        return other

    async def get(self, key, prototype, byte_range=None):
        if "zarr.json" not in key and ".z" not in key:
            self.reads[key] += 1
        return await super().get(key, prototype, byte_range)


class Tasks(SchedulerPlugin):
    """Counts the tasks that a scheduler is given, by the names it goes by."""

    def __init__(self):
        self.counts = Counter()

    def transition(self, key, start, finish, *args, **kwargs):
        if start == "processing" and finish == "memory":
            name = key[0] if isinstance(key, tuple) else key
            self.counts[name.rsplit("-", 2)[0]] += 1


class Passes(Counter):
    """How often each pass ran, by its name; beside it the iterations and the blocks of a pass."""

    def __init__(self):
        super().__init__()
        self.iterations = 0
        self.n_blocks = set()


@contextmanager
def counted_passes():
    """Count the passes that run inside of the context."""
    passes = Passes()

    def count(event):
        if isinstance(event, PassStarted):
            passes[event.name] += 1
            passes.n_blocks.add(event.n_blocks)
        elif isinstance(event, IterationEnded):
            passes.iterations += 1

    with observing(count):
        yield passes
