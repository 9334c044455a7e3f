"""Values of sparse rows as the integers whose sums are exact, eight at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.vector import I32, I64, Emitter, data_pointer, int64

# Quantised numbers stay below this, see `quantised_sums.MAGIC`.
LARGEST_NUMBER = 2.0**51
_LANES = 8


@intrinsic
def quantise_values(
    typingctx: Any,
    data: Any,  # IN  (m,) float32 or float64
    indices: Any,  # IN  (m,) int32
    start: Any,  # IN  first value of the row
    stop: Any,  # IN  one past its last
    weight: Any,  # IN
    scale: Any,  # IN  (s,) float64 powers of two
    at: Any,  # IN  place of the row's numbers
    numbers: Any,  # OUT (e,) int64
    columns: Any,  # OUT (e,) int32
) -> tuple[Any, Callable[..., Any]]:
    """Write the integers of a row's values, and their columns; return whether any is too large.

    Up to seven places after them are written over.
    """
    place = types.intp
    signature = types.boolean(
        *(data, indices, place, place, types.float64, scale, place, numbers, columns)
    )

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.DoubleType(), _LANES)
        source = Emitter(b, context.get_value_type(sig.args[0].dtype), _LANES)
        integers = ir.VectorType(I64, _LANES)
        data, indices, scale, numbers, columns = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (0, 1, 5, 7, 8)
        )
        start, stop, weight, at = args[2], args[3], e.splat(args[4]), args[6]
        rint, size = (e.intrinsic(f"llvm.{name}.{e.name}", [e.vector]) for name in ("rint", "fabs"))
        none = ir.Constant(ir.VectorType(ir.IntType(1), _LANES), [0] * _LANES)
        strange = cgutils.alloca_once_value(b, none)
        with cgutils.for_range_slice(b, start, stop, int64(_LANES), I64) as (first, _):
            mask = e.lanes_below(b.sub(stop, first))
            x = source.load_masked(data, first, mask)
            if source.itemsize == 4:
                x = b.fpext(x, e.vector)
            features = e.load_indices_masked(indices, first, mask)
            scales = ir.Constant(e.vector, ir.Undefined)
            for lane in range(_LANES):
                # Lanes past the last value are of the first feature, and zero.
                number = ir.Constant(I32, lane)
                feature = b.sext(b.extract_element(features, number), I64)
                scales = b.insert_element(scales, b.load(b.gep(scale, [feature])), number)
            scaled = b.call(rint, [b.fmul(b.fmul(weight, x), scales)])
            inside = b.fcmp_ordered("<", b.call(size, [scaled]), e.const(LARGEST_NUMBER))
            b.store(b.or_(b.load(strange), b.not_(inside)), strange)
            found = b.fptosi(b.select(inside, scaled, e.const(0.0)), integers)
            place = b.add(at, b.sub(first, start))
            for values, kind, target, align in (
                (found, integers, numbers, 8),
                (features, e.indices, columns, 4),
            ):
                address = b.bitcast(b.gep(target, [place]), kind.as_pointer())
                b.store(values, address).align = align
        bits = b.bitcast(b.load(strange), ir.IntType(_LANES))
        return b.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return signature, codegen


@intrinsic
def sum_of_squares_as_dense(
    typingctx: Any,
    data: Any,  # IN  (m,) float32 or float64
    indices: Any,  # IN  (m,) int32
    start: Any,  # IN
    stop: Any,  # IN
) -> tuple[Any, Callable[..., Any]]:
    """Return the sum of a row's squares, in the order in which those of a dense row are added."""
    signature = types.float64(data, indices, types.intp, types.intp)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.DoubleType(), _LANES)
        is_single = isinstance(context.get_value_type(sig.args[0].dtype), ir.FloatType)
        data, indices = (data_pointer(context, b, sig.args[i], args[i]) for i in (0, 1))
        lanes = ir.Constant(e.indices, list(range(_LANES)))
        squares = cgutils.alloca_once_value(b, e.const(0.0))
        with cgutils.for_range_slice(b, args[2], args[3], int64(1), I64) as (place, _):
            x = b.load(b.gep(data, [place]))
            if is_single:
                x = b.fpext(x, ir.DoubleType())
            lane = b.and_(b.load(b.gep(indices, [place])), ir.Constant(I32, _LANES - 1))
            own = b.icmp_signed("==", e.splat(lane, e.indices), lanes)
            before = b.load(squares)
            b.store(b.select(own, b.fadd(before, e.splat(b.fmul(x, x))), before), squares)
        return e.folded(b.load(squares), b.fadd)

    return signature, codegen
