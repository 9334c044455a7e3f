"""Asking for memory before it is read, where no processor foresees the order of reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.compile import inlined
from daskmeans.kernels.vector import (
    I64,
    LINE_BYTES,
    VECTOR_BYTES,
    VECTORS,
    Emitter,
    data_pointer,
    int64,
)

# Strips of few features take less time than memory takes to answer.
_BYTES_AHEAD = 8192


@inlined
def strips_ahead(n_bytes):
    """Return how many strips of so many bytes before it a strip is asked for."""
    return max(1, _BYTES_AHEAD // n_bytes)


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
