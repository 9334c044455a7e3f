"""The Lloyd step over one block: nearest centers and quantised cluster sums in one sweep."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from daskmeans.kernels.assign import PackedCenters
from daskmeans.kernels.bounds import (
    drifting_rows,
    keep_strip_bounds,
    search_groups,
    search_scratch,
    strip_scratch,
)
from daskmeans.kernels.compile import kernel
from daskmeans.kernels.csr import AnyRows
from daskmeans.kernels.definition import decide_again
from daskmeans.kernels.label_bits import differing, lowest_bit
from daskmeans.kernels.moved_rows import move_rows, room_to_wait, wait_to_move
from daskmeans.kernels.prefetching import prefetch_labels, strips_ahead
from daskmeans.kernels.quantised_sums import SUM_LANES, add_rows
from daskmeans.kernels.scratch import scratch
from daskmeans.kernels.strip import NARROW, nearest_in_strip
from daskmeans.kernels.transposed import transpose_narrow, transpose_strip
from daskmeans.kernels.vector import GROUP_CENTERS, LINE_BYTES, TILE_CENTERS, strip_rows
from daskmeans.typing import Array, Labels

# Half of a first-level cache; the rest is for the tile of centers and the sums.
_GROUP_BYTES = 16 << 10
# Rows that are searched together stay in the second-level cache.
_SEARCH_BYTES = 192 << 10
# Share of all distances above which a block's bounds are not worth looking at.
MOST_DISTANCES = 0.6

# What a kernel that may have to stop returns beside its result.
CLEAN, NOT_FINITE, OUT_OF_RANGE = 0, 1, 2


_SUM_BYTES = np.dtype(np.int64).itemsize


def sums_width(n_features: int) -> int:
    """Columns of a sums array: features, padding, sum of squares, weight."""
    return -(-(n_features + 2) // SUM_LANES) * SUM_LANES


def sums_bytes(n_clusters: int, n_features: int) -> int:
    """Bytes of the sums of all clusters."""
    return n_clusters * sums_width(n_features) * _SUM_BYTES


def no_sums(n_clusters: int, width: int) -> Array:
    """Return sums of no rows, (n_clusters, width), in cache lines of their own.

    Small arrays that threads make at the same time may lie side by side, and each of two that write
    to one line waits for the other.
    """
    apart = 2 * LINE_BYTES // _SUM_BYTES
    numbers = np.zeros(n_clusters * width + 2 * apart, np.int64)
    return numbers[apart:-apart].reshape(n_clusters, width)


class Bounds(NamedTuple):
    """Bounds on the distances of a block's rows, and what they are compared with: see `bounds`."""

    margin: Array  # (R,) float32
    lower: Array  # (g, R) float32; (1, 0) for a single group, of which the margin tells enough
    label_drift: Array  # (k,) float32
    group_drift: Array  # (g,) float32


@kernel
def _lloyd_block(
    rows,  # IN    (r, d) float32 or float64, C order
    weights,  # IN    (r,) float64, or (1,) for one weight
    packed,  # IN    PackedCenters
    shift,  # IN    (s,) float64, zero past d
    scale,  # IN    (s,) float64 powers of two
    sums,  # INOUT (k, s) int64
    labels,  # INOUT (R,) int32
    first,  # IN    place of the first row in labels and bounds
    counted,  # IN    labels are those of the pass before, whose rows are in the sums
    bounds,  # INOUT Bounds or None
    bounded,  # IN    the bounds hold
    rows_a_strip,  # IN    strip_rows(dtype of rows)
    rows_a_chunk,  # IN    a multiple of it
):
    # A chunk of rows is labelled strip by strip and then added: its rows are still in the cache,
    # and the constants of adding are set up once a chunk, which for few features takes as long as
    # adding a strip. From the second pass on only rows that changed their label are added, to one
    # sum and taken from another: a small part of the rows, copied to one place first.
    # Without bounds (None, which numba compiles by itself) nothing of them is compiled.
    n_rows, d = rows.shape
    # Taken out of the loops: numba counts references to what is taken out of a tuple inside of one.
    tiles, numbers, moved_by, bound = packed.tiles, packed.numbers, packed.shift, packed.bound
    n_tiles, tiles_a_group, n_groups = packed.n_tiles, packed.tiles_a_group, packed.n_groups
    k = packed.transposed.shape[1]
    strip = scratch(moved_by.size * rows_a_strip, rows.dtype)
    scores = scratch((1 + 2 * n_groups) * rows_a_strip, rows.dtype)
    found = scratch(rows_a_chunk, np.int32)
    chosen = scratch(rows_a_strip, np.int64)
    ahead = scratch(rows_a_strip, np.int64)
    rows_ahead = rows_a_strip * strips_ahead(rows_a_strip * d * rows.itemsize)
    distances = scratch(k + GROUP_CENTERS, np.float64)

    waiting = room_to_wait(rows, counted)
    n_waiting = np.int64(0)  # for a literal 0 numba would compile another `move_rows`

    searched = scratch(rows_a_chunk + 1 if bounded else 0, np.int32)
    if bounds is not None:
        several = bounded and n_groups > 1
        search = search_scratch(rows_a_chunk if several else 0, d, rows.dtype)
        outward = strip_scratch(rows_a_strip, n_groups)
        centers_a_group = tiles_a_group * TILE_CENTERS
        places = packed.positions

    keeping = bounds is not None
    searching = bounded
    n_changed, n_distances = 0, 0
    strange = np.uint64(0)
    for start in range(0, n_rows, rows_a_chunk):
        in_chunk = min(rows_a_chunk, n_rows - start)
        n_labelled = in_chunk
        useless = False
        if bounds is not None and searching:
            measured = 0
            if n_groups == 1:
                n_labelled = drifting_rows(
                    bounds.margin, labels, bounds.label_drift, first + start, in_chunk, searched
                )
            else:
                n_labelled, measured = search_groups(
                    rows,
                    start,
                    in_chunk,
                    first + start,
                    labels,
                    bounds,
                    packed,
                    centers_a_group,
                    search,
                    searched,
                )
            n_distances += measured
            # Where most are measured anyway, the strips are the faster way to do it.
            useless = measured + n_labelled * k > MOST_DISTANCES * in_chunk * k
        n_distances += n_labelled * k
        for at in range(0, n_labelled, rows_a_strip):
            in_strip = min(rows_a_strip, n_labelled - at)
            narrow = d <= NARROW and in_strip == rows_a_strip and not searching
            # These calls stand in `assign` too: a function that takes arrays may be called for few
            # strips only, for passing them costs as much as labelling a few rows.
            prefetch_labels(labels, first + start + at + rows_a_chunk)
            if narrow:
                transpose_narrow(rows, start + at, moved_by, strip, scores)
            else:
                # A strip that is not full repeats its last row.
                for i in range(rows_a_strip):
                    chosen[i] = start + at + min(i, in_strip - 1)
                    ahead[i] = start + at + rows_ahead + i
                if searching:
                    for i in range(rows_a_strip):
                        chosen[i] = start + searched[at + min(i, in_strip - 1)]
                        ahead[i] = start + searched[min(at + rows_ahead + i, n_labelled - 1)]
                transpose_strip(rows, chosen, moved_by, strip, scores)
            doubtful = nearest_in_strip(
                strip,
                tiles,
                numbers,
                d,
                n_tiles,
                tiles_a_group,
                bound,
                found,
                at,
                scores,
                rows,
                ahead,
            )
            if narrow and (doubtful != 0 or keeping):
                for i in range(in_strip):
                    chosen[i] = start + at + i
            if doubtful != 0:
                bad_row = decide_again(
                    rows, chosen, in_strip, doubtful, scores, packed, distances, found, at
                )
                if bad_row >= 0:
                    return NOT_FINITE, bad_row, n_changed, n_distances
            if bounds is not None:
                keep_strip_bounds(
                    scores,
                    doubtful,
                    found,
                    at,
                    chosen,
                    not searching,
                    in_strip,
                    first,
                    places,
                    bound,
                    n_groups,
                    centers_a_group,
                    outward,
                    bounds,
                )
        if not counted:
            strange |= add_rows(
                rows, start, start + in_chunk, found, None, weights, shift, scale, sums
            )
            for i in range(in_chunk):
                labels[first + start + i] = found[i]
            n_changed += in_chunk
            n_labelled = 0
        for at in range(0, n_labelled, rows_a_strip):
            in_strip = min(rows_a_strip, n_labelled - at)
            if searching:
                left = np.uint64(0)
                for i in range(in_strip):
                    differs = found[at + i] != labels[first + start + searched[at + i]]
                    left |= np.uint64(differs) << np.uint64(i)
            else:
                left = differing(found, at, labels, first + start + at, in_strip)
            while left != 0:
                i = at + lowest_bit(left)
                left &= left - np.uint64(1)
                row = start + (searched[i] if searching else i)
                n_waiting = wait_to_move(
                    rows, row, weights, found[i], labels, first + row, waiting, n_waiting
                )
                n_changed += 1
                if n_waiting == waiting[0].shape[0]:
                    strange |= move_rows(waiting, n_waiting, shift, scale, sums)
                    n_waiting = np.int64(0)
        searching = searching and not useless
    if n_waiting > 0:
        strange |= move_rows(waiting, n_waiting, shift, scale, sums)
    if strange != 0:
        return OUT_OF_RANGE, -1, n_changed, n_distances
    return CLEAN, -1, n_changed, n_distances


def _rows_a_chunk(rows: Array, budget: int, largest: int) -> int:
    strip_bytes = strip_rows(rows.dtype) * rows.shape[1] * rows.dtype.itemsize
    return strip_rows(rows.dtype) * max(1, min(largest, budget // strip_bytes))


@singledispatch
def lloyd_block(
    rows: Any,
    weights: Array,
    packed: PackedCenters,
    shift: Array,
    scale: Array,
    sums: Array,
    labels: Labels,
    *,
    first: int = 0,
    counted: bool = False,
    bounds: Bounds | None = None,
    bounded: bool = False,
) -> tuple[int, int, int, int]:
    """Bring the sums of clusters up to date with the nearest center of each row of a block.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order
    weights : ndarray of shape (r,) or (1,), float64
        One weight stands for all rows.
    packed : PackedCenters for the dtype of rows
        With groups where there are bounds.
    shift, scale : ndarrays of shape (sums_width(d),), float64
        A row x of weight w adds rint(w (x - shift) scale); see `quantised_sums.add_rows`.
    sums : ndarray of shape (k, sums_width(d)), int64; added to
    labels : ndarray of shape (R,), int32; overwritten
    first : int
        Place of the first row in `labels` and `bounds`.
    counted : bool
        `labels` are those of the pass before: add rows whose label changed to their new cluster and
        take them from their old one. Otherwise add all rows.
    bounds : Bounds, optional; its margin and lower bounds are overwritten
    bounded : bool
        The bounds hold: leave out what they rule out.

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
    # A search that finds itself useless is given up after a chunk: an eighth of the rows at most.
    eighth = len(rows) // (8 * strip_rows(rows.dtype))
    budget, largest = (_SEARCH_BYTES, max(2, min(64, eighth))) if bounded else (_GROUP_BYTES, 32)
    status, row, n_changed, n_distances = _lloyd_block(
        rows,
        weights,
        packed,
        shift,
        scale,
        sums,
        labels,
        first,
        counted,
        bounds,
        bounded,
        strip_rows(rows.dtype),
        _rows_a_chunk(rows, budget, largest),
    )
    return int(status), int(row), int(n_changed), int(n_distances)


@kernel
def _sum_block(rows, weights, shift, scale, sums):
    labels = np.zeros(rows.shape[0], np.int32)
    strange = add_rows(rows, 0, rows.shape[0], labels, None, weights, shift, scale, sums)
    return OUT_OF_RANGE if strange != 0 else CLEAN


@singledispatch
def sum_block(rows: AnyRows, weights: Array, shift: Array, scale: Array, sums: Array) -> int:
    """Add all rows of a block to one set of sums, (1, sums_width(d)); see `lloyd_block`."""
    return int(_sum_block(rows, weights, shift, scale, sums))
