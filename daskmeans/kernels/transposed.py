"""Transposed copies of strips of rows: features down and rows along, see `strip`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.vector import (
    I64,
    LINE_BYTES,
    VECTOR_BYTES,
    VECTORS,
    Emitter,
    data_pointer,
    int64,
)

# Rows of more cache lines are wide: 32 of them would take a third of a first-level cache.
WIDE_LINES = 8
# Up to so many features consecutive rows are read as whole registers.
NARROW = 4
# Strips of such rows take less time than memory takes to answer: lines are asked for so many ahead.
_STRIPS_AHEAD = 4


@intrinsic
def transpose_strip(
    typingctx: Any,
    rows: Any,  # IN   (r, d) float32 or float64, C order
    chosen: Any,  # IN   (strip_rows,) int64, numbers of the rows
    ahead: Any,  # IN   (strip_rows,) int64, rows of the strip after it; they need not exist
    shift: Any,  # IN   (dp,) dtype of rows, dp = d rounded up to a multiple of 4
    strip: Any,  # OUT  (dp * strip_rows,) dtype of rows, as (dp, strip_rows)
) -> tuple[Any, Callable[..., Any]]:
    """Write `(rows[chosen] - shift).T` to `strip`, and ask for memory that is read next."""
    # Four features at a time: quads of rows i, i + 4, i + 8, ... are joined to one register, and
    # two rounds of shuffles inside quads leave one feature of consecutive rows in each register.
    # Reading rows along and writing columns one number at a time costs 3 cycles a number, as much
    # as scoring it against 50 centers; whole squares of lanes x lanes waste most of it for d < 8.
    # No processor foresees this order of reading, and waiting for memory took two thirds of a pass
    # over rows of 4 or 16 features: each line of the next strip is asked for, or, where rows are
    # wide and so a strip does not fit the first-level cache, the line after the next of each row.
    signature = types.void(rows, chosen, ahead, shift, strip)
    n = VECTOR_BYTES // (rows.dtype.bitwidth // 8)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        scalar = context.get_value_type(sig.args[0].dtype)
        e, quad = Emitter(b, scalar, n), Emitter(b, scalar, 4)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        chosen_data, ahead_data, shift_data, strip_data = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (1, 2, 3, 4)
        )
        n_quads = b.sdiv(b.add(n_features, int64(3)), int64(4))

        a_line = LINE_BYTES // e.itemsize
        wide = b.icmp_signed(">", n_features, int64(WIDE_LINES * a_line))

        # Kept in memory: there are more of them than registers.
        offsets, asked = (cgutils.alloca_once(b, I64, VECTORS * n) for _ in range(2))
        eight = Emitter(b, I64, 8)
        for i in range(0, VECTORS * n, 8):
            own, following = (
                b.mul(eight.load(data, int64(i)), eight.splat(n_features))
                for data in (chosen_data, ahead_data)
            )
            lines_on = b.add(own, ir.Constant(eight.vector, [2 * a_line] * 8))
            eight.store(own, offsets, int64(i))
            eight.store(b.select(wide, lines_on, following), asked, int64(i))

        def start_of(row: int, feature: ir.Value, starts: ir.Value) -> ir.Value:
            return b.add(b.load(b.gep(starts, [int64(row)])), feature)

        with cgutils.for_range(b, n_quads) as quads:
            first = b.mul(quads.index, int64(4))
            at_line = b.icmp_signed("==", b.and_(first, int64(a_line - 1)), int64(0))
            with b.if_then(at_line):
                for row in range(VECTORS * n):
                    e.prefetch(array.data, start_of(row, first, asked))
            mask = quad.lanes_below(b.sub(n_features, first))
            for v in range(VECTORS):
                block = []
                for i in range(4):
                    parts = [
                        quad.load_masked(array.data, start_of(v * n + j, first, offsets), mask)
                        for j in range(i, n, 4)
                    ]
                    while len(parts) > 1:
                        width = 2 * parts[0].type.count
                        parts = [
                            e.shuffle(parts[j], parts[j + 1], list(range(width)))
                            for j in range(0, len(parts), 2)
                        ]
                    block.append(parts[0])
                for distance in (1, 2):
                    for i in range(4):
                        if not i & distance:
                            low, high = block[i], block[i + distance]
                            block[i] = e.shuffle(
                                low,
                                high,
                                [n + j - distance if j & distance else j for j in range(n)],
                            )
                            block[i + distance] = e.shuffle(
                                low,
                                high,
                                [n + j if j & distance else j + distance for j in range(n)],
                            )
                for i, column in enumerate(block):
                    feature = b.add(first, int64(i))
                    moved = e.splat(b.load(b.gep(shift_data, [feature])))
                    position = b.add(b.mul(feature, int64(VECTORS * n)), int64(v * n))
                    e.store(b.fsub(column, moved), strip_data, position)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def transpose_narrow(
    typingctx: Any,
    rows: Any,  # IN   (r, d) float32 or float64, C order, d <= NARROW
    start: Any,  # IN   first row; strip_rows of them exist from there on
    shift: Any,  # IN   (dp,) dtype of rows
    strip: Any,  # OUT  (dp * strip_rows,) dtype of rows, as (dp, strip_rows)
) -> tuple[Any, Callable[..., Any]]:
    """Write `(rows[start : start + strip_rows] - shift).T` to `strip`, as `transpose_strip` does.

    `d` lines of strip_rows numbers; for more than NARROW features nothing is written.
    """
    # Each d by itself: a strip is d registers for each vector of rows, and so few shuffles between
    # them that one feature of all rows costs less than a load for each. Reading row by row took as
    # long as scoring rows of 4 features against 8 centers.
    signature = types.void(rows, types.intp, shift, strip)
    n = VECTOR_BYTES // (rows.dtype.bitwidth // 8)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, context.get_value_type(sig.args[0].dtype), n)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        shift_data, strip_data = (data_pointer(context, b, sig.args[i], args[i]) for i in (2, 3))
        first = b.mul(args[1], n_features)

        def of_width(d: int) -> None:
            for line in range(0, VECTORS * n * d, LINE_BYTES // e.itemsize):
                ahead = _STRIPS_AHEAD * VECTORS * n * d + line
                e.prefetch(array.data, b.add(first, int64(ahead)))
            moved = [e.splat(b.load(b.gep(shift_data, [int64(f)]))) for f in range(d)]
            for v in range(VECTORS):
                read = [e.load(array.data, b.add(first, int64((v * d + j) * n))) for j in range(d)]
                for f in range(d):
                    y = e.picked(read, [i * d + f for i in range(n)])
                    e.store(b.fsub(y, moved[f]), strip_data, int64((f * VECTORS + v) * n))

        end = b.append_basic_block("transposed")
        choice = b.switch(n_features, end)
        for d in range(1, NARROW + 1):
            block = b.append_basic_block(f"width.{d}")
            choice.add_case(int64(d), block)
            with b.goto_block(block):
                of_width(d)
                b.branch(end)
        b.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen
