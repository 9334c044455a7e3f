"""The definition of a row's label, which decides where scores are too near each other.

The label of row x is argmin_j sum_f (x_f - c_jf)^2, evaluated in float64 feature by feature, the
lowest j on a tie. See `assign` for how few rows come here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.compile import inlined, rarely_called
from daskmeans.kernels.vector import (
    GROUP_CENTERS,
    TILE_CENTERS,
    VECTOR_BYTES,
    Emitter,
    data_pointer,
    int64,
)

# Part by which a length is made longer, beyond what its own rounding may be.
_A_LITTLE = 0.001


@intrinsic
def sq_distances_to_some(
    typingctx: Any,
    rows: Any,  # IN   (r, d) float32 or float64, C order
    row: Any,  # IN   number of the row
    transposed: Any,  # IN   (d, k) float64 centers
    first: Any,  # IN   first center, below k
    distances: Any,  # OUT  (>= first + GROUP_CENTERS,) float64
) -> tuple[Any, Callable[..., Any]]:
    """Measure a row by the definition of its label, against GROUP_CENTERS centers from `first` on.

    Past the last center what is written means nothing.
    """
    # A vector of centers is summed feature by feature, and no operation may be fused. Each waits
    # for the sum before it: so many vectors side by side take no longer than one.
    signature = types.void(rows, types.intp, transposed, types.intp, distances)
    n = VECTOR_BYTES // 8

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.DoubleType(), n)
        array, centers = (context.make_array(sig.args[i])(context, b, args[i]) for i in (0, 2))
        n_features, k = b.extract_value(array.shape, 1), b.extract_value(centers.shape, 1)
        row_data = b.gep(array.data, [b.mul(args[1], n_features)])
        places = [b.add(args[3], int64(j)) for j in range(0, GROUP_CENTERS, n)]
        masks = [e.lanes_below(b.sub(k, place)) for place in places]
        totals = [cgutils.alloca_once_value(b, e.const(0.0)) for _ in places]
        with cgutils.for_range(b, n_features) as features:
            number = b.load(b.gep(row_data, [features.index]))
            if number.type != ir.DoubleType():
                number = b.fpext(number, ir.DoubleType())
            line = b.mul(features.index, k)
            for place, mask, total in zip(places, masks, totals, strict=True):
                center = e.load_masked(centers.data, b.add(line, place), mask)
                difference = b.fsub(e.splat(number), center)
                b.store(b.fadd(b.load(total), b.fmul(difference, difference)), total)
        out = data_pointer(context, b, sig.args[4], args[4])
        for place, total in zip(places, totals, strict=True):
            e.store(b.load(total), out, place)
        return context.get_dummy_value()

    return signature, codegen


@inlined
def sq_distances_by_definition(
    rows,  # IN  (r, d)
    i,  # IN  number of the row
    transposed,  # IN  (d, k) float64 centers
    distances,  # OUT (k,) float64: squared distances
):
    """Measure row i by the definition; return whether the row is finite."""
    # Centers along the lanes: each distance is summed feature by feature, as the definition says,
    # and a vector of centers is summed at once.
    d, k = transposed.shape
    distances[:] = 0.0
    finite = True
    for f in range(d):
        x = np.float64(rows[i, f])
        finite &= np.isfinite(x)
        for j in range(k):
            difference = x - transposed[f, j]
            distances[j] += difference * difference
    return finite


@inlined
def nearest_by_definition(
    rows,  # IN  (r, d)
    i,  # IN  number of the row
    transposed,  # IN  (d, k) float64 centers
    distances,  # OUT (k,) float64 scratch: squared distances
):
    """Return the label of row i, or -1 if the row is not finite."""
    if not sq_distances_by_definition(rows, i, transposed, distances):
        return -1
    label = 0
    for j in range(1, distances.size):
        if distances[j] < distances[label]:
            label = j
    return label


@rarely_called
def decide_again(
    rows,  # IN    (r, d)
    chosen,  # IN    (strip_rows,) int64, numbers of a strip's rows
    count,  # IN    how many of them count
    doubtful,  # IN    a bit per row, of `nearest_in_strip`
    scores,  # IN    ((1 + 2 g) * strip_rows,) of `nearest_in_strip`
    packed,  # IN    PackedCenters with g groups
    distances,  # OUT   (>= k + GROUP_CENTERS,) float64 scratch
    labels,  # INOUT (>= at + count,) int32
    at,  # IN    first of the strip's labels
):
    """Label doubtful rows by the definition; return the first that is not finite, or -1."""
    # Taken out once: a tuple that is given to an inlined function is taken apart and put together.
    transposed, bound, n_groups = packed.transposed, packed.bound, packed.n_groups
    grouped = packed.positions.size == 0 and n_groups > 1
    width = packed.tiles_a_group * TILE_CENTERS
    k = transposed.shape[1]
    for i in range(count):
        if not (doubtful >> np.uint64(i)) & np.uint64(1):
            continue
        label = -1
        if grouped:
            label = _nearest_in_groups(
                rows,
                chosen[i],
                i,
                chosen.size,
                scores,
                bound,
                transposed,
                n_groups,
                width,
                distances,
            )
        if label < 0:
            label = nearest_by_definition(rows, chosen[i], transposed, distances[:k])
        if label < 0:
            return chosen[i]
        labels[at + i] = label
    return np.int64(-1)


@inlined
def _nearest_in_groups(
    rows,  # IN  (r, d)
    row,  # IN  number of the row
    i,  # IN  its place in the strip
    rows_a_strip,  # IN
    scores,  # IN  ((1 + 2 g) * rows_a_strip,)
    bound,  # IN  (6,) of PackedCenters
    transposed,  # IN  (d, k) float64 centers, in whose order the groups are
    n_groups,  # IN  g
    width,  # IN  centers in a group
    distances,  # OUT (>= k + GROUP_CENTERS,) float64 scratch
):
    """Return the label of a row by the definition, or -1 if scores tell nothing of it."""
    # Whatever has a score above the best one by more than rounding explains is farther away by the
    # definition too. So is a center whose |c| exceeds |y| + |y - best|: the bound is for shorter
    # ones, which helps rows near the shift and in small clusters.
    k = transposed.shape[1]
    b0, b1, b2, b3 = bound[0], bound[1], bound[2], bound[3]
    largest, vanishing = bound[4], bound[5]
    sq_norm = scores[i]
    norm = np.sqrt(sq_norm)
    limit = b0 + b1 * norm + b2 * sq_norm
    best = scores[rows_a_strip + i]
    for g in range(1, n_groups):
        best = min(best, scores[(1 + 2 * g) * rows_a_strip + i])
    sq_distance = max(sq_norm + 2 * (best + limit) + b3 * sq_norm, vanishing)
    longest = (1 + _A_LITTLE + b3) * (norm + np.sqrt(sq_distance))
    if longest < largest:
        shorter = rows.dtype.type(longest / largest)
        limit = b0 * shorter * shorter + b1 * shorter * norm + b2 * sq_norm + vanishing
    label = -1
    if not np.isfinite(limit):
        return label
    for g in range(n_groups):
        if scores[(1 + 2 * g) * rows_a_strip + i] - best > limit:
            continue
        end = min((g + 1) * width, k)
        for j in range(g * width, end, GROUP_CENTERS):
            sq_distances_to_some(rows, row, transposed, j, distances)
        for j in range(g * width, end):
            if label < 0 or distances[j] < distances[label]:
                label = j
    return label
