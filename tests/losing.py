"""What is remembered of rows is lost between iterations, as when a worker dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from daskmeans.blocks import row_state
from daskmeans.passes.events import IterationEnded, observing


@contextmanager
def losing_row_state(n_blocks: int) -> Iterator[set[str]]:
    """After each iteration all is lost, or a block, or a task stopped halfway, or nothing.

    Yields what has happened, to be compared with what there is to happen.
    """
    generator = np.random.default_rng(0)
    happened: set[str] = set()

    def lose(event: object) -> None:
        if not isinstance(event, IterationEnded):
            return
        for name, blocks in list(row_state._remembered.items()):
            what = generator.choice(["all", "a block", "halfway", "nothing"])
            if what == "all":
                row_state.forget(name)
            elif what == "a block":
                row_state.forget(name, int(generator.integers(n_blocks)))
            elif what == "halfway":
                state = blocks[int(generator.integers(n_blocks))][0]
                state.step = 0
                state.labels[:] = -1
            happened.add(what)

    with observing(lose):
        yield happened


EVERYTHING = {"all", "a block", "halfway", "nothing"}
