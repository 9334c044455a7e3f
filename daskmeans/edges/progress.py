"""A line that tells how far long work is: pass, iteration, rows a second, inertia, center shift."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import TqdmWarning

from daskmeans.passes.events import Event, IterationEnded, PassEnded, PassStarted, observing

with warnings.catch_warnings():
    # In a notebook without ipywidgets it warns, though nobody has asked for a bar yet, and takes
    # the bar of a terminal, which notebooks can show too.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

_IN_NOTEBOOK = "ipykernel.zmqshell" in sys.modules


@contextmanager
def progress_bar(max_iter: int | None = None) -> Iterator[None]:
    """Show a bar that counts iterations while the work inside of the context runs.

    In a notebook or on a terminal only: in a log it would be thousands of lines. On a cluster too:
    it goes by passes that have ended.

    Parameters
    ----------
    max_iter : int, optional
        Where the bar ends, unless the work converges before.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans import KMeans, progress_bar
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> with progress_bar():
    ...     model = KMeans(3, random_state=0).fit(X)
    """
    # A notebook's output is no terminal, but shows bars.
    hidden = False if _IN_NOTEBOOK else None
    with tqdm(total=max_iter, unit=" iterations", disable=hidden, leave=False) as bar:
        if bar.disable:
            yield
            return
        told: dict[str, Any] = {}
        drawn = -math.inf

        def observe(event: Event) -> None:
            nonlocal drawn
            if isinstance(event, PassStarted):
                bar.set_description(f"{event.name}, {event.n_blocks} blocks", refresh=False)
                # The first passes are the longest, and come before any iteration; passes over rows
                # in memory may be hundreds a second.
                if time.monotonic() - drawn >= bar.mininterval:
                    bar.refresh()
                    drawn = time.monotonic()
            elif isinstance(event, PassEnded):
                told["pass"] = f"{event.seconds:.2f} s"
                if event.n_rows is not None and event.seconds:
                    told["rows/s"] = f"{event.n_rows / event.seconds:.3g}"
            elif isinstance(event, IterationEnded):
                told["inertia"] = f"{event.inertia:.6g}"
                told["shift"] = f"{event.center_shift:.3g}"
            bar.set_postfix(told, refresh=False)
            if isinstance(event, IterationEnded):
                bar.update()  # last, since it draws the line

        with observing(observe):
            yield
