"""Ctrl-C and SIGTERM as words that a stream reads between two batches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from daskmeans.algorithms.stop_reasons import INTERRUPTED


class Stop:
    """What a signal leaves behind."""

    reason: str | None = None


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into a word, where this thread may."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    words = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: "terminated"}
    before = {}

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.reason is not None:
            raise KeyboardInterrupt
        stop.reason = words[signal.Signals(number)]

    for each in words:
        before[each] = signal.signal(each, handle)
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
