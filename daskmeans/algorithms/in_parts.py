"""Work on clusters by features, which is split among threads of this process where it is much."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from daskmeans.passes.schedulers import thread_count, thread_pool

# Numbers of a part: less takes no longer than to hand it to a thread.
_NUMBERS_A_PART = 1 << 16


def by_clusters(work: Callable[[int, int], None], n_clusters: int, n_features: int) -> None:
    """Call a function for runs of clusters, which together are all.

    Parameters
    ----------
    work : function (first, last) -> None
        Works on clusters `first` to `last - 1`; most of it without Python's lock.
    n_clusters, n_features : int
    """
    n_parts = min(n_clusters, n_clusters * n_features // _NUMBERS_A_PART)
    n_threads = thread_count() if n_parts > 1 else 1
    n_parts = min(n_parts, n_threads)
    if n_parts < 2:
        work(0, n_clusters)
        return
    edges = [n_clusters * part // n_parts for part in range(n_parts + 1)]
    # To wake a thread takes as long as some of this work: the last part is done in this one.
    *others, own = pairwise(edges)
    parts = [thread_pool(n_threads).submit(work, *run) for run in others]
    work(*own)
    for part in parts:
        part.result()
