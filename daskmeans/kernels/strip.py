"""A strip of rows: transpose it, and find the nearest center of each of its rows.

A *strip* is `strip_rows(dtype)` rows, consecutive ones or chosen ones. Its transposed copy holds
features down and rows along, so that one vector register holds one feature of `lanes(dtype)` rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.vector import (
    I64,
    LINE_BYTES,
    TILE_CENTERS,
    VECTOR_BYTES,
    VECTORS,
    Emitter,
    data_pointer,
    int64,
)

# Rows of more cache lines are wide: 32 of them would take a third of a first-level cache.
WIDE_LINES = 8
# Features whose products are summed one after the other; such sums are then added up. A sum is as
# exact as it has few operations in a row, and rows are decided again where it is not exact enough.
PART_FEATURES = 64
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


@intrinsic
def prefetch_row(
    typingctx: Any,
    rows: Any,  # IN   (r, d), C order
    number: Any,  # IN
) -> tuple[Any, Callable[..., Any]]:
    """Ask for the memory of a row, which is soon to be read."""
    signature = types.void(rows, types.intp)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, context.get_value_type(sig.args[0].dtype), 1)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        first = b.mul(args[1], n_features)
        a_line = int64(LINE_BYTES // e.itemsize)
        with cgutils.for_range_slice(b, int64(0), n_features, a_line, I64) as (feature, _):
            e.prefetch(array.data, b.add(first, feature))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def prefetch_labels(
    typingctx: Any,
    labels: Any,  # IN   (R,) int32
    place: Any,  # IN   of a strip's first row, which need not exist
) -> tuple[Any, Callable[..., Any]]:
    """Ask for the labels of a strip, which are soon to be read."""
    signature = types.void(labels, types.intp)
    n = VECTORS * VECTOR_BYTES // 4  # of float32 rows; strips of float64 rows are shorter

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.FloatType(), 1)
        data = data_pointer(context, b, sig.args[0], args[0])
        for line in range(0, n, LINE_BYTES // 4):
            e.prefetch(data, b.add(args[1], int64(line)))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def nearest_in_strip(
    typingctx: Any,
    strip: Any,  # IN   (dp * strip_rows,) transposed strip
    packed: Any,  # IN   (t * (d + 1) * TILE_CENTERS,) dtype of strip, see `pack_centers`
    numbers: Any,  # IN   (t * TILE_CENTERS,) int32, number of each packed center
    n_features: Any,  # IN   d
    n_tiles: Any,  # IN   t, tiles of TILE_CENTERS centers
    tiles_a_group: Any,  # IN   at least 1
    bound: Any,  # IN   (6,) dtype of strip; the rounding bound is b[0] + b[1] |y| + b[2] |y|^2
    labels: Any,  # OUT  (>= at + strip_rows,) int32; strip_rows are written
    at: Any,  # IN   from here on
    scores: Any,  # OUT  ((1 + 2 g) * strip_rows,) dtype of strip, g = ceil(t / tiles_a_group)
) -> tuple[Any, Callable[..., Any]]:
    """Label each row of a strip; return a bit per row whose label rounding may have decided.

    The score of center c for row y is |c|^2/2 - y.c, half the squared distance less |y|^2/2. A bit
    is set where second-best less best score is not above the bound, NaN and infinity included.
    `scores` gets |y|^2, and then for each group of tiles its best and second-best score.
    """
    # Register tile: TILE_CENTERS centers by VECTORS vectors of rows; the loop over features is
    # innermost and carries only these accumulators. Best, second and label are updated a vector of
    # rows at a time, once a tile, with no reduction across lanes. After each PART_FEATURES the
    # accumulators begin at zero again, and what they held waits in memory.
    signature = types.uint64(
        strip,
        packed,
        numbers,
        types.intp,
        types.intp,
        types.intp,
        bound,
        labels,
        types.intp,
        scores,
    )
    n = VECTOR_BYTES // (strip.dtype.bitwidth // 8)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, context.get_value_type(sig.args[0].dtype), n)
        strip_data, packed_data, numbers_data, bound_data, labels_data, scores_data = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (0, 1, 2, 6, 7, 9)
        )
        n_features, n_tiles, tiles_a_group = args[3], args[4], args[5]
        labels_data = b.gep(labels_data, [args[8]])
        vectors, tile = range(VECTORS), range(TILE_CENTERS)

        def variables(value: ir.Value) -> list[ir.Value]:
            return [cgutils.alloca_once_value(b, value) for _ in vectors]

        infinity, zero_labels = e.const(np.inf), ir.Constant(e.indices, [0] * n)
        best, second, label = variables(infinity), variables(infinity), variables(zero_labels)
        group_best, group_second = variables(infinity), variables(infinity)
        group_label = variables(zero_labels)
        sq_norm = variables(e.const(0.0))
        score = [[cgutils.alloca_once(b, e.vector) for _ in vectors] for _ in tile]
        before = [cgutils.alloca_once(b, e.vector) for _ in range(VECTORS * TILE_CENTERS)]

        def load_rows(feature: ir.Value) -> list[ir.Value]:
            position = b.mul(feature, int64(VECTORS * n))
            return [e.load(strip_data, b.add(position, int64(v * n))) for v in vectors]

        def keep(values: list[ir.Value], line: ir.Value) -> None:
            for v in vectors:
                position = b.add(b.mul(line, int64(VECTORS * n)), int64(v * n))
                e.store(b.load(values[v]), scores_data, position)

        def in_parts(sums: list[ir.Value], add: Callable[[ir.Value], None]) -> None:
            """Add all features to sums that have begun, each part by itself."""
            part = int64(PART_FEATURES)
            in_first = b.select(b.icmp_signed("<", n_features, part), n_features, part)
            with cgutils.for_range(b, in_first) as features:
                add(features.index)
            with cgutils.for_range_slice(b, part, n_features, part, I64) as (first, _):
                for value, waiting in zip(sums, before, strict=False):
                    b.store(b.load(value), waiting)
                    b.store(e.const(0.0), value)
                end = b.add(first, part)
                end = b.select(b.icmp_signed("<", end, n_features), end, n_features)
                with cgutils.for_range_slice(b, first, end, int64(1), I64) as (feature, _):
                    add(feature)
                for value, waiting in zip(sums, before, strict=False):
                    b.store(b.fadd(b.load(value), b.load(waiting)), value)

        def add_squares(feature: ir.Value) -> None:
            for v, y in enumerate(load_rows(feature)):
                b.store(e.fma(y, y, b.load(sq_norm[v])), sq_norm[v])

        in_parts(sq_norm, add_squares)
        keep(sq_norm, int64(0))

        tile_size = b.mul(b.add(n_features, int64(1)), int64(TILE_CENTERS))
        n_groups = b.sdiv(
            b.add(n_tiles, b.sub(tiles_a_group, int64(1))),
            tiles_a_group,
        )
        with cgutils.for_range(b, n_groups) as groups:
            first_tile = b.mul(groups.index, tiles_a_group)
            end = b.add(first_tile, tiles_a_group)
            end = b.select(b.icmp_signed("<", end, n_tiles), end, n_tiles)
            for v in vectors:
                b.store(infinity, group_best[v])
                b.store(infinity, group_second[v])
                b.store(zero_labels, group_label[v])
            with cgutils.for_range_slice(b, first_tile, end, int64(1), I64) as (tile_number, _):
                tile_data = b.gep(packed_data, [b.mul(tile_number, tile_size)])
                for j in tile:
                    half_norm = e.splat(b.load(b.gep(tile_data, [int64(j)])))
                    for v in vectors:
                        b.store(half_norm, score[j][v])

                def add_products(feature: ir.Value, tile_data: ir.Value = tile_data) -> None:
                    ys = load_rows(feature)
                    column = b.mul(b.add(feature, int64(1)), int64(TILE_CENTERS))
                    for j in tile:
                        center = e.splat(b.load(b.gep(tile_data, [b.add(column, int64(j))])))
                        for v in vectors:
                            b.store(e.fma(center, ys[v], b.load(score[j][v])), score[j][v])

                in_parts([score[j][v] for j in tile for v in vectors], add_products)
                first = b.mul(tile_number, int64(TILE_CENTERS))
                for j in tile:
                    center_number = b.load(b.gep(numbers_data, [b.add(first, int64(j))]))
                    number = e.splat(center_number, e.indices)
                    for v in vectors:
                        new, old = b.load(score[j][v]), b.load(group_best[v])
                        runner_up = b.load(group_second[v])
                        nearer = b.fcmp_ordered("<", new, old)
                        loser = b.select(nearer, old, new)
                        closer = b.fcmp_ordered("<", loser, runner_up)
                        b.store(b.select(closer, loser, runner_up), group_second[v])
                        b.store(b.select(nearer, new, old), group_best[v])
                        b.store(b.select(nearer, number, b.load(group_label[v])), group_label[v])
            line = b.add(b.mul(groups.index, int64(2)), int64(1))
            keep(group_best, line)
            keep(group_second, b.add(line, int64(1)))
            for v in vectors:
                new, old = b.load(group_best[v]), b.load(best[v])
                nearer = b.fcmp_ordered("<", new, old)
                runner_up = b.load(second[v])
                for other in (b.select(nearer, old, new), b.load(group_second[v])):
                    closer = b.fcmp_ordered("<", other, runner_up)
                    runner_up = b.select(closer, other, runner_up)
                b.store(runner_up, second[v])
                b.store(b.select(nearer, new, old), best[v])
                b.store(b.select(nearer, b.load(group_label[v]), b.load(label[v])), label[v])

        constant, linear, square = (
            e.splat(b.load(b.gep(bound_data, [int64(i)]))) for i in range(3)
        )
        doubtful: ir.Value = int64(0)
        for v in vectors:
            norm = e.sqrt(b.load(sq_norm[v]))
            limit = e.fma(square, b.load(sq_norm[v]), e.fma(linear, norm, constant))
            gap = b.fsub(b.load(second[v]), b.load(best[v]))
            bits = b.bitcast(b.fcmp_unordered("<=", gap, limit), ir.IntType(n))
            doubtful = b.or_(doubtful, b.shl(b.zext(bits, I64), int64(v * n)))
            target = b.bitcast(b.gep(labels_data, [int64(v * n)]), e.indices.as_pointer())
            b.store(b.load(label[v]), target).align = 4
        return doubtful

    return signature, codegen


@intrinsic
def differing(
    typingctx: Any,
    found: Any,  # IN  (>= at + count,) int32
    at: Any,  # IN
    old: Any,  # IN  (>= start + count,) int32
    start: Any,  # IN
    count: Any,  # IN  up to 64
) -> tuple[Any, Callable[..., Any]]:
    """Return a bit per i below `count` that is set where found[at + i] is not old[start + i]."""
    signature = types.uint64(found, types.intp, old, types.intp, types.intp)
    n = 16

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.FloatType(), n)
        arrays = [
            b.gep(data_pointer(context, b, sig.args[i], args[i]), [args[i + 1]]) for i in (0, 2)
        ]
        result = cgutils.alloca_once_value(b, int64(0))
        with cgutils.for_range_slice(b, int64(0), args[4], int64(n), I64) as (first, _):
            mask = e.lanes_below(b.sub(args[4], first))
            new, old = (e.load_indices_masked(array, first, mask) for array in arrays)
            bits = b.bitcast(b.icmp_signed("!=", new, old), ir.IntType(n))
            b.store(b.or_(b.load(result), b.shl(b.zext(bits, I64), first)), result)
        return b.load(result)

    return signature, codegen


@intrinsic
def lowest_bit(
    typingctx: Any,
    bits: Any,  # IN  uint64, not 0
) -> tuple[Any, Callable[..., Any]]:
    """Return the number of the lowest bit that is set."""
    signature = types.int64(types.uint64)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return b.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return signature, codegen
