"""Vector primitives of the kernels, written as LLVM IR: transpose a strip, score it, add its rows.

numba's own loops cannot express a register tile (several centers by several vectors of rows held in
registers through the loop over features), and that tile is what reaches the arithmetic limit of the
processor. Each primitive here is one explicit vector loop; everything else is ordinary numba.

A *strip* is `strip_rows(dtype)` consecutive rows. Its transposed copy holds features down and rows
along, so that one vector register holds one feature of `lanes(dtype)` rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

VECTORS = 2  # vectors of rows in a strip
SUM_LANES = 8  # float64 lanes of the quantised sums: part of the result, so the same on every CPU
MAGIC = 1.5 * 2.0**52  # adding it rounds a float64 below 2**51 to an integer in the low bits


def _host_has_avx512() -> bool:
    """Tell whether the processor numba compiles for has 512-bit registers."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))


_AVX512 = _host_has_avx512()
VECTOR_BYTES = 64 if _AVX512 else 32
# Centers in a register tile: TILE_CENTERS * VECTORS accumulators, the vectors of rows and one
# broadcast center have to fit the register file (32 registers with AVX-512, 16 without).
TILE_CENTERS = 8 if _AVX512 else 4

_i32, _i64 = ir.IntType(32), ir.IntType(64)


def lanes(dtype: np.dtype[Any] | type) -> int:
    """Rows in one vector register."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def strip_rows(dtype: np.dtype[Any] | type) -> int:
    """Rows in a strip."""
    return VECTORS * lanes(dtype)


class _Emitter:
    """The few IR idioms that all primitives need, for vectors of `n` numbers of one type."""

    def __init__(self, builder: ir.IRBuilder, scalar: Any, n: int) -> None:
        self.b, self.n = builder, n
        self.itemsize = 4 if isinstance(scalar, ir.FloatType) else 8
        self.vector = ir.VectorType(scalar, n)
        self.indices = ir.VectorType(_i32, n)
        self.name = f"v{n}f{8 * self.itemsize}"

    def const(self, value: float) -> ir.Constant:
        return ir.Constant(self.vector, [value] * self.n)

    def splat(self, scalar: ir.Value, vector: ir.Type | None = None) -> ir.Value:
        undefined = ir.Constant(vector or self.vector, ir.Undefined)
        first = self.b.insert_element(undefined, scalar, ir.Constant(_i32, 0))
        return self.shuffle(first, undefined, [0] * self.n)

    def shuffle(self, a: ir.Value, b: ir.Value, order: list[int]) -> ir.Value:
        return self.b.shuffle_vector(a, b, ir.Constant(ir.VectorType(_i32, len(order)), order))

    def pointer(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        return self.b.bitcast(self.b.gep(base, [offset]), self.vector.as_pointer())

    def load(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        value = self.b.load(self.pointer(base, offset))
        value.align = self.itemsize
        return value

    def store(self, value: ir.Value, base: ir.Value, offset: ir.Value) -> None:
        self.b.store(value, self.pointer(base, offset)).align = self.itemsize

    def load_masked(self, base: ir.Value, offset: ir.Value, mask: ir.Value) -> ir.Value:
        """Load the lanes that `mask` names, zero elsewhere; other lanes' memory is not read."""
        pointer = self.vector.as_pointer()
        masks = ir.VectorType(ir.IntType(1), self.n)
        load = self.intrinsic(
            f"llvm.masked.load.{self.name}.p0", [pointer, _i32, masks, self.vector]
        )
        return self.b.call(
            load,
            [self.pointer(base, offset), ir.Constant(_i32, self.itemsize), mask, self.const(0.0)],
        )

    def intrinsic(self, name: str, arguments: list[ir.Type]) -> ir.Function:
        return cgutils.get_or_insert_function(
            self.b.module, ir.FunctionType(self.vector, arguments), name
        )

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self.b.call(self.intrinsic(f"llvm.fma.{self.name}", [self.vector] * 3), [a, b, c])

    def sqrt(self, a: ir.Value) -> ir.Value:
        return self.b.call(self.intrinsic(f"llvm.sqrt.{self.name}", [self.vector]), [a])

    def lanes_below(self, count: ir.Value) -> ir.Value:
        """Mask of the lanes whose number is below `count` (int64)."""
        numbers = ir.Constant(self.indices, list(range(self.n)))
        limit = self.splat(self.b.trunc(count, _i32), self.indices)
        return self.b.icmp_signed("<", numbers, limit)


def _data(context: Any, builder: ir.IRBuilder, array_type: Any, value: ir.Value) -> ir.Value:
    """Pointer to the first element of a numba array."""
    return context.make_array(array_type)(context, builder, value).data


def _int(value: int) -> ir.Constant:
    return ir.Constant(_i64, value)


@intrinsic
def transpose_strip(
    typingctx: Any,
    rows: Any,  # IN   (r, d) float32 or float64, C order
    start: Any,  # IN   first row of the strip; rows past the last one repeat the last one
    shift: Any,  # IN   (dp,) dtype of rows, dp = d rounded up to a multiple of 4
    strip: Any,  # OUT  (dp * strip_rows,) dtype of rows, as (dp, strip_rows)
) -> tuple[Any, Callable[..., Any]]:
    """Write `(rows[start:start + strip_rows] - shift).T` to `strip`."""
    # Four features at a time: quads of rows i, i + 4, i + 8, ... are joined to one register, and
    # two rounds of shuffles inside quads leave one feature of consecutive rows in each register.
    # Reading rows along and writing columns one number at a time costs 3 cycles a number, as much
    # as scoring it against 50 centers; whole squares of lanes x lanes waste most of it for d < 8.
    signature = types.void(rows, types.intp, shift, strip)
    n = VECTOR_BYTES // (rows.dtype.bitwidth // 8)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        scalar = context.get_value_type(sig.args[0].dtype)
        e, quad = _Emitter(b, scalar, n), _Emitter(b, scalar, 4)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_rows = b.extract_value(array.shape, 0)
        n_features = b.extract_value(array.shape, 1)
        shift_data = _data(context, b, sig.args[2], args[2])
        strip_data = _data(context, b, sig.args[3], args[3])
        last_row = b.sub(n_rows, _int(1))
        n_quads = b.sdiv(b.add(n_features, _int(3)), _int(4))
        offsets = []
        for i in range(VECTORS * n):
            row = b.add(args[1], _int(i))
            row = b.select(b.icmp_signed("<", row, last_row), row, last_row)
            offsets.append(b.mul(row, n_features))
        with cgutils.for_range(b, n_quads) as quads:
            first = b.mul(quads.index, _int(4))
            mask = quad.lanes_below(b.sub(n_features, first))
            for v in range(VECTORS):
                block = []
                for i in range(4):
                    parts = [
                        quad.load_masked(array.data, b.add(offsets[v * n + j], first), mask)
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
                    feature = b.add(first, _int(i))
                    moved = e.splat(b.load(b.gep(shift_data, [feature])))
                    position = b.add(b.mul(feature, _int(VECTORS * n)), _int(v * n))
                    e.store(b.fsub(column, moved), strip_data, position)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def nearest_in_strip(
    typingctx: Any,
    strip: Any,  # IN   (dp * strip_rows,) transposed strip
    packed: Any,  # IN   (g * (d + 1) * TILE_CENTERS,) dtype of strip, see `pack_centers`
    n_features: Any,  # IN   d
    n_tiles: Any,  # IN   g, tiles of TILE_CENTERS centers
    bound: Any,  # IN   (3,) dtype of strip; the rounding bound is b[0] + b[1] |y| + b[2] |y|^2
    labels: Any,  # OUT  (>= strip_rows,) int32, the first strip_rows are written
) -> tuple[Any, Callable[..., Any]]:
    """Label each row of a strip; return a bit per row whose label rounding may have decided.

    The score of center c for row y is |c|^2/2 - y.c, half the squared distance less |y|^2/2. A bit
    is set where second-best less best score is not above the bound, NaN and infinity included.
    """
    # Register tile: TILE_CENTERS centers by VECTORS vectors of rows; the loop over features is
    # innermost and carries only these accumulators. Best, second and label are updated a vector of
    # rows at a time, once a tile, with no reduction across lanes.
    signature = types.uint64(strip, packed, types.intp, types.intp, bound, labels)
    n = VECTOR_BYTES // (strip.dtype.bitwidth // 8)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = _Emitter(b, context.get_value_type(sig.args[0].dtype), n)
        strip_data = _data(context, b, sig.args[0], args[0])
        packed_data = _data(context, b, sig.args[1], args[1])
        bound_data = _data(context, b, sig.args[4], args[4])
        labels_data = _data(context, b, sig.args[5], args[5])
        n_features, n_tiles = args[2], args[3]
        vectors, tile = range(VECTORS), range(TILE_CENTERS)

        best = [cgutils.alloca_once_value(b, e.const(np.inf)) for _ in vectors]
        second = [cgutils.alloca_once_value(b, e.const(np.inf)) for _ in vectors]
        label = [cgutils.alloca_once_value(b, ir.Constant(e.indices, [0] * n)) for _ in vectors]
        sq_norm = [cgutils.alloca_once_value(b, e.const(0.0)) for _ in vectors]
        score = [[cgutils.alloca_once(b, e.vector) for _ in vectors] for _ in tile]

        def load_rows(feature: ir.Value) -> list[ir.Value]:
            position = b.mul(feature, _int(VECTORS * n))
            return [e.load(strip_data, b.add(position, _int(v * n))) for v in vectors]

        with cgutils.for_range(b, n_features) as features:
            for v, y in enumerate(load_rows(features.index)):
                b.store(e.fma(y, y, b.load(sq_norm[v])), sq_norm[v])

        tile_size = b.mul(b.add(n_features, _int(1)), _int(TILE_CENTERS))
        with cgutils.for_range(b, n_tiles) as tiles:
            tile_data = b.gep(packed_data, [b.mul(tiles.index, tile_size)])
            for j in tile:
                half_norm = e.splat(b.load(b.gep(tile_data, [_int(j)])))
                for v in vectors:
                    b.store(half_norm, score[j][v])
            with cgutils.for_range(b, n_features) as features:
                ys = load_rows(features.index)
                column = b.mul(b.add(features.index, _int(1)), _int(TILE_CENTERS))
                for j in tile:
                    center = e.splat(b.load(b.gep(tile_data, [b.add(column, _int(j))])))
                    for v in vectors:
                        b.store(e.fma(center, ys[v], b.load(score[j][v])), score[j][v])
            first = b.trunc(b.mul(tiles.index, _int(TILE_CENTERS)), _i32)
            for j in tile:
                number = e.splat(b.add(first, ir.Constant(_i32, j)), e.indices)
                for v in vectors:
                    new, old, runner_up = b.load(score[j][v]), b.load(best[v]), b.load(second[v])
                    nearer = b.fcmp_ordered("<", new, old)
                    loser = b.select(nearer, old, new)
                    closer = b.fcmp_ordered("<", loser, runner_up)
                    b.store(b.select(closer, loser, runner_up), second[v])
                    b.store(b.select(nearer, new, old), best[v])
                    b.store(b.select(nearer, number, b.load(label[v])), label[v])

        constant, linear, square = (e.splat(b.load(b.gep(bound_data, [_int(i)]))) for i in range(3))
        doubtful: ir.Value = _int(0)
        for v in vectors:
            norm = e.sqrt(b.load(sq_norm[v]))
            limit = e.fma(square, b.load(sq_norm[v]), e.fma(linear, norm, constant))
            gap = b.fsub(b.load(second[v]), b.load(best[v]))
            bits = b.bitcast(b.fcmp_unordered("<=", gap, limit), ir.IntType(n))
            doubtful = b.or_(doubtful, b.shl(b.zext(bits, _i64), _int(v * n)))
            target = b.bitcast(b.gep(labels_data, [_int(v * n)]), e.indices.as_pointer())
            b.store(b.load(label[v]), target).align = 4
        return doubtful

    return signature, codegen


@intrinsic
def add_rows(
    typingctx: Any,
    rows: Any,  # IN    (r, d) float32 or float64, C order
    start: Any,  # IN    first row to add
    stop: Any,  # IN    one past the last row to add
    labels: Any,  # IN    (>= stop - start,) int32, labels[i] belongs to rows[start + i]
    weights: Any,  # IN    (r,) float64, or (1,) for the same weight everywhere
    shift: Any,  # IN    (s,) float64, zero past the features
    scale: Any,  # IN    (s,) float64 powers of two; 0 past the features, then Q and N in s-2, s-1
    sums: Any,  # INOUT (k, s) int64; s = d + 2 rounded up to a multiple of SUM_LANES
) -> tuple[Any, Callable[..., Any]]:
    """Add quantised rows to the sums of their clusters; return nonzero where one left the range.

    Adds rint(w (x - shift) scale) to the features of the row's cluster, and in the last two columns
    rint(w |x - shift|^2 scale) and rint(w scale). The nonzero return says that a row is outside of
    the ranges that `scale` was made for (the rows changed since), or NaN.
    """
    # Features run along the lanes, so a row is read once, along, and its cluster's sums are one
    # run of memory. Squared norm and weight ride in the last two lanes of the last vector: no
    # separate counters to update.
    signature = types.uint64(rows, types.intp, types.intp, labels, weights, shift, scale, sums)
    n = SUM_LANES

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        rows_type = sig.args[0]
        e = _Emitter(b, ir.DoubleType(), n)
        source = _Emitter(b, context.get_value_type(rows_type.dtype), n)
        ints = ir.VectorType(_i64, n)
        array = context.make_array(rows_type)(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        labels_data = _data(context, b, sig.args[3], args[3])
        weights_array = context.make_array(sig.args[4])(context, b, args[4])
        one_weight = b.icmp_signed("==", b.extract_value(weights_array.shape, 0), _int(1))
        weight_step = b.select(one_weight, _int(0), _int(1))
        shift_data = _data(context, b, sig.args[5], args[5])
        scale_data = _data(context, b, sig.args[6], args[6])
        sums_array = context.make_array(sig.args[7])(context, b, args[7])
        stride = b.extract_value(sums_array.shape, 1)
        last_chunk = b.sub(stride, _int(n))
        last_mask = e.lanes_below(b.sub(n_features, last_chunk))
        # In the chunk before the last one a lane can be past the features too (d % 8 == 7).
        magic = e.const(MAGIC)
        magic_bits = b.bitcast(magic, ints)
        strange = cgutils.alloca_once_value(b, ir.Constant(ints, [0] * n))
        norm = cgutils.alloca_once(b, e.vector)
        # The row's weight gets to its lane as 1 * weight.
        unit = ir.Constant(e.vector, [0.0] * (n - 1) + [1.0])

        def shifted(row: ir.Value, chunk: ir.Value, mask: ir.Value) -> ir.Value:
            values = source.load_masked(array.data, b.add(row, chunk), mask)
            if source.itemsize == 4:
                values = b.fpext(values, e.vector)
            # Masked lanes are 0 and so is their shift.
            return b.fsub(values, e.load(shift_data, chunk))

        def add(values: ir.Value, target: ir.Value, chunk: ir.Value) -> None:
            # Scaling by a power of two is exact, so one fma rounds just once, to the integer.
            bits = b.bitcast(e.fma(values, e.load(scale_data, chunk), magic), ints)
            # Within range the sign and exponent are those of MAGIC and only the low 52 bits move.
            changed = b.xor(bits, magic_bits)
            b.store(b.or_(b.load(strange), changed), strange)
            pointer = b.bitcast(b.gep(sums_array.data, [b.add(target, chunk)]), ints.as_pointer())
            old = b.load(pointer)
            old.align = 8
            b.store(b.add(old, b.sub(bits, magic_bits)), pointer).align = 8

        with cgutils.for_range(b, b.sub(args[2], args[1])) as loop:
            number = b.add(args[1], loop.index)
            row = b.mul(number, n_features)
            label = b.sext(b.load(b.gep(labels_data, [loop.index])), _i64)
            target = b.mul(label, stride)
            weight = b.load(b.gep(weights_array.data, [b.mul(number, weight_step)]))
            weights_vector = e.splat(weight)
            b.store(e.const(0.0), norm)
            with cgutils.for_range_slice(b, _int(0), last_chunk, _int(n), _i64) as (chunk, _):
                y = shifted(row, chunk, e.lanes_below(b.sub(n_features, chunk)))
                b.store(b.fadd(b.load(norm), b.fmul(y, y)), norm)
                add(b.fmul(y, weights_vector), target, chunk)
            y = shifted(row, last_chunk, last_mask)
            squares = b.fadd(b.load(norm), b.fmul(y, y))
            width = n
            while width > 1:
                width //= 2
                low = e.shuffle(squares, squares, list(range(width)))
                high = e.shuffle(squares, squares, list(range(width, 2 * width)))
                squares = b.fadd(low, high)
            sq_norm = b.extract_element(squares, ir.Constant(_i32, 0))
            tail = b.insert_element(b.fadd(y, unit), sq_norm, ir.Constant(_i32, n - 2))
            add(b.fmul(tail, weights_vector), target, last_chunk)

        merged = b.load(strange)
        result = b.extract_element(merged, ir.Constant(_i32, 0))
        for lane in range(1, n):
            result = b.or_(result, b.extract_element(merged, ir.Constant(_i32, lane)))
        return b.lshr(result, _int(52))

    return signature, codegen
