"""Whether there is room for the partials of a pass over many clusters, asked before it begins."""

from __future__ import annotations

from typing import Any

import psutil
from dask.utils import format_bytes

from daskmeans.errors import ClusterError, TooLargeError

# A thread has the sum so far, the partial of a block, and the two added.
_HELD_A_THREAD = 3
# Less than this is not worth asking for.
_LEAST_ASKED = 64 << 20


def check_room(partial_bytes: int, n_threads: int, client: Any) -> None:
    """Raise if the threads of a pass cannot hold their partials.

    Parameters
    ----------
    partial_bytes : int
    n_threads : int
        Of this process.
    client : Client or None
        The cluster that runs the pass instead.

    Raises
    ------
    TooLargeError
        If this process has not enough memory free.
    ClusterError
        If a worker may not hold so much.
    """
    a_thread = _HELD_A_THREAD * partial_bytes
    if a_thread * n_threads < _LEAST_ASKED:
        return
    told = f"Sums of the clusters take {format_bytes(partial_bytes)}, and a thread holds "
    told += f"{_HELD_A_THREAD} of them: "
    way_out = "fewer clusters, or fewer restarts at a time (n_init)."
    if client is None:
        free = int(psutil.virtual_memory().available)
        if n_threads * a_thread > free:
            raise TooLargeError(
                f"{told}{n_threads} threads need {format_bytes(n_threads * a_thread)}, and "
                f"{format_bytes(free)} are free. Use fewer threads "
                f"(dask.config.set(num_workers=...)), {way_out}"
            )
        return
    for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        limit, needed = int(worker["memory_limit"] or 0), int(worker["nthreads"]) * a_thread
        if limit and needed > limit:
            raise ClusterError(
                f"{told}the {worker['nthreads']} threads of worker {address} need "
                f"{format_bytes(needed)}, and it may hold {format_bytes(limit)}. Give workers "
                f"fewer threads or more memory, or use {way_out}"
            )
