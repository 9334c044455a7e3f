"""Heads of rows: short vectors that lie no farther from each other than the rows do, by which most
centers are ruled out before any distance to them is measured.

The *head* of a shifted row y is (q_1.y, ..., q_p.y, |tail|): its coordinates along p orthonormal
axes, and the length of what is left of it. For two rows, |tail - tail'| is at least
||tail| - |tail'|| (Cauchy and Schwarz), so the distance of their heads is a lower bound on the
distance of the rows, and a tight one where the axes hold most of the variance. Only centers
whose head lies within an upper bound on the distance to the nearest center are measured in all
features. (Partial distances over rotated features: Chen et al., "Marigold", 2023; superkmeans does
the same with an approximate bound.)

Every bound is rounded outwards and near ties are decided by the definition of labels (see
`assign`), so heads change no label. `tests/kernels/test_heads.py` compares them bit by bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from daskmeans.kernels.assign import PackedCenters, label_block
from daskmeans.kernels.bounds import drifting_rows, kept_margin
from daskmeans.kernels.compile import inlined, kernel, rarely_called, summed_in_any_order
from daskmeans.kernels.definition import nearest_by_definition
from daskmeans.kernels.head_projection import ROWS_A_CHUNK, shift_row
from daskmeans.kernels.head_scores import HEAD_LANES, within_reach
from daskmeans.kernels.labelled_sums import sum_labelled
from daskmeans.kernels.lloyd import (
    CLEAN,
    MOST_DISTANCES,
    NOT_FINITE,
    OUT_OF_RANGE,
    Bounds,
    lloyd_block,
)
from daskmeans.kernels.moved_rows import move_rows, room_to_wait, wait_to_move
from daskmeans.kernels.prefetching import prefetch_row
from daskmeans.kernels.row_scores import ROWS_AT_ONCE
from daskmeans.kernels.strip_bounds import SLACK, TINY
from daskmeans.kernels.vector import GROUP_CENTERS
from daskmeans.typing import Array, Labels

# A distance to one center takes as long as this many in a register tile.
PAIR_COST = 3


class Heads(NamedTuple):
    """Heads of a block's rows and of the centers."""

    rows: Array  # (R, p + 1) float32
    centers: PackedCenters  # heads of the centers, in groups of GROUP_CENTERS
    error: float  # a head is off by at most this times the length of the shifted row


@summed_in_any_order
def _distance(shifted, center):
    """Return the distance of two rows."""
    total = shifted.dtype.type(0)
    for f in range(shifted.size):
        difference = shifted[f] - center[f]
        total += difference * difference
    return np.float64(np.sqrt(total))


@inlined
def _at_most(distance, relative, spread):
    """Return an upper bound on a distance as it was computed."""
    bound = distance * ((1 + relative) * (1 + SLACK)) + spread
    return bound if bound >= 0 else np.inf  # NaN is no bound


@inlined
def _at_least(distance, relative, spread):
    """Return a lower bound on a distance as it was computed."""
    bound = distance * ((1 - relative) * (1 - SLACK)) - spread
    return bound if bound >= 0 else 0.0


@rarely_called
def _nearest_of_reached(rows, i, packed, shifted, nearest, reached, upper, relative, spread):
    """Label row i by the definition: `nearest`, or a center reached within an upper bound."""
    transposed = packed.transposed
    d, k = transposed.shape
    label, least = -1, np.inf
    for j in range(k):
        if j != nearest:
            if not (reached[j // GROUP_CENTERS] >> np.uint16(j % GROUP_CENTERS)) & np.uint16(1):
                continue
            if _at_least(_distance(shifted, packed.shifted[j]), relative, spread) > upper:
                continue
        square = 0.0
        for f in range(d):
            difference = np.float64(rows[i, f]) - transposed[f, j]
            square += difference * difference
        if label < 0 or square < least:
            label, least = j, square
    return label


@kernel
def _label_by_heads(
    rows,  # IN    (r, d) float32 or float64, C order
    packed,  # IN    PackedCenters, in one group
    labels,  # IN    (R,) int32, the better the guess the less is measured
    first,  # IN    place of the first row in labels, margin and heads
    margin,  # INOUT (R,) float32
    label_drift,  # IN    (k,) float32
    bounded,  # IN    the margins hold for the labels
    heads,  # IN    Heads
    found,  # OUT   (r,) int32, new labels
):
    """Label rows until it turns out that most distances have to be measured.

    Returns
    -------
    n_done : rows labelled
    bad_row : a row that is not finite, or -1
    n_rows_searched, n_distances : rows whose heads were compared, distances measured
    """
    n_rows, d = rows.shape
    k = packed.transposed.shape[1]
    n_head, n_groups = heads.rows.shape[1], heads.centers.n_groups
    m = ROWS_A_CHUNK
    searched, numbers = np.empty(m + 1, np.int32), np.empty(m, np.int32)
    shifted = np.empty((m, d), rows.dtype)
    limits, offsets = np.empty(m, np.float32), np.empty(m, np.float64)
    own, norms = np.empty(m, np.float64), np.empty(m, np.float64)
    reached = np.empty((m + ROWS_AT_ONCE, n_groups), np.uint16)
    beyond = np.empty((m + ROWS_AT_ONCE) * HEAD_LANES, np.float32)
    all_distances = np.empty(k, np.float64)

    b1, relative = np.float64(packed.row_bound[1]), np.float64(packed.row_bound[3])
    unit = relative / (d + 8)  # above twice the unit of rounding
    largest = b1 / relative  # at least the norm of the longest shifted center
    head_bound = heads.centers.row_bound
    h0, h1 = np.float64(head_bound[0]), np.float64(head_bound[1])
    h2 = np.float64(head_bound[2]) + np.float64(head_bound[3])
    n_searched, n_distances = 0, 0
    for start in range(0, n_rows, m):
        in_chunk = min(m, n_rows - start)
        if bounded:
            count = drifting_rows(margin, labels, label_drift, first + start, in_chunk, searched)
        else:
            count = in_chunk
            for i in range(count):
                searched[i] = i
        for i in range(in_chunk):
            found[start + i] = labels[first + start + i]
        if count == 0:
            continue
        for t in range(count):
            i = start + searched[t]
            # Two rows of so many features are as much as may be on its way at a time.
            prefetch_row(rows, start + searched[min(t + 2, count - 1)])
            numbers[t] = first + i
            norms[t] = np.sqrt(shift_row(rows[i], packed.shift, shifted[t]))
            own[t] = _distance(shifted[t], packed.shifted[labels[first + i]])
            spread = unit * (norms[t] + largest) + TINY
            sq_head = 0.0
            for f in range(n_head):
                x = np.float64(heads.rows[first + i, f])
                sq_head += x * x
            # Twice a score of heads plus this is at most the square of their distance.
            offsets[t] = sq_head - (h0 + h1 * np.sqrt(sq_head) + h2 * sq_head)
            reach = _at_most(own[t], relative, spread) + heads.error * (norms[t] + largest)
            reach *= 1 + 4 * SLACK
            limit = np.float32((reach * reach - offsets[t]) / 2)
            limits[t] = limit + abs(limit) * np.float32(SLACK) + np.float32(TINY)
        beyond[:] = np.inf
        within_reach(
            heads.rows, numbers, count, heads.centers.lanes, n_groups, limits, reached, beyond
        )
        n_searched += count
        n_near = 0
        for t in range(count):
            for g in range(n_groups):
                bits = reached[t, g]
                while bits:
                    bits &= bits - np.uint16(1)
                    n_near += 1
        n_distances += n_near
        cost = n_searched * k * (n_head / d) + PAIR_COST * n_distances
        if n_searched >= m and cost > MOST_DISTANCES * n_searched * k:
            return start, np.int64(-1), n_searched, n_distances - n_near
        for t in range(count):
            i = start + searched[t]
            label, distance = labels[first + i], own[t]
            if not np.isfinite(norms[t]):
                label = nearest_by_definition(rows, i, packed.transposed, all_distances)
                if label < 0:
                    return start, np.int64(i), n_searched, n_distances
                found[i] = label
                margin[first + i] = -np.inf
                continue
            spread = unit * (norms[t] + largest) + TINY
            least = np.float32(np.inf)
            for lane in range(HEAD_LANES):
                least = min(least, beyond[t * HEAD_LANES + lane])
            square = offsets[t] + 2 * np.float64(least)
            others = _at_least(
                np.sqrt(max(square, 0.0)), 0.0, heads.error * (norms[t] + largest) + TINY
            )
            for g in range(n_groups):
                bits = reached[t, g]
                j = g * GROUP_CENTERS
                while bits:
                    if bits & np.uint16(1) and j != labels[first + i] and j < k:
                        other = _distance(shifted[t], packed.shifted[j])
                        if other < distance:
                            label, distance, other = j, other, distance
                        others = min(others, _at_least(other, relative, spread))
                    bits >>= np.uint16(1)
                    j += 1
            upper = _at_most(distance, relative, spread)
            if others > upper:
                margin[first + i] = kept_margin(
                    np.float32(others) - np.float32(upper), np.float32(upper), label_drift[label]
                )
            else:
                label = _nearest_of_reached(
                    rows, i, packed, shifted[t], label, reached[t], upper, relative, spread
                )
                margin[first + i] = -np.inf
            found[i] = label
    return n_rows, np.int64(-1), n_searched, n_distances


@kernel
def _move_changed(
    rows,  # IN    (r, d)
    weights,  # IN    (r,) or (1,) float64
    found,  # IN    (>= r,) int32, new labels
    shift,  # IN    (s,) float64
    scale,  # IN    (s,) float64
    sums,  # INOUT (k, s) int64
    labels,  # INOUT (R,) int32
    first,  # IN    place of the first row in labels
):
    """Move rows whose label is new; return how many, and whether one is out of range."""
    waiting = room_to_wait(rows, True)
    n_waiting, n_changed = np.int64(0), 0
    strange = np.uint64(0)
    for i in range(rows.shape[0]):
        if found[i] == labels[first + i]:
            continue
        n_waiting = wait_to_move(rows, i, weights, found[i], labels, first + i, waiting, n_waiting)
        n_changed += 1
        if n_waiting == waiting[0].shape[0]:
            strange |= move_rows(waiting, n_waiting, shift, scale, sums)
            n_waiting = np.int64(0)
    if n_waiting > 0:
        strange |= move_rows(waiting, n_waiting, shift, scale, sums)
    return n_changed, strange != 0


def lloyd_block_by_heads(
    rows: Array,
    weights: Array,
    packed: PackedCenters,
    shift: Array,
    scale: Array,
    sums: Array,
    labels: Labels,
    *,
    heads: Heads,
    bounds: Bounds,
    first: int = 0,
    counted: bool = False,
    bounded: bool = False,
) -> tuple[int, int, int, int]:
    """Do what `lloyd.lloyd_block` does, and measure only distances that heads do not rule out.

    Where they rule too little out the rest of the rows goes there.

    Parameters
    ----------
    rows, weights, packed, shift, scale, sums, labels, first, counted, bounded : see `lloyd_block`
        The centers are all in one group.
    heads : Heads
        From place `first` on of these rows.
    bounds : Bounds; its margin is overwritten

    Returns
    -------
    status, row, n_changed, n_distances : as of `lloyd_block`
        Comparing heads of p + 1 numbers counts as (p + 1) / d of a distance.
    """
    d, n_head = rows.shape[1], heads.rows.shape[1]
    found = np.empty(len(rows), np.int32)
    done = n_searched = n_distances = 0
    # Any guess will do for a first label, and the nearest head is a good one. It fails for rows
    # that are not finite, which `lloyd_block` tells of.
    if counted or label_block(heads.rows[first:][: len(rows)], heads.centers, labels[first:]) < 0:
        done, bad_row, n_searched, n_distances = _label_by_heads(
            rows, packed, labels, first, bounds.margin, bounds.label_drift, bounded, heads, found
        )
        if bad_row >= 0:
            return NOT_FINITE, int(bad_row), 0, 0
    n_compared = n_searched + (0 if counted else len(rows))
    n_distances += -(-n_compared * len(packed.shifted) * n_head // d)
    n_changed, strange = done, False
    if counted:
        n_changed, strange = _move_changed(
            rows[:done], weights, found, shift, scale, sums, labels, first
        )
    elif done:
        labels[first : first + done] = found[:done]
        strange = sum_labelled(rows[:done], found, weights, shift, scale, sums) != CLEAN
    if strange:
        return OUT_OF_RANGE, -1, int(n_changed), int(n_distances)
    if done == len(rows):
        return CLEAN, -1, int(n_changed), int(n_distances)
    status, row, more_changed, measured = lloyd_block(
        rows[done:],
        weights[done:] if len(weights) > 1 else weights,
        packed,
        shift,
        scale,
        sums,
        labels,
        first=first + done,
        counted=counted,
        bounds=bounds,
        bounded=bounded,
    )
    row = row + done if row >= 0 else row
    return status, row, int(n_changed) + more_changed, int(n_distances) + measured
