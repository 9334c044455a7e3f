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

import numpy as np

from daskmeans.kernels.compile import inlined, summed_in_any_order
from daskmeans.kernels.prefetching import prefetch_row
from daskmeans.kernels.row_scores import ROWS_AT_ONCE, best_of_others
from daskmeans.kernels.scratch import scratch
from daskmeans.kernels.strip_bounds import KEPT_DOWN, SLACK, TINY, strip_bounds

# A row's memory is asked for while rows of so many bytes before it are measured, or so many rows.
_BYTES_AHEAD, _ROWS_AHEAD = 4096, 8


@inlined
def kept_margin(gap, own, gone):
    """Return what is stored of a gap beyond own distance `own`, at a label's drift `gone`."""
    return (gap - np.float32(SLACK) * (own + gone)) + gone


@inlined
def _kept_bound(bound, gone):
    """Return what is stored of a lower bound, at a group's drift `gone`."""
    return (bound + gone) * np.float32(KEPT_DOWN)


@inlined
def strip_scratch(rows_a_strip, n_groups):
    """Make room for `keep_strip_bounds`."""
    lower = scratch((n_groups, rows_a_strip), np.float32)
    least, upper = scratch(rows_a_strip, np.float32), scratch(rows_a_strip, np.float32)
    positions = scratch(rows_a_strip, np.int32)
    for i in range(rows_a_strip):
        positions[i] = 0
    return lower, least, upper, positions


@inlined
def keep_strip_bounds(
    scores,  # IN    ((1 + 2 g) * rows_a_strip,) of `nearest_in_strip`
    doubtful,  # IN    a bit per row
    labels,  # IN    (>= at + n_rows,) int32
    at,  # IN    first of the strip's labels
    chosen,  # IN    (rows_a_strip,) int64, numbers of its rows
    consecutive,  # IN    they are consecutive
    n_rows,  # IN    rows that count
    first,  # IN    place of row 0 in margin and lower
    places,  # IN    (k,) int32, positions of PackedCenters with g groups
    bound,  # IN    (6,) dtype of rows, bound of the same
    n_groups,  # IN    g
    centers_a_group,  # IN
    room,  # OUT   of `strip_scratch`
    bounds,  # INOUT Bounds
):
    """Turn the scores of a strip into bounds, and keep them."""
    lower, least, upper, positions = room
    rows_a_strip = least.size
    several = n_groups > 1
    for i in range(n_rows):
        # A single group holds every place.
        positions[i] = places[labels[at + i]] if several else 0
    # A row decided by the definition need not have the best score: none is taken for its own.
    left, i = doubtful, 0
    while left != 0 and i < n_rows:
        if left & np.uint64(1):
            positions[i] = -1
        left >>= np.uint64(1)
        i += 1
    # Where a strip's rows are consecutive its bounds go to their place at once. Of a single group
    # they are not kept: all of it is looked at whenever the margin does not tell.
    at_once = several and consecutive and n_rows == rows_a_strip
    strip_bounds(
        scores,
        bound,
        positions,
        n_groups,
        centers_a_group,
        bounds.group_drift,
        bounds.lower if at_once else lower,
        first + chosen[0] if at_once else 0,
        least,
        upper,
    )
    for i in range(n_rows):
        gone = bounds.label_drift[labels[at + i]]
        least[i] = kept_margin(least[i] - upper[i], upper[i], gone)
    for i in range(n_rows):
        bounds.margin[first + chosen[i]] = least[i]
    if several and not at_once:
        for g in range(n_groups):
            for i in range(n_rows):
                bounds.lower[g, first + chosen[i]] = lower[g, i]


@inlined
def drifting_rows(margin, labels, label_drift, first, n_rows, drifting):
    """Write to `drifting` the rows of n_rows from `first` that may have a new nearest center."""
    count = 0
    for i in range(n_rows):
        drifting[count] = i
        count += not (margin[first + i] > label_drift[labels[first + i]])
    return count


@summed_in_any_order
def _shifted_and_distance(row, shift, center, shifted):
    """Write `row - shift`; return its squares' sum and that of its differences from `center`."""
    sq_norm = shifted.dtype.type(0)
    sq_distance = shifted.dtype.type(0)
    for f in range(row.size):
        y = row[f] - shift[f]
        shifted[f] = y
        sq_norm += y * y
        difference = y - center[f]
        sq_distance += difference * difference
    return sq_norm, sq_distance


@inlined
def search_scratch(rows_a_chunk, n_features, dtype):
    """Make room for `search_groups`."""
    m = rows_a_chunk
    drifting, near = scratch(m + 1, np.int32), scratch(m + 1, np.int32)
    positions = scratch(m, np.int32)
    shifted = scratch((m, n_features), dtype)
    sq_norms, sq_distances = scratch(m, dtype), scratch(m, dtype)
    best = scratch(m + ROWS_AT_ONCE, dtype)
    upper, least = scratch(m, np.float32), scratch(m, np.float32)
    return drifting, near, positions, shifted, sq_norms, sq_distances, best, upper, least


@inlined
def search_groups(
    rows,  # IN    (r, d)
    start,  # IN    row of the chunk's first
    n_rows,  # IN    rows of the chunk
    first,  # IN    place of the chunk's first row in labels and bounds
    labels,  # IN    (R,) int32
    bounds,  # INOUT Bounds
    packed,  # IN    PackedCenters with g groups
    centers_a_group,  # IN
    room,  # OUT   of `search_scratch`
    changed,  # OUT   (n_rows,) int32: rows of the chunk that may have a new nearest center
):
    """Look at the groups of centers that may hold a nearer one than a row's own.

    Returns
    -------
    n_changed : rows written to `changed`; of all others the margin is renewed
    n_distances : distances measured
    """
    # A group at a time over the rows that have to look at it: its centers stay in the first-level
    # cache, and eight rows are scored at once.
    drifting, near, positions, shifted, sq_norms, sq_distances, best, upper, least = room
    offsets = sq_norms
    margin, lower, label_drift, group_drift = bounds
    count = drifting_rows(margin, labels, label_drift, first, n_rows, drifting)
    b0, b1, b2, b3 = packed.row_bound[:4]
    number = rows.dtype.type
    zero, down = number(0), number(1 - SLACK)
    tiny, infinity = np.float32(TINY), np.float32(np.inf)
    up, above, floor = number(1 + SLACK), number(1) + b3, number(1e-17)
    unit = b3 / number(rows.shape[1] + 8)  # above twice the unit of rounding
    largest = b1 / b3  # at least the norm of the longest shifted center
    ahead = max(_ROWS_AHEAD, _BYTES_AHEAD // (rows.shape[1] * rows.itemsize))
    # Taken out of the loops: numba counts references to what is taken out of a tuple inside of one.
    shift, shifted_centers, places = packed.shift, packed.shifted, packed.positions
    for t in range(min(ahead, count)):
        prefetch_row(rows, start + drifting[t])
    for t in range(count):
        i = drifting[t]
        label = labels[first + i]
        prefetch_row(rows, start + drifting[min(t + ahead, count - 1)])
        sq_norms[t], sq_distances[t] = _shifted_and_distance(
            rows[start + i], shift, shifted_centers[label], shifted[t]
        )
        positions[t] = places[label]
    for t in range(count):
        norm = np.sqrt(sq_norms[t])
        # A lower bound's square is this plus twice the score. It takes the place of the norm.
        offsets[t] = sq_norms[t] - (b0 + b1 * norm + (b2 + b3) * sq_norms[t])
        distance = np.sqrt(sq_distances[t]) * above + (unit * (norm + largest) + floor)
        upper[t] = np.float32(distance * up) + tiny
        least[t] = infinity
    n_distances = count
    center_lanes = packed.lanes
    for g in range(packed.n_groups):
        gone = group_drift[g]
        m = 0
        for t in range(count):
            bound = lower[g, first + drifting[t]] - gone
            fails = not (bound > upper[t])
            near[m] = t
            m += fails
            # Without a branch, which no processor could predict.
            least[t] = min(least[t], infinity if fails else bound)
        if m == 0:
            continue
        n_distances += m * centers_a_group
        best_of_others(shifted, near, m, center_lanes, g, centers_a_group, positions, best)
        for e in range(m):
            t = near[e]
            square = offsets[t] + (best[e] + best[e])
            bound = np.float32(np.sqrt(max(square, zero)) * down) - tiny
            lower[g, first + drifting[t]] = _kept_bound(bound, gone)
            if bound > upper[t]:
                least[t] = min(least[t], bound)
            else:
                upper[t] = -1.0  # to be labelled anew: looks at no other group
    n_changed = 0
    for t in range(count):
        i = drifting[t]
        if upper[t] < 0:
            changed[n_changed] = i
            n_changed += 1
        else:
            gone = label_drift[labels[first + i]]
            margin[first + i] = kept_margin(least[t] - upper[t], upper[t], gone)
    return n_changed, n_distances
