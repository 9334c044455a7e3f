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
# Values ahead whose centers are asked for, where these are so many vectors that the processor does
# not get as far by itself.
_AHEAD, _VECTORS_ASKED_FOR = 16, 3
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
    best: Any,  # OUT (1,) float32
    second: Any,  # OUT (1,) float32
) -> tuple[Any, Callable[..., Any]]:
    """Write the best and second-best score among all centers; return the number of the best.

    Where the two are equal it is the number of any of those that are best.

    The score of center c for row x is |c|^2/2 - x.c, half the squared distance less |x|^2/2.
    """
    signature = types.int32(
        data, indices, types.intp, types.intp, half_norms, table, places, best, second
    )
    n = SCORE_LANES

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.FloatType(), n)
        data_type = context.get_value_type(sig.args[0].dtype)
        values, columns, norms, centers, lines, best_out, second_out = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (0, 1, 4, 5, 6, 7, 8)
        )
        width = b.extract_value(context.make_array(sig.args[4])(context, b, args[4]).shape, 0)
        n_values = b.extract_value(context.make_array(sig.args[1])(context, b, args[1]).shape, 0)
        infinity = e.const(np.inf)
        lane_numbers = ir.Constant(e.indices, list(range(n)))
        best_now = cgutils.alloca_once_value(b, infinity)
        second_now = cgutils.alloca_once_value(b, infinity)
        label_now = cgutils.alloca_once_value(b, ir.Constant(e.indices, [0] * n))
        scores = [cgutils.alloca_once(b, e.vector) for _ in range(_VECTORS)]

        def score(first: ir.Value, n_vectors: int) -> None:
            """Score n_vectors * n centers from `first` on, and keep the best."""
            # Of few vectors, two values at a time: an operation waits for the one before it.
            n_chains = 2 if n_vectors <= _VECTORS // 2 else 1
            for v in range(n_vectors):
                b.store(e.load(norms, b.add(first, int64(v * n))), scores[v])
                for chain in range(1, n_chains):
                    b.store(e.const(0.0), scores[chain * n_vectors + v])

            def add(place: ir.Value, chain: int) -> None:
                value = b.load(b.gep(values, [place]))
                if isinstance(data_type, ir.DoubleType):
                    value = b.fptrunc(value, ir.FloatType())
                x = e.splat(value)
                column = b.sext(b.load(b.gep(columns, [place])), I64)
                line = b.sext(b.load(b.gep(lines, [column])), I64)
                run = b.add(b.mul(line, width), first)
                if n_vectors >= _VECTORS_ASKED_FOR:
                    ahead = b.add(place, int64(_AHEAD))
                    ahead = b.select(b.icmp_signed("<", ahead, n_values), ahead, place)
                    column = b.sext(b.load(b.gep(columns, [ahead])), I64)
                    line = b.sext(b.load(b.gep(lines, [column])), I64)
                    asked = b.add(b.mul(line, width), first)
                    for v in range(n_vectors):
                        e.prefetch(centers, b.add(asked, int64(v * n)))
                for v in range(n_vectors):
                    center = e.load(centers, b.add(run, int64(v * n)))
                    score = scores[chain * n_vectors + v]
                    b.store(e.fma(center, x, b.load(score)), score)

            stop = args[3]
            if n_chains == 2:
                # An odd value comes last.
                odd = b.and_(b.sub(args[3], args[2]), int64(1))
                stop = b.sub(args[3], odd)
            with cgutils.for_range_slice(b, args[2], stop, int64(n_chains), I64) as (place, _):
                for chain in range(n_chains):
                    add(b.add(place, int64(chain)), chain)
            if n_chains == 2:
                with b.if_then(b.icmp_signed("<", stop, args[3])):
                    add(stop, 0)
                for v in range(n_vectors):
                    total = b.fadd(b.load(scores[v]), b.load(scores[n_vectors + v]))
                    b.store(total, scores[v])
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
        least, next_one, label = b.load(best_now), b.load(second_now), b.load(label_now)
        size = n
        while size > 1:
            size //= 2
            low, high = list(range(size)), list(range(size, 2 * size))
            one, other = e.shuffle(least, least, low), e.shuffle(least, least, high)
            nearer = b.fcmp_ordered("<", other, one)
            loser = b.select(nearer, one, other)
            least = b.select(nearer, other, one)
            for lanes_of_second in (low, high):
                rival = e.shuffle(next_one, next_one, lanes_of_second)
                loser = b.select(b.fcmp_ordered("<", rival, loser), rival, loser)
            next_one = loser
            label = b.select(nearer, e.shuffle(label, label, high), e.shuffle(label, label, low))
        first_lane = ir.Constant(I32, 0)
        b.store(b.extract_element(least, first_lane), best_out)
        b.store(b.extract_element(next_one, first_lane), second_out)
        return b.extract_element(label, first_lane)

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
