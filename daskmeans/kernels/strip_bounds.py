"""Bounds on the distances of a strip of rows, from the scores that labelled it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.vector import (
    I32,
    VECTOR_BYTES,
    VECTORS,
    Emitter,
    data_pointer,
    int64,
)

# Outward rounding: a relative slack above a few roundings of float32 (which also covers those of
# the float64 definition of labels), and an absolute one above its underflow.
SLACK = 2.0**-20
TINY = 1e-30
# Keeps the rounding of a bound plus a drift below their sum.
KEPT_DOWN = 1 - SLACK / 4


@intrinsic
def strip_bounds(
    typingctx: Any,
    scores: Any,  # IN  ((1 + 2 g) * strip_rows,) float32 or float64, of `nearest_in_strip`
    bound: Any,  # IN  (6,) dtype of scores, see `rounding_bound`
    positions: Any,  # IN  (strip_rows,) int32, of each row's own center, or -1
    n_groups: Any,  # IN  g
    centers_a_group: Any,  # IN
    drift: Any,  # IN  (g,) float32, added to the distances of each group as they are kept
    lower: Any,  # OUT (g, R) float32, kept distance to any center of a group but the own
    first: Any,  # IN  first of the strip_rows columns to write
    least: Any,  # OUT (strip_rows,) float32, least distance to a center but the own
    upper: Any,  # OUT (strip_rows,) float32, distance to the own center
) -> tuple[Any, Callable[..., Any]]:
    """Turn the scores of a strip into distances, rounded outwards."""
    # Rows along the lanes, one group after the other. numba's loops over 32 rows are too short for
    # LLVM to vectorise: this took six times as long.
    signature = types.void(
        scores, bound, positions, types.intp, types.intp, drift, lower, types.intp, least, upper
    )
    n = VECTOR_BYTES // (scores.dtype.bitwidth // 8)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        scalar = context.get_value_type(sig.args[0].dtype)
        e, narrow = Emitter(b, scalar, n), Emitter(b, ir.FloatType(), n)
        scores, bound, positions, drift, least, upper = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (0, 1, 2, 5, 8, 9)
        )
        kept = context.make_array(sig.args[6])(context, b, args[6])
        kept_stride = b.extract_value(kept.shape, 1)
        n_groups, width = args[3], args[4]
        zero, infinity = e.const(0.0), e.const(np.inf)
        down, up = e.const(1 - SLACK), e.const(1 + SLACK)
        tiny, kept_down = narrow.const(TINY), narrow.const(KEPT_DOWN)
        constant, linear, square, rounding = (
            e.splat(b.load(b.gep(bound, [int64(i)]))) for i in range(4)
        )

        def rounded(values: ir.Value) -> ir.Value:
            return values if e.itemsize == 4 else b.fptrunc(values, narrow.vector)

        for v in range(VECTORS):
            place = int64(v * n)

            def line(number: ir.Value, place: ir.Value = place) -> ir.Value:
                return b.add(b.mul(number, int64(VECTORS * n)), place)

            sq_norm = e.load(scores, place)
            error = e.fma(linear, e.sqrt(sq_norm), constant)
            error = e.fma(b.fadd(square, rounding), sq_norm, error)
            own = b.load(b.bitcast(b.gep(positions, [place]), e.indices.as_pointer()))
            own.align = 4
            own_score = cgutils.alloca_once_value(b, infinity)
            nearest = cgutils.alloca_once_value(b, narrow.const(np.inf))
            with cgutils.for_range(b, n_groups) as groups:
                first = b.trunc(b.mul(groups.index, width), I32)
                end = b.add(first, b.trunc(width, I32))
                inside = b.and_(
                    b.icmp_signed(">=", own, e.splat(first, e.indices)),
                    b.icmp_signed("<", own, e.splat(end, e.indices)),
                )
                at = b.add(b.mul(groups.index, int64(2)), int64(1))
                best = e.load(scores, line(at))
                second = e.load(scores, line(b.add(at, int64(1))))
                score = b.select(inside, second, best)
                sq_distance = b.fsub(b.fadd(sq_norm, b.fadd(score, score)), error)
                positive = b.fcmp_ordered(">", sq_distance, zero)
                sq_distance = b.select(positive, sq_distance, zero)
                distance = b.fsub(rounded(b.fmul(e.sqrt(sq_distance), down)), tiny)
                gone = narrow.splat(b.load(b.gep(drift, [groups.index])))
                column = b.add(b.add(b.mul(groups.index, kept_stride), args[7]), place)
                narrow.store(b.fmul(b.fadd(distance, gone), kept_down), kept.data, column)
                old = b.load(nearest)
                b.store(b.select(b.fcmp_ordered("<", distance, old), distance, old), nearest)
                b.store(b.select(inside, best, b.load(own_score)), own_score)
            narrow.store(b.load(nearest), least, place)
            score = b.load(own_score)
            sq_distance = b.fadd(b.fadd(sq_norm, b.fadd(score, score)), error)
            # NaN stays, and is above any bound.
            negative = b.fcmp_ordered("<", sq_distance, zero)
            sq_distance = b.select(negative, zero, sq_distance)
            distance = b.fadd(rounded(b.fmul(e.sqrt(sq_distance), up)), tiny)
            narrow.store(distance, upper, place)
        return context.get_dummy_value()

    return signature, codegen
