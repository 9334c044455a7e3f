"""Arrays that kernels make for themselves, and the bits of their numbers.

What `np.empty` and `view` do. Of these numba compiles a function for each of the types that they
are called with: 30 ms of a first fit for an array, and a quarter of a second for a view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.npydecl import parse_dtype
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl

from daskmeans.kernels.vector import I64


@intrinsic
def scratch(
    typingctx: Any,
    shape: Any,  # IN  size, or (rows, columns)
    dtype: Any,  # IN
) -> tuple[Any, Callable[..., Any]]:
    """Return an array, in C order, whose numbers mean nothing yet."""
    n_axes = len(shape) if isinstance(shape, types.BaseTuple) else 1
    sizes = types.UniTuple(types.intp, n_axes) if n_axes > 1 else types.intp
    signature = types.Array(parse_dtype(dtype), n_axes, "C")(sizes, dtype)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        sizes = cgutils.unpack_tuple(b, args[0]) if n_axes > 1 else [args[0]]
        return _empty_nd_impl(context, b, sig.return_type, sizes)._getvalue()

    return signature, codegen


@intrinsic
def bits_of(
    typingctx: Any,
    number: Any,  # IN  float64
) -> tuple[Any, Callable[..., Any]]:
    """Return the bits of a number as uint64."""

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return b.bitcast(args[0], I64)

    return types.uint64(types.float64), codegen


@intrinsic
def number_of(
    typingctx: Any,
    bits: Any,  # IN  uint64
) -> tuple[Any, Callable[..., Any]]:
    """Return the float64 that has these bits."""

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return b.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), codegen
