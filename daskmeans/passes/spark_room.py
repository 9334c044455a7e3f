"""Whether rows fit into the memory of Spark's Python workers, beside what Spark itself keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

# Rows may take one part in so many of the memory that is free on a host, and what is remembered of
# them one part in so many of the rest.
_ROWS_SHARE, _STATE_SHARE = 2, 8
# Of the control group that a container is.
_CGROUP = Path("/sys/fs/cgroup")
# Spark's own: at least so much beside the heap, and this part of it.
_LEAST_OVERHEAD_MB, _OVERHEAD_FACTOR = 384, "0.1"


@dataclass(frozen=True)
class Host:
    """What a worker tells of the machine that it is on, before it holds rows."""

    name: str
    free_bytes: int


def free_here() -> int:
    """Return the bytes that this process may still take: of the machine, its container, itself."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (
            int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current")
        )
        free = min(free, limit - used)
    except (OSError, ValueError):
        # No container, or one without a limit.
        pass
    process = psutil.Process()
    if hasattr(process, "rlimit"):
        # As spark.executor.pyspark.memory sets it.
        soft, _ = process.rlimit(psutil.RLIMIT_AS)
        if soft != psutil.RLIM_INFINITY:
            free = min(free, soft - process.memory_info().vms)
    return max(0, free)


def allowed_a_worker(conf: Any) -> int | None:
    """Return the bytes beside the heap that a cluster manager leaves to each Python worker.

    YARN and Kubernetes kill an executor whose workers take more. None where nobody counts, or where
    workers are told by a limit of their own.

    Parameters
    ----------
    conf : SparkConf of the JVM
    """
    managed = conf.get("spark.master", "").startswith(("yarn", "k8s"))
    if not managed or conf.contains("spark.executor.pyspark.memory"):
        return None
    factor = float(conf.get("spark.executor.memoryOverheadFactor", _OVERHEAD_FACTOR))
    usual = int(factor * conf.getSizeAsMb("spark.executor.memory", "1g"))
    overhead = conf.getSizeAsMb(
        "spark.executor.memoryOverhead", f"{max(_LEAST_OVERHEAD_MB, usual)}m"
    )
    n_workers = int(conf.get("spark.executor.cores", "1")) // int(conf.get("spark.task.cpus", "1"))
    return (int(overhead) << 20) // max(1, n_workers)


@dataclass(frozen=True)
class Room:
    """What is found of the memory of all hosts.

    Attributes
    ----------
    lacking : str or None
        Why rows do not fit.
    state_bytes : int
        What may be remembered of all rows beside them.
    """

    lacking: str | None
    state_bytes: int


def room_for(sizes: Sequence[int], workers: Sequence[Host], allowed: int | None) -> Room:
    """Compare rows with the memory of the hosts that are to hold them.

    Parameters
    ----------
    sizes : sequence of int
        Bytes of each partition.
    workers : sequence of Host
        The host of each worker.
    allowed : int or None
        See `allowed_a_worker`.

    Examples
    --------
    >>> workers = [Host("a", 1000), Host("a", 900), Host("b", 1200)]
    >>> room_for([200, 200, 200], workers, None)
    Room(lacking=None, state_bytes=187)
    >>> room_for([300, 300, 300], workers, None).lacking
    'the rows on host a take 600 bytes, more than half of the 900 bytes that are free there'
    """
    from dask.utils import format_bytes

    a_worker = -(-sum(sizes) // len(workers))
    # Partitions are not cut: one of them may be more than a worker's share.
    more = max(0, max(sizes, default=0) - a_worker)
    left = 0
    for host, n_workers in Counter(each.name for each in workers).items():
        free = min(each.free_bytes for each in workers if each.name == host)
        if allowed is not None:
            free = min(free, n_workers * allowed)
        held = n_workers * a_worker + more
        if held * _ROWS_SHARE > free:
            told, known = (
                f"{number} bytes" if number < 1024 else format_bytes(number)
                for number in (held, free)
            )
            return Room(
                f"the rows on host {host} take {told}, more than half of the {known} that are "
                "free there",
                0,
            )
        left += free - held
    return Room(None, left // _STATE_SHARE)
