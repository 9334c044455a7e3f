"""A line that tells how far long work is: pass, iteration, inertia and center shift."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from daskmeans.passes.events import Event, IterationEnded, PassEnded, PassStarted, observing


@contextmanager
def progress_bar(max_iter: int | None = None) -> Iterator[None]:
    """Show a bar that counts iterations while the work inside of the context runs.

    On a terminal only: in a log it would be thousands of lines.

    Parameters
    ----------
    max_iter : int, optional
        Where the bar ends, unless the work converges before.
    """
    with tqdm(total=max_iter, unit=" iterations", disable=None, leave=False) as bar:
        told: dict[str, Any] = {}

        def observe(event: Event) -> None:
            if isinstance(event, PassStarted):
                bar.set_description(f"{event.name}, {event.n_blocks} blocks", refresh=False)
            elif isinstance(event, PassEnded):
                told["pass"] = f"{event.seconds:.2f} s"
            elif isinstance(event, IterationEnded):
                told["inertia"] = f"{event.inertia:.6g}"
                told["shift"] = f"{event.center_shift:.3g}"
            bar.set_postfix(told, refresh=False)
            if isinstance(event, IterationEnded):
                bar.update()  # last, since it is what draws the line

        with observing(observe):
            yield
