"""Which labels of a strip are new, as bits; and the number of a bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.vector import (
    I64,
    Emitter,
    data_pointer,
    int64,
)


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
    bits: Any,  # IN  int64 or uint64, not 0
) -> tuple[Any, Callable[..., Any]]:
    """Return the number of the lowest bit that is set."""
    signature = types.int64(bits)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return b.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return signature, codegen
