"""Scores of single rows, taken from anywhere, for one group of centers.

The register tile of `strip` turned around: centers lie along the lanes and rows are read number by
number. It needs no transposed copy of the rows, which for few centers costs more than scoring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.vector import I32, VECTOR_BYTES, Emitter, data_pointer, int64

ROWS_AT_ONCE = 8  # accumulators: enough to hide the latency of a fused operation


def chosen_row(b: ir.IRBuilder, chosen: ir.Value, at: ir.Value, last: ir.Value) -> ir.Value:
    """Return chosen[at] as int64; past the last one that one again."""
    at = b.select(b.icmp_signed("<", at, last), at, last)
    return b.sext(b.load(b.gep(chosen, [at])), at.type)


def score_rows(
    e: Emitter,
    rows: list[ir.Value],
    n_features: ir.Value,
    centers: ir.Value,
    width: ir.Value,
    part: ir.Value,
    score: list[ir.Value],
) -> None:
    """Emit the scores of ROWS_AT_ONCE rows for a vector of centers.

    `rows` and `centers` point to the first number of each row and of the group, which is laid out
    as `best_of_others` has it; the vector starts at center `part` of the group. `score` are
    variables, one for each row.
    """
    b = e.b
    half_norms = e.load(centers, part)
    for variable in score:
        b.store(half_norms, variable)
    with cgutils.for_range(b, n_features) as features:
        line = b.mul(b.add(features.index, int64(1)), width)
        center = e.load(centers, b.add(line, part))
        for row, variable in zip(rows, score, strict=True):
            y = e.splat(b.load(b.gep(row, [features.index])))
            b.store(e.fma(center, y, b.load(variable)), variable)


@intrinsic
def best_of_others(
    typingctx: Any,
    rows: Any,  # IN  (m, d) float32 or float64, C order, shifted
    chosen: Any,  # IN  (>= count,) int32, numbers of rows
    count: Any,  # IN  at least 1
    group: Any,  # IN  groups of centers, each (d + 1, width): half norms, then -centers
    number: Any,  # IN  which group
    width: Any,  # IN  centers in a group, a multiple of the lanes
    positions: Any,  # IN  (m,) int32, position of each row's own center
    best: Any,  # OUT (>= count rounded up to ROWS_AT_ONCE,) dtype of rows
) -> tuple[Any, Callable[..., Any]]:
    """Write the best score of each chosen row among the centers of a group, its own left out."""
    signature = types.void(
        rows,
        chosen,
        types.intp,
        group,
        types.intp,
        types.intp,
        positions,
        best,
    )
    n = VECTOR_BYTES // (rows.dtype.bitwidth // 8)
    together = range(ROWS_AT_ONCE)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, context.get_value_type(sig.args[0].dtype), n)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        count, number, width = args[2], args[4], args[5]
        chosen, centers, positions, out = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (1, 3, 6, 7)
        )
        size = b.mul(b.add(n_features, int64(1)), width)
        centers = b.gep(centers, [b.mul(number, size)])
        first_position = b.trunc(b.mul(number, width), I32)
        last = b.sub(count, int64(1))
        lanes = ir.Constant(e.indices, list(range(n)))
        nearest = [cgutils.alloca_once(b, e.vector) for _ in together]
        score = [cgutils.alloca_once(b, e.vector) for _ in together]

        def lesser(one: ir.Value, other: ir.Value) -> ir.Value:
            return b.select(b.fcmp_ordered("<", one, other), one, other)

        with cgutils.for_range_slice(b, int64(0), count, int64(ROWS_AT_ONCE), count.type) as (
            entry,
            _,
        ):
            pointers, own = [], []
            for r in together:
                row = chosen_row(b, chosen, b.add(entry, int64(r)), last)
                pointers.append(b.gep(array.data, [b.mul(row, n_features)]))
                own.append(b.sub(b.load(b.gep(positions, [row])), first_position))
                b.store(e.const(np.inf), nearest[r])
            with cgutils.for_range_slice(b, int64(0), width, int64(n), count.type) as (part, _):
                score_rows(e, pointers, n_features, centers, width, part, score)
                numbers = b.add(lanes, e.splat(b.trunc(part, I32), e.indices))
                for r in together:
                    is_own = b.icmp_signed("==", numbers, e.splat(own[r], e.indices))
                    new = b.select(is_own, e.const(np.inf), b.load(score[r]))
                    b.store(lesser(new, b.load(nearest[r])), nearest[r])
            for r in together:
                found = e.folded(b.load(nearest[r]), lesser)
                b.store(found, b.gep(out, [b.add(entry, int64(r))]))
        return context.get_dummy_value()

    return signature, codegen
