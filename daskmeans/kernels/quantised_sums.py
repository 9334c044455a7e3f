"""Add rows, quantised to integers, to the sums of their clusters.

Integer addition is associative: the order of rows and blocks cannot show in a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.vector import I32, I64, Emitter, data_pointer, int64

SUM_LANES = 8  # float64 lanes of the quantised sums: part of the result, so the same on every CPU
MAGIC = 1.5 * 2.0**52  # adding it rounds a float64 below 2**51 to an integer in the low bits


@intrinsic
def add_rows(
    typingctx: Any,
    rows: Any,  # IN    (r, d) float32 or float64, C order
    start: Any,  # IN    first row to add
    stop: Any,  # IN    one past the last row to add
    labels: Any,  # IN    (>= stop - start,) int32, labels[i] belongs to rows[start + i]
    old_labels: Any,  # IN    the same, of clusters that the rows are taken from; or None
    weights: Any,  # IN    (r,) float64, or (1,) for the same weight everywhere
    shift: Any,  # IN    (s,) float64, zero past the features
    scale: Any,  # IN    (s,) float64 powers of two; 0 past the features, then Q and N in s-2, s-1
    sums: Any,  # INOUT (k, s) int64; s = d + 2 rounded up to a multiple of SUM_LANES
) -> tuple[Any, Callable[..., Any]]:
    """Add quantised rows to the sums of their clusters; return nonzero where one left the range.

    Adds rint(w (x - shift) scale) to the features of the row's cluster, and in the last two columns
    rint(w |x - shift|^2 scale) and rint(w scale), and takes the same from the old cluster where
    there is one. The nonzero return says that a row is outside of the ranges that `scale` was made
    for (the rows changed since), or NaN.
    """
    # Features run along the lanes, so a row is read once, along, and its cluster's sums are one
    # run of memory. Squared norm and weight ride in the last two lanes of the last chunk where the
    # features leave them free, and are added as scalars where not: measured, the first saves a
    # quarter of the time at d = 4, the second a third at d = 16.
    signature = types.uint64(
        rows, types.intp, types.intp, labels, old_labels, weights, shift, scale, sums
    )
    n = SUM_LANES
    moves = not isinstance(old_labels, types.NoneType)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        rows_type = sig.args[0]
        double = ir.DoubleType()
        e = Emitter(b, double, n)
        source = Emitter(b, context.get_value_type(rows_type.dtype), n)
        ints = ir.VectorType(I64, n)
        array = context.make_array(rows_type)(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        labels_data = data_pointer(context, b, sig.args[3], args[3])
        if moves:
            old_labels_data = data_pointer(context, b, sig.args[4], args[4])
        weights_array = context.make_array(sig.args[5])(context, b, args[5])
        one_weight = b.icmp_signed("==", b.extract_value(weights_array.shape, 0), int64(1))
        weight_step = b.select(one_weight, int64(0), int64(1))
        shift_data = data_pointer(context, b, sig.args[6], args[6])
        scale_data = data_pointer(context, b, sig.args[7], args[7])
        sums_array = context.make_array(sig.args[8])(context, b, args[8])
        stride = b.extract_value(sums_array.shape, 1)
        n_whole = b.and_(n_features, int64(-n))
        n_left = b.sub(n_features, n_whole)
        left_mask = e.lanes_below(n_left)
        lanes_free = b.and_(
            b.icmp_signed(">", n_left, int64(0)), b.icmp_signed("<", n_left, int64(n - 1))
        )
        unit = ir.Constant(e.vector, [0.0] * (n - 1) + [1.0])  # 1 * weight in the last lane
        magic = e.const(MAGIC)
        magic_bits = b.bitcast(magic, ints)
        magic_scalar = ir.Constant(double, MAGIC)
        magic_scalar_bits = b.bitcast(magic_scalar, I64)
        strange = cgutils.alloca_once_value(b, ir.Constant(ints, [0] * n))
        strange_scalar = cgutils.alloca_once_value(b, int64(0))
        squares = cgutils.alloca_once(b, e.vector)

        def shifted(values: ir.Value, at: ir.Value) -> ir.Value:
            if source.itemsize == 4:
                values = b.fpext(values, e.vector)
            # Masked lanes are 0 and so is their shift.
            y = b.fsub(values, e.load(shift_data, at))
            b.store(b.fadd(b.load(squares), b.fmul(y, y)), squares)
            return y

        def sq_norm() -> ir.Value:
            return e.folded(b.load(squares), b.fadd)

        def change(amount: ir.Value, targets: list[ir.Value], at: ir.Value) -> None:
            """Add to the sums of the row's cluster, and take from those of its old one."""
            for number, target in enumerate(targets):
                pointer = b.gep(sums_array.data, [b.add(target, at)])
                pointer = b.bitcast(pointer, amount.type.as_pointer())
                before = b.load(pointer)
                before.align = 8
                after = b.sub(before, amount) if number else b.add(before, amount)
                b.store(after, pointer).align = 8

        def add_chunk(weighted: ir.Value, targets: list[ir.Value], at: ir.Value) -> None:
            # Scaling by a power of two is exact, so one fma rounds just once, to the integer.
            scaled = e.fma(weighted, e.load(scale_data, at), magic)
            bits = b.bitcast(scaled, ints)
            # Within range the sign and exponent are those of MAGIC and only the low 52 bits move.
            b.store(b.or_(b.load(strange), b.xor(bits, magic_bits)), strange)
            change(b.sub(bits, magic_bits), targets, at)

        def add_scalar(value: ir.Value, targets: list[ir.Value], at: ir.Value) -> None:
            factor = b.load(b.gep(scale_data, [at]))
            bits = b.bitcast(b.fadd(b.fmul(value, factor), magic_scalar), I64)
            changed = b.xor(bits, magic_scalar_bits)
            b.store(b.or_(b.load(strange_scalar), changed), strange_scalar)
            change(b.sub(bits, magic_scalar_bits), targets, at)

        def row_of(index: ir.Value) -> tuple[ir.Value, list[ir.Value], ir.Value]:
            """Offset of the row, offsets of the sums that it changes, weight."""
            number = b.add(args[1], index)
            weight = b.load(b.gep(weights_array.data, [b.mul(number, weight_step)]))
            clusters = [labels_data, old_labels_data] if moves else [labels_data]
            found = [b.sext(b.load(b.gep(data, [index])), I64) for data in clusters]
            return b.mul(number, n_features), [b.mul(label, stride) for label in found], weight

        def narrow_rows() -> None:
            # Up to four features: half as wide, for 512-bit instructions that are half empty cost
            # twice the time of 256-bit ones. The same additions in the same order.
            four, two = Emitter(b, double, 4), Emitter(b, double, 2)
            read = Emitter(b, source.vector.element, 4)
            mask = read.lanes_below(n_features)
            moved, factor = four.load(shift_data, int64(0)), four.load(scale_data, int64(0))
            factors = two.load(scale_data, int64(6))
            seen = cgutils.alloca_once_value(b, ir.Constant(ir.VectorType(I64, 4), [0] * 4))
            seen_pair = cgutils.alloca_once_value(b, ir.Constant(ir.VectorType(I64, 2), [0] * 2))

            def put(
                part: Emitter,
                values: ir.Value,
                scales: ir.Value,
                targets: list[ir.Value],
                at: ir.Value,
            ) -> ir.Value:
                whole = ir.VectorType(I64, part.n)
                base = b.bitcast(part.const(MAGIC), whole)
                bits = b.bitcast(part.fma(values, scales, part.const(MAGIC)), whole)
                change(b.sub(bits, base), targets, at)
                return b.xor(bits, base)

            with cgutils.for_range(b, b.sub(args[2], args[1])) as loop:
                row, targets, weight = row_of(loop.index)
                values = read.load_masked(array.data, row, mask)
                if read.itemsize == 4:
                    values = b.fpext(values, four.vector)
                y = b.fsub(values, moved)
                norm = four.folded(b.fmul(y, y), b.fadd)
                pair = b.insert_element(two.const(1.0), norm, ir.Constant(I32, 0))
                odd = put(four, b.fmul(y, four.splat(weight)), factor, targets, int64(0))
                b.store(b.or_(b.load(seen), odd), seen)
                odd = put(two, b.fmul(pair, two.splat(weight)), factors, targets, int64(6))
                b.store(b.or_(b.load(seen_pair), odd), seen_pair)
            for slot, size in ((seen, 4), (seen_pair, 2)):
                merged = b.load(slot)
                for lane in range(size):
                    found = b.extract_element(merged, ir.Constant(I32, lane))
                    b.store(b.or_(b.load(strange_scalar), found), strange_scalar)

        def wide_rows() -> None:
            with cgutils.for_range(b, b.sub(args[2], args[1])) as loop:
                row, targets, weight = row_of(loop.index)
                weights_vector = e.splat(weight)
                b.store(e.const(0.0), squares)
                with cgutils.for_range_slice(b, int64(0), n_whole, int64(n), I64) as (at, _):
                    y = shifted(source.load(array.data, b.add(row, at)), at)
                    add_chunk(b.fmul(y, weights_vector), targets, at)
                with b.if_else(lanes_free) as (ride, apart):
                    with ride:
                        y = shifted(
                            source.load_masked(array.data, b.add(row, n_whole), left_mask), n_whole
                        )
                        tail = b.insert_element(b.fadd(y, unit), sq_norm(), ir.Constant(I32, n - 2))
                        add_chunk(b.fmul(tail, weights_vector), targets, n_whole)
                    with apart:
                        with b.if_then(b.icmp_signed(">", n_left, int64(0))):
                            y = shifted(
                                source.load_masked(array.data, b.add(row, n_whole), left_mask),
                                n_whole,
                            )
                            add_chunk(b.fmul(y, weights_vector), targets, n_whole)
                        add_scalar(b.fmul(sq_norm(), weight), targets, b.sub(stride, int64(2)))
                        add_scalar(weight, targets, b.sub(stride, int64(1)))

        with b.if_else(b.icmp_signed("<=", n_features, int64(4))) as (narrow, wide):
            with narrow:
                narrow_rows()
            with wide:
                wide_rows()
        merged = b.load(strange)
        result = b.load(strange_scalar)
        for lane in range(n):
            result = b.or_(result, b.extract_element(merged, ir.Constant(I32, lane)))
        return b.lshr(result, int64(52))

    return signature, codegen
