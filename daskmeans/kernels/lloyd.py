"""The Lloyd step over one block: nearest centers and quantised cluster sums in one sweep."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from daskmeans.kernels.assign import PackedCenters, label_strip
from daskmeans.kernels.bounds import drifting_rows, search_groups, strip_bounds
from daskmeans.kernels.compile import kernel, rarely_called
from daskmeans.kernels.quantised_sums import SUM_LANES, add_rows
from daskmeans.kernels.row_scores import ROWS_AT_ONCE
from daskmeans.kernels.vector import TILE_CENTERS, strip_rows
from daskmeans.typing import Array

# Half of a first-level cache; the rest is for the tile of centers and the sums.
_GROUP_BYTES = 16 << 10
# Rows that are searched together stay in the second-level cache.
_SEARCH_BYTES = 192 << 10
# Share of all distances above which a block's bounds are not worth looking at.
MOST_DISTANCES = 0.6
_LOOKED_AT_ONCE = 16
_NO_DRIFT = np.zeros(0, np.float32)

# What a kernel that may have to stop returns beside its result.
CLEAN, NOT_FINITE, OUT_OF_RANGE = 0, 1, 2


def sums_width(n_features: int) -> int:
    """Columns of a sums array: features, padding, sum of squares, weight."""
    return -(-(n_features + 2) // SUM_LANES) * SUM_LANES


@rarely_called
def move_rows(rows, count, old, new, weights, shift, scale, sums, removed):
    """Add rows to the sums of their new cluster, and to what is taken from their old one."""
    strange = add_rows(rows, 0, count, new, weights, shift, scale, sums)
    return strange | add_rows(rows, 0, count, old, weights, shift, scale, removed)


@kernel
def _lloyd_block(
    rows,  # IN    (r, d) float32 or float64, C order
    weights,  # IN    (r,) float64, or (1,) for one weight
    packed,  # IN    PackedCenters
    shift,  # IN    (s,) float64, zero past d
    scale,  # IN    (s,) float64 powers of two
    first,  # IN    place of the first row in labels, margin and lower
    labels,  # INOUT (R,) int32
    margin,  # INOUT (R,) float32, or (0,): no bounds are kept
    lower,  # INOUT (g, R) float32
    label_drift,  # IN    (k,) float32
    group_drift,  # IN    (g,) float32
    counted,  # IN    labels hold those of the last pass, whose rows are in the sums
    bounded,  # IN    margin and lower hold bounds
    rows_a_strip,  # IN    strip_rows(dtype of rows)
    rows_a_chunk,  # IN    a multiple of it
    sums,  # INOUT (k, s) int64
):
    # A chunk of rows is labelled strip by strip and then added: its rows are still in the cache,
    # and the constants of adding are set up once a chunk, which for few features takes as long as
    # adding a strip. From the second pass on only rows that changed their label are added, to a
    # sum and to one that is taken away: a small part of the rows, copied to one place first.
    n_rows, d = rows.shape
    keeps_bounds = margin.size > 0
    strip = np.empty(packed.shift.size * rows_a_strip, rows.dtype)
    scores = np.empty((1 + 2 * packed.n_groups) * rows_a_strip, rows.dtype)
    found = np.empty(rows_a_chunk, np.int32)
    distances = np.empty(packed.transposed.shape[1], np.float64)

    removed = np.zeros((sums.shape[0] if counted else 0, sums.shape[1]), np.int64)
    capacity = rows_a_strip if counted else 0
    moved_rows = np.empty((capacity, d), rows.dtype)
    moved_weights = np.empty(max(capacity, 2), np.float64)
    moved_from = np.empty(capacity, np.int32)
    moved_to = np.empty(capacity, np.int32)
    n_moved = 0

    centers_a_group = packed.tiles_a_group * TILE_CENTERS
    m = rows_a_strip if keeps_bounds else 0
    strip_lower = np.empty((packed.n_groups, m), np.float32)
    strip_margin = np.empty(m, np.float32)
    strip_upper = np.empty(m, np.float32)
    strip_error = np.empty(m, rows.dtype)
    strip_group = np.empty(m, np.int32)
    m = rows_a_chunk if bounded else 0
    gathered = np.empty((rows_a_strip if bounded else 0, d), rows.dtype)
    drifting = np.empty(m + 1, np.int32)
    searched = np.empty(m, np.int32)
    near = np.empty(m, np.int32)
    positions = np.empty(m, np.int32)
    shifted = np.empty((m, d), rows.dtype)
    offsets = np.empty(m, rows.dtype)
    upper = np.empty(m, np.float32)
    least = np.empty(m, np.float32)
    best = np.empty(m + ROWS_AT_ONCE, rows.dtype)

    k = packed.transposed.shape[1]
    pruning = bounded
    n_changed, n_distances = 0, 0
    strange = np.uint64(0)
    for start in range(0, n_rows, rows_a_chunk):
        stop = min(start + rows_a_chunk, n_rows)
        n_dense = stop - start
        searching = pruning
        if searching:
            n_drifting = drifting_rows(
                margin, labels, label_drift, first + start, stop - start, drifting
            )
            n_dense, measured = search_groups(
                rows,
                start,
                first + start,
                drifting,
                n_drifting,
                labels,
                margin,
                lower,
                packed,
                centers_a_group,
                label_drift,
                group_drift,
                shifted,
                offsets,
                upper,
                least,
                positions,
                near,
                best,
                searched,
            )
            n_distances += measured
            # Where most distances are measured anyway, the strips are the faster way to do it.
            pruning = measured + n_dense * k < MOST_DISTANCES * (stop - start) * k
        n_distances += n_dense * k
        for at in range(0, n_dense, rows_a_strip):
            in_strip = min(rows_a_strip, n_dense - at)
            source, from_row = rows, start + at
            if searching:
                for i in range(in_strip):
                    gathered[i] = rows[start + searched[at + i]]
                source, from_row = gathered[:in_strip], 0
            bad_row, doubtful = label_strip(
                source, from_row, packed, strip, found[at:], scores, distances
            )
            if bad_row >= 0:
                bad_row = start + searched[at + bad_row] if searching else bad_row
                return NOT_FINITE, bad_row, n_changed, n_distances
            if keeps_bounds:
                strip_bounds(
                    scores,
                    doubtful,
                    found[at:],
                    in_strip,
                    rows_a_strip,
                    packed,
                    centers_a_group,
                    strip_lower,
                    strip_margin,
                    strip_upper,
                    strip_error,
                    strip_group,
                )
                if searching:
                    for i in range(in_strip):
                        row = first + start + searched[at + i]
                        margin[row] = strip_margin[i] + label_drift[found[at + i]]
                        for g in range(packed.n_groups):
                            lower[g, row] = strip_lower[g, i] + group_drift[g]
                else:
                    row = first + start + at
                    for i in range(in_strip):
                        margin[row + i] = strip_margin[i] + label_drift[found[at + i]]
                    for g in range(packed.n_groups):
                        gone = group_drift[g]
                        for i in range(in_strip):
                            lower[g, row + i] = strip_lower[g, i] + gone
        if not counted:
            strange |= add_rows(rows, start, stop, found, weights, shift, scale, sums)
            labels[first + start : first + stop] = found[: stop - start]
            n_changed += stop - start
            continue
        for at in range(0, n_dense, _LOOKED_AT_ONCE):
            end = min(at + _LOOKED_AT_ONCE, n_dense)
            if not searching:
                differ = np.int32(0)
                for i in range(at, end):
                    differ |= found[i] ^ labels[first + start + i]
                if differ == 0:
                    continue
            for j in range(at, end):
                i = start + (searched[j] if searching else j)
                if found[j] == labels[first + i]:
                    continue
                moved_rows[n_moved] = rows[i]
                moved_weights[n_moved] = weights[i if weights.size > 1 else 0]
                moved_from[n_moved] = labels[first + i]
                moved_to[n_moved] = found[j]
                labels[first + i] = found[j]
                n_changed += 1
                n_moved += 1
                if n_moved == capacity:
                    strange |= move_rows(
                        moved_rows,
                        n_moved,
                        moved_from,
                        moved_to,
                        moved_weights,
                        shift,
                        scale,
                        sums,
                        removed,
                    )
                    n_moved = 0
    if n_moved > 0:
        strange |= move_rows(
            moved_rows, n_moved, moved_from, moved_to, moved_weights, shift, scale, sums, removed
        )
    if counted:
        sums -= removed
    if strange != 0:
        return OUT_OF_RANGE, -1, n_changed, n_distances
    return CLEAN, -1, n_changed, n_distances


def _rows_a_chunk(rows: Array, budget: int, largest: int) -> int:
    strip_bytes = strip_rows(rows.dtype) * rows.shape[1] * rows.dtype.itemsize
    return strip_rows(rows.dtype) * max(1, min(largest, budget // strip_bytes))


class KeptRows(NamedTuple):
    """What is known of the rows of a block from the pass before; written by the next one."""

    labels: Array  # (R,) int32
    margin: Array  # (R,) float32, or (0,) where no bounds are kept; see `bounds`
    lower: Array  # (g, R) float32


def lloyd_block(
    rows: Array,
    weights: Array,
    packed: PackedCenters,
    shift: Array,
    scale: Array,
    sums: Array,
    kept: KeptRows,
    *,
    first: int = 0,
    counted: bool = False,
    bounded: bool = False,
    label_drift: Array = _NO_DRIFT,
    group_drift: Array = _NO_DRIFT,
) -> tuple[int, int, int, int]:
    """Bring the sums of clusters up to date with the nearest center of each row of a block.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order
    weights : ndarray of shape (r,) or (1,), float64
        One weight stands for all rows.
    packed : PackedCenters for the dtype of rows
    shift, scale : ndarrays of shape (sums_width(d),), float64
        A row x of weight w adds rint(w (x - shift) scale); see `quantised_sums.add_rows`.
    sums : ndarray of shape (k, sums_width(d)), int64; added to
    kept : KeptRows, overwritten
    first : int
        Place of the first row in the arrays of `kept`.
    counted : bool
        `kept.labels` are those of the pass before: add rows whose label changed to their new
        cluster and take them from their old one. Otherwise add all rows.
    bounded : bool
        `kept.margin` and `kept.lower` hold bounds: leave out what they rule out.
    label_drift, group_drift : ndarrays of shape (k,) and (g,), float32
        Where bounds are kept: how far centers have gone, see `bounds`.

    Returns
    -------
    status : int
        CLEAN; NOT_FINITE if a row has NaN or infinity; OUT_OF_RANGE if a row lies outside of the
        ranges that `scale` was made for. The sums mean nothing unless it is CLEAN.
    row : int
        The row that is not finite, else -1.
    n_changed : int
        Rows whose label is new.
    n_distances : int
        Distances of a row to a center that were measured.
    """
    budget, largest = (_SEARCH_BYTES, 64) if bounded else (_GROUP_BYTES, 32)
    status, row, n_changed, n_distances = _lloyd_block(
        rows,
        weights,
        packed,
        shift,
        scale,
        first,
        *kept,
        label_drift,
        group_drift,
        counted,
        bounded,
        strip_rows(rows.dtype),
        _rows_a_chunk(rows, budget, largest),
        sums,
    )
    return int(status), int(row), int(n_changed), int(n_distances)


@kernel
def _sum_block(rows, weights, shift, scale, sums):
    labels = np.zeros(rows.shape[0], np.int32)
    strange = add_rows(rows, 0, rows.shape[0], labels, weights, shift, scale, sums)
    return OUT_OF_RANGE if strange != 0 else CLEAN


def sum_block(rows: Array, weights: Array, shift: Array, scale: Array, sums: Array) -> int:
    """Add all rows of a block to one set of sums, (1, sums_width(d)); see `lloyd_block`."""
    return int(_sum_block(rows, weights, shift, scale, sums))
