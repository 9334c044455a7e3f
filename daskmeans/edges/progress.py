"""A line that tells how far long work is: stage, center shift, share of rows, bytes a second."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import TqdmWarning

from daskmeans.passes.events import (
    Event,
    IterationStarted,
    PassAdvanced,
    PassEnded,
    PassStarted,
    SeedingStarted,
    StepEnded,
    observing,
)

with warnings.catch_warnings():
    # In a notebook without ipywidgets it warns, though nobody has asked for a bar yet, and takes
    # the bar of a terminal, which notebooks can show too.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

_IN_NOTEBOOK = "ipykernel.zmqshell" in sys.modules

# Seconds between two looks at what is done inside of a pass.
_EVERY = 0.25

# What passes are for, in the words of someone who waits for them.
_STAGES = {
    "kmeans-survey": "survey",
    "kmeans-ranges": "survey",
    "kmeans-count": "counting rows",
    "kmeans-rows": "reading rows into memory",
    "kmeans-seed": "seeding",
    "kmeans-sample": "seeding",
    "kmeans-weigh": "seeding",
    "kmeans-draw": "drawing rows",
    "kmeans-assign": "iteration",
    "kmeans-farthest": "empty clusters",
    "kmeans-batches": "epoch",
    "kmeans-bisect": "splitting, iteration",
    "kmeans-cost": "labels",
    "kmeans-columns": "columns",
    "kmeans-metric-means": "metrics",
    "kmeans-metric-spreads": "metrics",
    "kmeans-contingency": "comparing labels",
    "kmeans-write": "writing",
}
_NUMBERED = {"iteration", "epoch", "splitting, iteration"}


@contextmanager
def progress_bar(max_iter: int | None = None) -> Iterator[None]:
    """Show how far the work inside of the context is: its stage, and how far that is.

    Such as ``iteration 7/300, center shift 0.0012, 38% of the rows, 1.2 GB/s``, with the time that
    is left of a pass that takes long. It is told on threads and processes as blocks are done, and
    on a cluster by messages of the workers; Spark tells of whole passes. In a notebook or on a
    terminal only: in a log it would be thousands of lines.

    Parameters
    ----------
    max_iter : int, optional
        Most iterations, where that is not the `max_iter` of the fit.

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
    with tqdm(total=1, desc="starting", bar_format="{desc}", disable=hidden, leave=False) as bar:
        if bar.disable:
            yield
            return
        try:
            with _warnings_above(bar), observing(_Line(bar, max_iter), every=_EVERY):
                yield
        finally:
            # A notebook keeps a bar that ends before its total, in red.
            bar.n = bar.total


@contextmanager
def _warnings_above(bar: Any) -> Iterator[None]:
    """Give warnings lines of their own: they would begin at the end of the bar's."""
    show = warnings.showwarning

    def show_above(*args: Any, **options: Any) -> None:
        with bar.external_write_mode():
            show(*args, **options)

    warnings.showwarning = show_above
    try:
        yield
    finally:
        if warnings.showwarning is show_above:
            warnings.showwarning = show


def _stage_of(name: str) -> str:
    return _STAGES.get(name, name.removeprefix("kmeans-").replace("-", " "))


class _Line:
    """Draws what it is told on a bar."""

    def __init__(self, bar: Any, max_iter: int | None) -> None:
        self._bar = bar
        self._max_iter = max_iter
        self._drawn = -math.inf
        self._stage = "starting"
        self._iteration = 1
        self._of: int | None = max_iter
        # Of the last iteration, and of the last pass or the one that runs.
        self._moved = self._inertia = self._share = self._speed = self._left = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, PassStarted):
            self._enter(_stage_of(event.name))
        elif isinstance(event, PassAdvanced):
            self._advance(event)
        elif isinstance(event, PassEnded):
            if not self._share:
                self._speed = f"{event.seconds:.2f} s a pass"
                if event.n_rows is not None and event.seconds:
                    self._speed += f", {event.n_rows / event.seconds:.3g} rows/s"
        elif isinstance(event, SeedingStarted):
            self._enter("seeding")
        elif isinstance(event, IterationStarted):
            self._iteration, self._of = event.iteration, self._max_iter or event.max_iter
            if event.iteration == 1:
                self._moved = self._inertia = ""
            self._enter(self._stage)
        else:
            self._moved = f"center shift {event.center_shift:.2g}"
            if isinstance(event, StepEnded):
                self._inertia = f"inertia {event.smoothed_inertia:.6g} a row"
            else:
                self._inertia = f"inertia {event.inertia:.6g}"
        if time.monotonic() - self._drawn >= self._bar.mininterval:
            self._draw()

    def _enter(self, stage: str) -> None:
        """Begin a stage, of which nothing is known yet."""
        if stage != self._stage:
            self._speed = ""
        if stage == "survey":
            self._moved = self._inertia = ""
        self._stage, self._share, self._left = stage, "", ""
        self._bar.n = 0

    def _advance(self, event: PassAdvanced) -> None:
        """Say how far a stage is, whether or not it was told when it began."""
        stage = _stage_of(event.name)
        if stage != self._stage:
            self._enter(stage)
        self._bar.n = event.fraction
        what = "rows" if event.n_rows is not None else "blocks"
        self._share = f"{event.fraction:.0%} of the {what}"
        if event.bytes_done and event.seconds:
            self._speed = tqdm.format_sizeof(event.bytes_done / event.seconds, "B/s")
        left = math.ceil(event.seconds * (1 / event.fraction - 1)) if event.fraction else 0
        self._left = f"{tqdm.format_interval(left)} left" if left else ""

    def _draw(self) -> None:
        """Draw the line; passes over rows in memory may be hundreds a second."""
        stage, moved = self._stage, ""
        if stage in _NUMBERED:
            stage += f" {self._iteration}" + ("" if self._of is None else f"/{self._of}")
            moved = self._moved
        # What comes last is cut where a terminal is narrow. A bar without width makes tqdm do so
        # in any version.
        bar = " |{bar}| " if self._share else "{bar:0}, "
        said = ", ".join(filter(None, [stage, moved, self._share]))
        rest = ", ".join(filter(None, [self._speed, self._left, self._inertia]))
        self._bar.bar_format = f"{said}{bar}{rest} [{{elapsed}}]" if rest else said + "{bar:0}"
        self._bar.refresh()
        self._drawn = time.monotonic()
