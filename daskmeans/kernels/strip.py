"""A strip of rows: find the nearest center of each of its rows.

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

# Up to so many features consecutive rows are read as whole registers, and asked for there.
NARROW = 4
# Rows of more cache lines are wide: 32 of them would take a third of a first-level cache.
WIDE_LINES = 8
# Features whose products are summed one after the other; such sums are then added up. A sum is as
# exact as it has few operations in a row, and rows are decided again where it is not exact enough.
PART_FEATURES = 64


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
    scores: Any,  # INOUT ((1 + 2 g) * strip_rows,) dtype of strip, g = ceil(t / tiles_a_group)
    rows: Any,  # IN   (r, d) dtype of strip, C order
    ahead: Any,  # IN   (strip_rows,) int64, rows of a strip to come, for d > NARROW; need not exist
) -> tuple[Any, Callable[..., Any]]:
    """Label each row of a strip; return a bit per row whose label rounding may have decided.

    The score of center c for row y is |c|^2/2 - y.c, half the squared distance less |y|^2/2. A bit
    is set where second-best less best score is not above the bound, NaN and infinity included.
    `scores` has |y|^2, and gets for each group of tiles its best and second-best score. Memory is
    asked for the rows of a strip to come meanwhile.
    """
    # Register tile: TILE_CENTERS centers by VECTORS vectors of rows; the loop over features is
    # innermost and carries only these accumulators. Best, second and label are updated a vector of
    # rows at a time, once a tile, with no reduction across lanes. After each PART_FEATURES the
    # accumulators begin at zero again, and what they held waits in memory.
    # Each tile asks for some of the next rows, part by part: no processor foresees which they are,
    # and asked for all at once they come no faster than memory sends them, which takes as long as
    # a fifth of the products of 768 features and 100 centers.
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
        rows,
        ahead,
    )
    n = VECTOR_BYTES // (strip.dtype.bitwidth // 8)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, context.get_value_type(sig.args[0].dtype), n)
        (
            strip_data,
            packed_data,
            numbers_data,
            bound_data,
            labels_data,
            scores_data,
            rows_data,
            ahead_data,
        ) = (data_pointer(context, b, sig.args[i], args[i]) for i in (0, 1, 2, 6, 7, 9, 10, 11))
        n_features, n_tiles, tiles_a_group = args[3], args[4], args[5]
        labels_data = b.gep(labels_data, [args[8]])
        vectors, tile = range(VECTORS), range(TILE_CENTERS)

        def variables(value: ir.Value) -> list[ir.Value]:
            return [cgutils.alloca_once_value(b, value) for _ in vectors]

        infinity, zero_labels = e.const(np.inf), ir.Constant(e.indices, [0] * n)
        best, second, label = variables(infinity), variables(infinity), variables(zero_labels)
        group_best, group_second = variables(infinity), variables(infinity)
        group_label = variables(zero_labels)
        score = [[cgutils.alloca_once(b, e.vector) for _ in vectors] for _ in tile]
        every_score = [score[j][v] for j in tile for v in vectors]
        before = [cgutils.alloca_once(b, e.vector) for _ in every_score]

        def load_rows(feature: ir.Value) -> list[ir.Value]:
            position = b.mul(feature, int64(VECTORS * n))
            return [e.load(strip_data, b.add(position, int64(v * n))) for v in vectors]

        def keep(values: list[ir.Value], line: ir.Value) -> None:
            for v in vectors:
                position = b.add(b.mul(line, int64(VECTORS * n)), int64(v * n))
                e.store(b.load(values[v]), scores_data, position)

        def smaller(one: ir.Value, other: ir.Value) -> ir.Value:
            return b.select(b.icmp_signed("<", one, other), one, other)

        part = int64(PART_FEATURES)
        a_line = LINE_BYTES // e.itemsize
        wide = b.icmp_signed(">", n_features, int64(WIDE_LINES * a_line))
        narrow = b.icmp_signed("<=", n_features, int64(NARROW))
        n_ahead = b.select(narrow, int64(0), int64(VECTORS * n))
        ahead_a_tile = b.sdiv(b.add(n_ahead, b.sub(n_tiles, int64(1))), n_tiles)

        def ask_ahead(tile_number: ir.Value, first: ir.Value, end: ir.Value) -> None:
            """Ask for features `first` to `end` of a tile's share of the next rows."""
            first_row = b.mul(tile_number, ahead_a_tile)
            end_row = smaller(b.add(first_row, ahead_a_tile), n_ahead)
            with cgutils.for_range_slice(b, first_row, end_row, int64(1), I64) as (row, _):
                start = b.mul(b.load(b.gep(ahead_data, [row])), n_features)
                with cgutils.for_range_slice(b, first, end, int64(a_line), I64) as (feature, _):
                    place = b.add(start, feature)
                    with b.if_else(wide) as (then, otherwise):
                        with then:
                            e.prefetch(rows_data, place, level=2)
                        with otherwise:
                            e.prefetch(rows_data, place)

        tile_size = b.mul(b.add(n_features, int64(1)), int64(TILE_CENTERS))
        n_groups = b.sdiv(
            b.add(n_tiles, b.sub(tiles_a_group, int64(1))),
            tiles_a_group,
        )
        with cgutils.for_range(b, n_groups) as groups:
            first_tile = b.mul(groups.index, tiles_a_group)
            end = smaller(b.add(first_tile, tiles_a_group), n_tiles)
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

                def add_products(
                    first: ir.Value,
                    end: ir.Value,
                    tile_number: ir.Value = tile_number,
                    tile_data: ir.Value = tile_data,
                ) -> None:
                    ask_ahead(tile_number, first, end)
                    with cgutils.for_range_slice(b, first, end, int64(1), I64) as (feature, _):
                        ys = load_rows(feature)
                        column = b.mul(b.add(feature, int64(1)), int64(TILE_CENTERS))
                        for j in tile:
                            center = e.splat(b.load(b.gep(tile_data, [b.add(column, int64(j))])))
                            for v in vectors:
                                b.store(e.fma(center, ys[v], b.load(score[j][v])), score[j][v])

                add_products(int64(0), smaller(part, n_features))
                with cgutils.for_range_slice(b, part, n_features, part, I64) as (first, _):
                    for each, waiting in zip(every_score, before, strict=True):
                        b.store(b.load(each), waiting)
                        b.store(e.const(0.0), each)
                    add_products(first, smaller(b.add(first, part), n_features))
                    for each, waiting in zip(every_score, before, strict=True):
                        b.store(b.fadd(b.load(each), b.load(waiting)), each)
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
            sq_norm = e.load(scores_data, int64(v * n))
            limit = e.fma(square, sq_norm, e.fma(linear, e.sqrt(sq_norm), constant))
            gap = b.fsub(b.load(second[v]), b.load(best[v]))
            bits = b.bitcast(b.fcmp_unordered("<=", gap, limit), ir.IntType(n))
            doubtful = b.or_(doubtful, b.shl(b.zext(bits, I64), int64(v * n)))
            target = b.bitcast(b.gep(labels_data, [int64(v * n)]), e.indices.as_pointer())
            b.store(b.load(label[v]), target).align = 4
        return doubtful

    return signature, codegen
