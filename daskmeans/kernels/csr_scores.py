"""The vector loops over the values of one sparse row: its nearest center, and its length.

The register tile of `strip` has no counterpart here, for two rows have few columns in common.
Centers lie along the lanes: each value of the row is multiplied with the run of all centers'
coordinates in its column, and the scores of up to 128 centers stay in registers meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.vector import I32, I64, Emitter, data_pointer, int64, lanes

# Centers are scored in float32, whatever the dtype of the rows.
SCORE_LANES = lanes(np.float32)
# Vectors of centers that are scored at once: enough to hide the latency of a fused operation.
_VECTORS = 8
_NORM_LANES = 8


@intrinsic
def nearest_in_lanes(
    typingctx: Any,
    data: Any,  # IN  (m,) float32 or float64
    indices: Any,  # IN  (m,) int32
    start: Any,  # IN  first value of the row
    stop: Any,  # IN  one past its last
    half_norms: Any,  # IN  (w,) float32, infinity where there is no center
    table: Any,  # IN  (c * w,) float32: centers along, negated; w a multiple of SCORE_LANES
    places: Any,  # IN  (d,) int32, line of the table for each column
    best: Any,  # OUT (SCORE_LANES,) float32
    second: Any,  # OUT (SCORE_LANES,) float32
    label: Any,  # OUT (SCORE_LANES,) int32, numbers of the best
) -> tuple[Any, Callable[..., Any]]:
    """Write the best and second-best score among every SCORE_LANES-th center, for each remainder.

    The score of center c for row x is |c|^2/2 - x.c, half the squared distance less |x|^2/2.
    """
    signature = types.void(
        data, indices, types.intp, types.intp, half_norms, table, places, best, second, label
    )
    n = SCORE_LANES

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.FloatType(), n)
        data_type = context.get_value_type(sig.args[0].dtype)
        values, columns, norms, centers, lines, best_out, second_out, label_out = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (0, 1, 4, 5, 6, 7, 8, 9)
        )
        width = b.extract_value(context.make_array(sig.args[4])(context, b, args[4]).shape, 0)
        infinity = e.const(np.inf)
        lane_numbers = ir.Constant(e.indices, list(range(n)))
        best_now = cgutils.alloca_once_value(b, infinity)
        second_now = cgutils.alloca_once_value(b, infinity)
        label_now = cgutils.alloca_once_value(b, ir.Constant(e.indices, [0] * n))
        scores = [cgutils.alloca_once(b, e.vector) for _ in range(_VECTORS)]

        def score(first: ir.Value, n_vectors: int) -> None:
            """Score n_vectors * n centers from `first` on, and keep the best."""
            for v in range(n_vectors):
                b.store(e.load(norms, b.add(first, int64(v * n))), scores[v])
            with cgutils.for_range_slice(b, args[2], args[3], int64(1), I64) as (place, _):
                value = b.load(b.gep(values, [place]))
                if isinstance(data_type, ir.DoubleType):
                    value = b.fptrunc(value, ir.FloatType())
                x = e.splat(value)
                column = b.sext(b.load(b.gep(columns, [place])), I64)
                line = b.sext(b.load(b.gep(lines, [column])), I64)
                run = b.add(b.mul(line, width), first)
                for v in range(n_vectors):
                    center = e.load(centers, b.add(run, int64(v * n)))
                    b.store(e.fma(center, x, b.load(scores[v])), scores[v])
            for v in range(n_vectors):
                number = e.splat(b.trunc(b.add(first, int64(v * n)), I32), e.indices)
                new, old = b.load(scores[v]), b.load(best_now)
                nearer = b.fcmp_ordered("<", new, old)
                loser = b.select(nearer, old, new)
                runner_up = b.load(second_now)
                closer = b.fcmp_ordered("<", loser, runner_up)
                b.store(b.select(closer, loser, runner_up), second_now)
                b.store(b.select(nearer, new, old), best_now)
                mine = b.add(number, lane_numbers)
                b.store(b.select(nearer, mine, b.load(label_now)), label_now)

        tile = int64(_VECTORS * n)
        whole = b.sub(width, b.srem(width, tile))
        with cgutils.for_range_slice(b, int64(0), whole, tile, I64) as (first, _):
            score(first, _VECTORS)
        left = b.sub(width, whole)
        for n_vectors in range(1, _VECTORS):
            with b.if_then(b.icmp_signed("==", left, int64(n_vectors * n))):
                score(whole, n_vectors)
        e.store(b.load(best_now), best_out, int64(0))
        e.store(b.load(second_now), second_out, int64(0))
        target = b.bitcast(label_out, e.indices.as_pointer())
        b.store(b.load(label_now), target).align = 4
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def sum_of_squares(
    typingctx: Any,
    data: Any,  # IN  (m,) float32 or float64
    start: Any,  # IN
    stop: Any,  # IN
) -> tuple[Any, Callable[..., Any]]:
    """Return the sum of the squares of data[start:stop] in float64."""
    signature = types.float64(data, types.intp, types.intp)
    n = _NORM_LANES

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.DoubleType(), n)
        source = Emitter(b, context.get_value_type(sig.args[0].dtype), n)
        values = data_pointer(context, b, sig.args[0], args[0])
        squares = cgutils.alloca_once_value(b, e.const(0.0))
        with cgutils.for_range_slice(b, args[1], args[2], int64(n), I64) as (place, _):
            mask = e.lanes_below(b.sub(args[2], place))
            x = source.load_masked(values, place, mask)
            if source.itemsize == 4:
                x = b.fpext(x, e.vector)
            b.store(e.fma(x, x, b.load(squares)), squares)
        total, width = b.load(squares), n
        while width > 1:
            width //= 2
            low = e.shuffle(total, total, list(range(width)))
            high = e.shuffle(total, total, list(range(width, 2 * width)))
            total = b.fadd(low, high)
        return b.extract_element(total, ir.Constant(I32, 0))

    return signature, codegen
