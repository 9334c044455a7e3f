"""Transposed copies of strips of rows: features down and rows along, see `strip`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.strip import NARROW, PART_FEATURES, WIDE_LINES
from daskmeans.kernels.vector import (
    I64,
    LINE_BYTES,
    VECTOR_BYTES,
    VECTORS,
    Emitter,
    data_pointer,
    int64,
)

# Sums of squares that begin apart: one would wait for itself.
_CHAINS = 4
# Strips of such rows take less time than memory takes to answer: lines are asked for so many ahead.
_STRIPS_AHEAD = 4


@intrinsic
def transpose_strip(
    typingctx: Any,
    rows: Any,  # IN   (r, d) float32 or float64, C order
    chosen: Any,  # IN   (strip_rows,) int64, numbers of the rows
    shift: Any,  # IN   (dp,) dtype of rows, dp = d rounded up to whole registers
    strip: Any,  # OUT  (dp * strip_rows,) dtype of rows, as (dp, strip_rows)
    sq_norms: Any,  # OUT  (>= strip_rows,) dtype of rows
) -> tuple[Any, Callable[..., Any]]:
    """Write `(rows[chosen] - shift).T` to `strip`, and the sums of its squared columns."""
    # A square of as many rows as features at a time, as many as a register holds: a register of
    # each row, halves of which are joined until each holds one feature of all rows. Registers of
    # four features, of which most are loaded, joined and addressed, took twice as long, and reading
    # rows along and writing columns one number at a time costs 3 cycles a number, as much as
    # scoring it against 50 centers.
    # Squares are added while they are in registers: those of a square of numbers to each other,
    # then those of PART_FEATURES features, so that no sum passes more roundings than a product.
    # No processor foresees this order of reading. Where rows are wide, and so a strip does not fit
    # the first-level cache, the line after the next of each row is asked for.
    signature = types.void(rows, chosen, shift, strip, sq_norms)
    n = VECTOR_BYTES // (rows.dtype.bitwidth // 8)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        scalar = context.get_value_type(sig.args[0].dtype)
        e = Emitter(b, scalar, n)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        chosen_data, shift_data, strip_data, sq_norms_data = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (1, 2, 3, 4)
        )
        a_line = LINE_BYTES // e.itemsize
        wide = b.icmp_signed(">", n_features, int64(WIDE_LINES * a_line))

        # Kept in memory: there are more of them than registers.
        offsets = cgutils.alloca_once(b, I64, VECTORS * n)
        eight = Emitter(b, I64, 8)
        for i in range(0, VECTORS * n, 8):
            start = b.mul(eight.load(chosen_data, int64(i)), eight.splat(n_features))
            eight.store(start, offsets, int64(i))

        def place(row: int, feature: ir.Value) -> ir.Value:
            return b.add(b.load(b.gep(offsets, [int64(row)])), feature)

        zero = e.const(0.0)
        sums, of_part = (
            [cgutils.alloca_once_value(b, zero) for _ in range(VECTORS)] for _ in range(2)
        )
        with cgutils.for_range_slice(b, int64(0), n_features, int64(n), I64) as (first, _):
            at_part = b.icmp_signed("==", b.and_(first, int64(PART_FEATURES - 1)), int64(0))
            with b.if_then(at_part):
                for total, part in zip(sums, of_part, strict=True):
                    b.store(b.fadd(b.load(total), b.load(part)), total)
                    b.store(zero, part)
            at_line = b.icmp_signed("==", b.and_(first, int64(a_line - 1)), int64(0))
            with b.if_then(b.and_(at_line, wide)):
                for row in range(VECTORS * n):
                    e.prefetch(array.data, place(row, b.add(first, int64(2 * a_line))))
            mask = e.lanes_below(b.sub(n_features, first))
            for v in range(VECTORS):
                square = [
                    e.load_masked(array.data, place(v * n + i, first), mask) for i in range(n)
                ]
                squares = [zero] * _CHAINS
                for i, column in enumerate(_transposed(e, square)):
                    feature = b.add(first, int64(i))
                    moved = e.splat(b.load(b.gep(shift_data, [feature])))
                    y = b.fsub(column, moved)
                    position = b.add(b.mul(feature, int64(VECTORS * n)), int64(v * n))
                    e.store(y, strip_data, position)
                    squares[i % _CHAINS] = e.fma(y, y, squares[i % _CHAINS])
                while len(squares) > 1:
                    squares = [
                        b.fadd(*pair) for pair in zip(squares[::2], squares[1::2], strict=True)
                    ]
                b.store(b.fadd(b.load(of_part[v]), squares[0]), of_part[v])
        for v in range(VECTORS):
            sq_norm = b.fadd(b.load(sums[v]), b.load(of_part[v]))
            e.store(sq_norm, sq_norms_data, int64(v * n))
        return context.get_dummy_value()

    return signature, codegen


def _transposed(e: Emitter, rows: list[ir.Value]) -> list[ir.Value]:
    """Return the columns of a square, of which each register holds a row.

    Registers of more and more rows are merged pair by pair, first number by number in each part of
    128 bits, then part by part, for which processors have the fastest instructions.
    """
    part = 16 // e.itemsize
    starts = range(0, e.n, part)
    lists = [[row] for row in rows]
    while len(lists) > 1:
        height = len(lists[0])  # rows whose numbers stand together in a register
        within = height < part
        if within:
            halves = range(0, part // 2, height)
            low = [
                source + start + half + i
                for start in starts
                for half in halves
                for source in (0, e.n)
                for i in range(height)
            ]
            high = [place + part // 2 for place in low]
        else:
            low = [
                source + start + i
                for source in (0, e.n)
                for start in starts[::2]
                for i in range(part)
            ]
            high = [place + part for place in low]
        merged = []
        for above, below in zip(lists[::2], lists[1::2], strict=True):
            pairs = [
                (e.shuffle(a, b, low), e.shuffle(a, b, high))
                for a, b in zip(above, below, strict=True)
            ]
            in_order = pairs if within else zip(*pairs, strict=True)
            merged.append([column for columns in in_order for column in columns])
        lists = merged
    return lists[0]


@intrinsic
def transpose_narrow(
    typingctx: Any,
    rows: Any,  # IN   (r, d) float32 or float64, C order, d <= NARROW
    start: Any,  # IN   first row; strip_rows of them exist from there on
    shift: Any,  # IN   (dp,) dtype of rows
    strip: Any,  # OUT  (dp * strip_rows,) dtype of rows, as (dp, strip_rows)
    sq_norms: Any,  # OUT  (>= strip_rows,) dtype of rows
) -> tuple[Any, Callable[..., Any]]:
    """Write `(rows[start : start + strip_rows] - shift).T` to `strip`, as `transpose_strip` does.

    `d` lines of strip_rows numbers; for more than NARROW features nothing is written.
    """
    # Each d by itself: a strip is d registers for each vector of rows, and so few shuffles between
    # them that one feature of all rows costs less than a load for each. Reading row by row took as
    # long as scoring rows of 4 features against 8 centers.
    signature = types.void(rows, types.intp, shift, strip, sq_norms)
    n = VECTOR_BYTES // (rows.dtype.bitwidth // 8)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, context.get_value_type(sig.args[0].dtype), n)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        shift_data, strip_data, sq_norms_data = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (2, 3, 4)
        )
        first = b.mul(args[1], n_features)

        def of_width(d: int) -> None:
            for line in range(0, VECTORS * n * d, LINE_BYTES // e.itemsize):
                ahead = _STRIPS_AHEAD * VECTORS * n * d + line
                e.prefetch(array.data, b.add(first, int64(ahead)))
            moved = [e.splat(b.load(b.gep(shift_data, [int64(f)]))) for f in range(d)]
            for v in range(VECTORS):
                read = [e.load(array.data, b.add(first, int64((v * d + j) * n))) for j in range(d)]
                sq_norm = e.const(0.0)
                for f in range(d):
                    y = b.fsub(e.picked(read, [i * d + f for i in range(n)]), moved[f])
                    e.store(y, strip_data, int64((f * VECTORS + v) * n))
                    sq_norm = e.fma(y, y, sq_norm)
                e.store(sq_norm, sq_norms_data, int64(v * n))

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
