"""What a process remembers of the rows of a block between passes.

It is a cache of what can be computed again: a task that does not find it, because the block moved
to another process or a worker died, makes it anew from the centers of the pass before.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from daskmeans.typing import Array, Labels

# Fits whose rows are remembered at the same time in one process. A fit that fails leaves its own
# behind in other processes than its driver's, where those after it push them out.
_MOST_FITS = 4


@dataclass(frozen=True)
class StateKey:
    """Whose rows are remembered: a fit, and which of its restarts."""

    fit: str
    restart: int


@dataclass
class RowState:
    """What is known of the rows of a block.

    Attributes
    ----------
    labels : ndarray of shape (r,), int32
        Nearest of the centers of pass `step`.
    margin : ndarray of shape (r,), float32, or of shape (0,) without bounds
    lower : ndarray of shape (g, r), float32, or (1, 0) for less than two groups
        Bounds, see `kernels.bounds`.
    heads : ndarray of shape (r, e), float32, or None
        See `kernels.heads`; None where there are none, or none yet.
    step : int
        Number of the pass that wrote them; 0 while nothing is known.
    bounded_since : int
        Pass at which the drift started that the bounds are kept with; 0 without bounds.
    rest : int
        Passes for which bounds are not looked at, since they were of no use lately.
    patience : int
        For how many passes the next rest will be.
    joined : tuple of int
        Which blocks the rows are of, see `blocks.block.Block`.
    """

    labels: Labels
    margin: Array
    lower: Array
    heads: Array | None = None
    step: int = 0
    bounded_since: int = 0
    rest: int = 0
    patience: int = 0
    joined: tuple[int, ...] = ()

    @classmethod
    def unknown(cls, n_rows: int, joined: tuple[int, ...] = ()) -> RowState:
        return cls(
            np.empty(n_rows, np.int32),
            np.empty(0, np.float32),
            np.empty((1, 0), np.float32),
            joined=joined,
        )

    def make_room(self, n_groups: int) -> None:
        """Make arrays for bounds, or free them: `n_groups` is 0 where none are kept."""
        n_margins = len(self.labels) if n_groups else 0
        shape = (max(1, n_groups), n_margins if n_groups > 1 else 0)
        if self.lower.shape != shape or len(self.margin) != n_margins:
            self.margin = np.empty(n_margins, np.float32)
            self.lower = np.empty(shape, np.float32)
            self.bounded_since = 0


def bytes_a_row(n_groups: int, head_size: int = 0) -> int:
    """Return what is remembered of a row: label, margin, a bound for each of several groups, or
    instead of these its head."""
    return 4 + 4 * (n_groups > 0) + 4 * max(n_groups * (n_groups > 1), head_size)


# By fit, number of the block, and restart: a pass lets go of one block after the other.
_remembered: OrderedDict[str, dict[int, dict[int, RowState]]] = OrderedDict()
_lock = threading.Lock()


def remembered(
    key: StateKey, block_number: int, n_rows: int, joined: tuple[int, ...] = ()
) -> RowState:
    """Return what this process knows of a block's rows, to be read and written by one task.

    Nothing where other rows went by that number: of another length, or joined from other blocks.
    """
    with _lock:
        blocks = _remembered.setdefault(key.fit, {})
        _remembered.move_to_end(key.fit)
        while len(_remembered) > _MOST_FITS:
            _remembered.popitem(last=False)
        restarts = blocks.setdefault(block_number, {})
        state = restarts.get(key.restart)
        if state is None or len(state.labels) != n_rows or state.joined != joined:
            state = RowState.unknown(n_rows, joined)
            restarts[key.restart] = state
        return state


def forget(fit: str, block_number: int | None = None) -> None:
    """Let go what is known of a fit's rows, or of one block of them."""
    with _lock:
        if block_number is None:
            _remembered.pop(fit, None)
        elif fit in _remembered:
            blocks = _remembered[fit]
            blocks.pop(block_number, None)
            if not blocks:
                del _remembered[fit]


def forget_all() -> None:
    """Let go what is known of any rows: for a process that goes on to other work."""
    with _lock:
        _remembered.clear()


@contextmanager
def new_fit() -> Iterator[str]:
    """Context of a fit: a name for it, under which nothing stays in this process afterwards."""
    fit = uuid.uuid4().hex
    try:
        yield fit
    finally:
        forget(fit)
