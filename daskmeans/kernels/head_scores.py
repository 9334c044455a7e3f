"""Products of single rows with vectors of centers or axes, for searches by heads of rows.

The loops are those of `row_scores`; see `heads` for what they are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.row_scores import ROWS_AT_ONCE, chosen_row, score_rows
from daskmeans.kernels.vector import GROUP_CENTERS, VECTOR_BYTES, Emitter, data_pointer, int64

# Numbers of a vector register in `beyond` for each row.
HEAD_LANES = VECTOR_BYTES // 4
_I16 = ir.IntType(16)


@intrinsic
def within_reach(
    typingctx: Any,
    heads: Any,  # IN  (R, e) float32, C order
    chosen: Any,  # IN  (>= count,) int32, numbers of rows
    count: Any,  # IN  at least 1
    groups: Any,  # IN  groups of GROUP_CENTERS centers' heads, as `best_of_others` has them
    n_groups: Any,  # IN  g
    limits: Any,  # IN  (>= count,) float32
    reached: Any,  # OUT (>= count rounded up to ROWS_AT_ONCE, g) uint16
    beyond: Any,  # INOUT (>= count rounded up * HEAD_LANES,) float32
) -> tuple[Any, Callable[..., Any]]:
    """Set a bit for each center whose score for a chosen row is not above the row's limit.

    Of all other scores the least ones stay in `beyond`, whose least for a row is that of its
    HEAD_LANES numbers.
    """
    signature = types.void(heads, chosen, types.intp, groups, types.intp, limits, reached, beyond)
    n, together = HEAD_LANES, range(ROWS_AT_ONCE)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.FloatType(), n)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        count, n_groups = args[2], args[4]
        chosen, groups, limits, reached, beyond = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (1, 3, 5, 6, 7)
        )
        width, last = int64(GROUP_CENTERS), b.sub(count, int64(1))
        size = b.mul(b.add(n_features, int64(1)), width)
        score = [cgutils.alloca_once(b, e.vector) for _ in together]

        # A group's centers and all rows' heads stay in the first-level cache.
        with cgutils.for_range(b, n_groups) as group:
            centers = b.gep(groups, [b.mul(group.index, size)])
            with cgutils.for_range_slice(b, int64(0), count, int64(ROWS_AT_ONCE), count.type) as (
                entry,
                _,
            ):
                places = [b.add(entry, int64(r)) for r in together]
                rows = [chosen_row(b, chosen, place, last) for place in places]
                pointers = [b.gep(array.data, [b.mul(row, n_features)]) for row in rows]
                bits: list[ir.Value] = [ir.Constant(_I16, 0) for _ in together]
                for part in range(0, GROUP_CENTERS, n):
                    score_rows(e, pointers, n_features, centers, width, int64(part), score)
                    for r, place in enumerate(places):
                        at = b.select(b.icmp_signed("<", place, last), place, last)
                        limit = e.splat(b.load(b.gep(limits, [at])))
                        value = b.load(score[r])
                        # NaN is within reach of everything.
                        near = b.fcmp_unordered("<=", value, limit)
                        found = b.bitcast(near, ir.IntType(n))
                        if n < 16:
                            found = b.shl(b.zext(found, _I16), ir.Constant(_I16, part))
                        bits[r] = b.or_(bits[r], found)
                        others = b.select(near, e.const(np.inf), value)
                        old = e.load(beyond, b.mul(place, int64(n)))
                        nearer = b.fcmp_ordered("<", others, old)
                        e.store(b.select(nearer, others, old), beyond, b.mul(place, int64(n)))
                for place, found in zip(places, bits, strict=True):
                    b.store(found, b.gep(reached, [b.add(b.mul(place, n_groups), group.index)]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def row_products(
    typingctx: Any,
    rows: Any,  # IN  (m, d) float64, C order
    chosen: Any,  # IN  (>= count,) int32, numbers of rows
    count: Any,  # IN  at least 1
    axes: Any,  # IN  (d + 1, width) float64, flat: a line of zeros, then features
    width: Any,  # IN  a multiple of the lanes
    products: Any,  # OUT (>= count rounded up to ROWS_AT_ONCE, width) float64
) -> tuple[Any, Callable[..., Any]]:
    """Multiply each chosen row by all axes."""
    signature = types.void(rows, chosen, types.intp, axes, types.intp, products)
    n, together = VECTOR_BYTES // 8, range(ROWS_AT_ONCE)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.DoubleType(), n)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        count, width = args[2], args[4]
        chosen, axes, products = (data_pointer(context, b, sig.args[i], args[i]) for i in (1, 3, 5))
        last = b.sub(count, int64(1))
        score = [cgutils.alloca_once(b, e.vector) for _ in together]
        with cgutils.for_range_slice(b, int64(0), count, int64(ROWS_AT_ONCE), count.type) as (
            entry,
            _,
        ):
            places = [b.add(entry, int64(r)) for r in together]
            rows = [chosen_row(b, chosen, place, last) for place in places]
            pointers = [b.gep(array.data, [b.mul(row, n_features)]) for row in rows]
            with cgutils.for_range_slice(b, int64(0), width, int64(n), count.type) as (part, _):
                score_rows(e, pointers, n_features, axes, width, part, score)
                for place, variable in zip(places, score, strict=True):
                    e.store(b.load(variable), products, b.add(b.mul(place, width), part))
        return context.get_dummy_value()

    return signature, codegen
