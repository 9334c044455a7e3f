"""The thread that reads a stream's batches ahead, and the queue in which they wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from daskmeans.edges.stream_sources import Batch, BatchSource


class Ended:
    """Comes after the last batch.

    Attributes
    ----------
    error : BaseException or None
        What the source raised.
    """

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


Coming: TypeAlias = "queue.Queue[Batch | Ended]"


@contextmanager
def reading(source: BatchSource, position: Any, read_ahead: int) -> Iterator[Coming]:
    """Read batches in a thread; the queue holds so many that wait."""
    coming: Coming = queue.Queue(maxsize=read_ahead)
    stopped = threading.Event()

    def put(item: Batch | Ended) -> bool:
        while not stopped.is_set():
            try:
                coming.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        ended = Ended()
        try:
            for batch in source.batches(position, stopped):
                if not put(batch):
                    return
        except BaseException as error:
            ended = Ended(error)
        put(ended)

    # A source that waits for its next batch cannot be woken: its thread ends with the process.
    reader = threading.Thread(target=read, name="daskmeans-stream", daemon=True)
    reader.start()
    try:
        yield coming
    finally:
        stopped.set()
        reader.join(timeout=1.0)
