"""Bounds that tell which rows cannot have changed their nearest center, and of the others which
groups of centers to look at.

For each row the block keeps a label, a lower bound on the distance to every *other* center of each
group (Ding et al., "Yinyang k-means", 2015), and a margin: the least of these bounds less an upper
bound on the distance to the row's own center (Hamerly, "Making k-means even faster", 2010). Bounds
are not updated as centers move. They are stored plus the drift that the centers had when they were
made, the drift being the length of the way that a center, or the fastest center of a group, has
gone so far; what it has gone since is the difference. So a row that stays costs one comparison.

Every bound is rounded outwards: a row is left out only where the definition of its label (see
`assign`) cannot give another one. `tests/kernels/test_bounds.py` compares them bit by bit.
"""

from __future__ import annotations

from math import sqrt

import numba
import numpy as np

from daskmeans.kernels.compile import inlined
from daskmeans.kernels.row_scores import best_of_others

# Outward rounding: a relative slack above a few roundings of float32 (which also covers those of
# the float64 definition), and an absolute one above its underflow.
_SLACK = 2.0**-20
_TINY = 1e-30


@inlined
def strip_bounds(
    scores,  # IN  ((1 + 2 g) * rows_a_strip,) of `nearest_in_strip`
    doubtful,  # IN  a bit per row
    labels,  # IN  (rows_a_strip,) int32
    n_rows,  # IN  rows that count
    rows_a_strip,  # IN
    packed,  # IN  PackedCenters with g groups
    centers_a_group,  # IN
    lower,  # OUT (g, rows_a_strip) float32: lower bounds
    margin,  # OUT (rows_a_strip,) float32
    upper,  # OUT (rows_a_strip,) float32 scratch: upper bounds on the distance to the own center
    error,  # OUT (rows_a_strip,) dtype of rows, scratch
    group,  # OUT (rows_a_strip,) int32 scratch: group of the own center
):
    """Turn the scores of a strip into bounds."""
    # Rows along the lanes, one group after the other.
    b0, b1, b2, b3 = packed.bound
    number = scores.dtype.type
    zero, down, up = number(0), number(1 - _SLACK), number(1 + _SLACK)
    tiny, slack = np.float32(_TINY), np.float32(_SLACK)
    for i in range(n_rows):
        norm = scores[i]
        limit = b0 + b1 * np.sqrt(norm) + b2 * norm
        error[i] = limit + b3 * norm
        group[i] = packed.positions[labels[i]] // centers_a_group
        upper[i] = np.inf
        margin[i] = np.inf
    # A row decided by the definition need not have the best score: none is taken for its own.
    left, i = doubtful, 0
    while left != 0 and i < n_rows:
        if left & np.uint64(1):
            group[i] = -1
        left >>= np.uint64(1)
        i += 1
    for g in range(packed.n_groups):
        best = scores[(1 + 2 * g) * rows_a_strip :]
        second = scores[(2 + 2 * g) * rows_a_strip :]
        for i in range(n_rows):
            own = group[i] == g
            score = second[i] if own else best[i]
            square = scores[i] + (score + score) - error[i]
            bound = np.float32(np.sqrt(max(square, zero)) * down) - tiny
            lower[g, i] = bound
            margin[i] = min(margin[i], bound)
            square = scores[i] + (best[i] + best[i]) + error[i]
            above = np.float32(np.sqrt(max(square, zero)) * up) + tiny
            upper[i] = above if own else upper[i]
    for i in range(n_rows):
        margin[i] = (margin[i] - upper[i]) - slack * upper[i]


@inlined
def drifting_rows(margin, labels, label_drift, first, n_rows, chosen):
    """Write to `chosen` the rows of n_rows from `first` that may have a new nearest center."""
    count = 0
    for i in range(n_rows):
        chosen[count] = i
        count += not (margin[first + i] > label_drift[labels[first + i]])
    return count


@numba.njit(
    nogil=True, error_model="numpy", forceinline=True, fastmath={"reassoc", "contract", "nsz"}
)
def _shifted_and_distance(row, shift, center, shifted):
    """Write `row - shift`; return its squares' sum and that of its differences from `center`."""
    # The order of these sums is the compiler's choice. They feed bounds alone, whose slack covers
    # any order.
    sq_norm = row[0] * 0
    sq_distance = row[0] * 0
    for f in range(row.size):
        y = row[f] - shift[f]
        shifted[f] = y
        sq_norm += y * y
        difference = y - center[f]
        sq_distance += difference * difference
    return sq_norm, sq_distance


@inlined
def search_groups(
    rows,  # IN    (r, d)
    start,  # IN    row of the chunk's first
    first,  # IN    place of the chunk's first row in labels, margin and lower
    chosen,  # IN    (m,) int32 rows of the chunk to look at
    count,  # IN    how many
    labels,  # IN    (R,) int32
    margin,  # INOUT (R,) float32
    lower,  # INOUT (g, R) float32
    packed,  # IN    PackedCenters with g groups
    centers_a_group,  # IN
    label_drift,  # IN    (k,) float32
    group_drift,  # IN    (g,) float32
    shifted,  # OUT   (m, d) scratch
    offsets,  # OUT   (m,) dtype of rows, scratch
    upper,  # OUT   (m,) float32 scratch
    least,  # OUT   (m,) float32 scratch
    positions,  # OUT   (m,) int32 scratch
    near,  # OUT   (m,) int32 scratch
    best,  # OUT   (m + 8,) dtype of rows, scratch
    changed,  # OUT   (m,) int32: rows of the chunk that may have a new nearest center
):
    """Look at the groups that may hold a nearer center than a row's own.

    Returns
    -------
    n_changed : rows written to `changed`; of all others the margin is renewed
    n_distances : distances measured
    """
    # A group at a time over the rows that have to look at it: its centers stay in the first-level
    # cache, and eight rows are scored at once.
    d = rows.shape[1]
    b0, b1, b2, b3 = packed.bound
    number = rows.dtype.type
    zero, down = number(0), number(1 - _SLACK)
    tiny, slack, stored = np.float32(_TINY), np.float32(_SLACK), np.float32(1 - _SLACK / 4)
    infinity = np.float32(np.inf)
    unit = np.float64(b3) / (d + 8)  # above twice the unit of rounding
    largest = np.float64(b1) / np.float64(b3)  # at least the norm of the longest shifted center
    for t in range(count):
        i = chosen[t]
        label = labels[first + i]
        sq_norm, sq_distance = _shifted_and_distance(
            rows[start + i], packed.shift, packed.shifted[label], shifted[t]
        )
        # A lower bound's square is this plus twice the score.
        offsets[t] = sq_norm - (b0 + b1 * np.sqrt(sq_norm) + (b2 + b3) * sq_norm)
        positions[t] = packed.positions[label]
        distance = sqrt(np.float64(sq_distance)) * (1.0 + np.float64(b3))
        distance += unit * (sqrt(np.float64(sq_norm)) + largest) + 1e-17
        upper[t] = np.float32(distance * (1 + _SLACK) + _TINY)
        least[t] = np.inf
    n_distances = count
    for g in range(packed.n_groups):
        gone = group_drift[g]
        m = 0
        for t in range(count):
            bound = lower[g, first + chosen[t]] - gone
            fails = not (bound > upper[t])
            near[m] = t
            m += fails
            # Without a branch, which no processor could predict.
            least[t] = min(least[t], infinity if fails else bound)
        if m == 0:
            continue
        n_distances += m * centers_a_group
        best_of_others(shifted, near, m, packed.lanes, g, centers_a_group, positions, best)
        for e in range(m):
            t = near[e]
            square = offsets[t] + (best[e] + best[e])
            bound = np.float32(np.sqrt(max(square, zero)) * down) - tiny
            # Rounding must not raise the stored bound either.
            lower[g, first + chosen[t]] = (bound + gone) * stored
            if bound > upper[t]:
                least[t] = min(least[t], bound)
            else:
                upper[t] = -1.0  # to be labelled anew: looks at no other group
    n_changed = 0
    for t in range(count):
        i = chosen[t]
        if upper[t] < 0:
            changed[n_changed] = i
            n_changed += 1
        else:
            gap = least[t] - upper[t]
            gone = label_drift[labels[first + i]]
            gap -= slack * (upper[t] + gone)
            margin[first + i] = gap + gone
    return n_changed, n_distances
