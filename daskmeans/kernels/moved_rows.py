"""Rows whose label is new: they wait, and move from the sums of one cluster to those of another."""

from __future__ import annotations

import numpy as np

from daskmeans.kernels.compile import inlined, rarely_called
from daskmeans.kernels.quantised_sums import add_rows
from daskmeans.kernels.scratch import scratch

# Rows that wait stay in the first-level cache.
_WAITING_BYTES = 16 << 10


@inlined
def room_to_wait(
    rows,  # IN  (r, d) float32 or float64
    moves,  # IN  whether there are rows to move
):
    """Make room for rows that wait: the rows, weights, old labels and new ones of a few."""
    d = rows.shape[1]
    capacity = max(8, min(128, _WAITING_BYTES // (d * rows.itemsize))) if moves else 0
    old, new = scratch(capacity, np.int32), scratch(capacity, np.int32)
    return scratch((capacity, d), rows.dtype), scratch(capacity, np.float64), old, new


@inlined
def wait_to_move(
    rows,  # IN    (r, d) float32 or float64, C order
    i,  # IN    number of the row
    weights,  # IN    (r,) float64, or (1,) for one weight
    label,  # IN    its new label
    labels,  # INOUT (R,) int32
    place,  # IN    place of the row in labels
    waiting,  # INOUT of `room_to_wait`
    n_waiting,  # IN    int64, rows that wait already: fewer than there is room for
):
    """Label a row anew, and let it wait; return how many rows wait."""
    some_rows, some_weights, old, new = waiting
    for f in range(rows.shape[1]):
        some_rows[n_waiting, f] = rows[i, f]
    some_weights[n_waiting] = weights[i if weights.size > 1 else 0]
    old[n_waiting] = labels[place]
    new[n_waiting] = label
    labels[place] = label
    return n_waiting + 1


@rarely_called
def move_rows(
    waiting,  # IN    of `room_to_wait`
    n_waiting,  # IN    int64, rows that wait
    shift,  # IN    (s,) float64, zero past d
    scale,  # IN    (s,) float64 powers of two
    sums,  # INOUT (k, s) int64
):
    """Take rows from the sums of their old clusters to those of their new ones; see `add_rows`."""
    # A function for the places that call it: `add_rows` is compiled into each that it is in.
    some_rows, some_weights, old, new = waiting
    return add_rows(some_rows, 0, n_waiting, new, old, some_weights, shift, scale, sums)
