"""Vectors of the host's registers, and the LLVM IR idioms that the vector primitives share.

numba's own loops cannot express a register tile (several centers by several vectors of rows held in
registers through the loop over features), and that tile is what reaches the arithmetic limit of the
processor. Modules that import `Emitter` hold the few loops that are written this way; everything
else is ordinary numba.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils, config

VECTORS = 2  # vectors of rows in a strip
LINE_BYTES = 64  # a cache line; where it is longer, some lines are asked for twice


def _host_has_avx512() -> bool:
    """Tell whether the processor numba compiles for has 512-bit registers."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))


AVX512 = _host_has_avx512()
VECTOR_BYTES = 64 if AVX512 else 32
# Centers in a register tile: TILE_CENTERS * VECTORS accumulators, the vectors of rows and one
# broadcast center have to fit the register file (32 registers with AVX-512, 16 without).
TILE_CENTERS = 8 if AVX512 else 4
# Groups of centers hold a multiple of this: whole tiles, and whole vectors of any dtype.
GROUP_CENTERS = 16

I32, I64 = ir.IntType(32), ir.IntType(64)


def lanes(dtype: np.dtype[Any] | type) -> int:
    """Rows in one vector register."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


@cache
def strip_rows(dtype: np.dtype[Any] | type) -> int:
    """Rows in a strip."""
    return VECTORS * lanes(dtype)


class Emitter:
    """The few IR idioms that all primitives need, for vectors of `n` numbers of one type."""

    def __init__(self, builder: ir.IRBuilder, scalar: Any, n: int) -> None:
        self.b, self.n = builder, n
        self.itemsize = 4 if isinstance(scalar, ir.FloatType) else 8
        self.vector = ir.VectorType(scalar, n)
        self.indices = ir.VectorType(I32, n)
        self.name = f"v{n}f{8 * self.itemsize}"

    def const(self, value: float) -> ir.Constant:
        return ir.Constant(self.vector, [value] * self.n)

    def splat(self, scalar: ir.Value, vector: ir.Type | None = None) -> ir.Value:
        undefined = ir.Constant(vector or self.vector, ir.Undefined)
        first = self.b.insert_element(undefined, scalar, ir.Constant(I32, 0))
        return self.shuffle(first, undefined, [0] * self.n)

    def shuffle(self, a: ir.Value, b: ir.Value, order: list[int]) -> ir.Value:
        return self.b.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(order)), order))

    def picked(self, sources: list[ir.Value], places: list[int]) -> ir.Value:
        """Return the numbers at n increasing places of vectors of n that stand side by side."""
        if len(sources) == 1:
            return self.shuffle(sources[0], sources[0], places)
        pairs = range(0, len(sources), 2)
        values = self.shuffle(
            sources[0], sources[1], [place if place < 2 * self.n else 0 for place in places]
        )
        for first in pairs[1:]:
            last = sources[min(first + 1, len(sources) - 1)]
            inner = [place - first * self.n for place in places]
            more = self.shuffle(sources[first], last, [max(0, place) for place in inner])
            beyond = [i if place < 0 else self.n + i for i, place in enumerate(inner)]
            values = self.shuffle(values, more, beyond)
        return values

    def pointer(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        return self.b.bitcast(self.b.gep(base, [offset]), self.vector.as_pointer())

    def load(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        value = self.b.load(self.pointer(base, offset))
        value.align = self.itemsize
        return value

    def store(self, value: ir.Value, base: ir.Value, offset: ir.Value) -> None:
        self.b.store(value, self.pointer(base, offset)).align = self.itemsize

    def prefetch(self, base: ir.Value, offset: ir.Value, level: int = 1) -> None:
        """Ask a cache for the line that holds a number, which need not lie within the array."""
        anything = ir.IntType(8).as_pointer()
        arguments = [anything, I32, I32, I32]
        ask = cgutils.get_or_insert_function(
            self.b.module, ir.FunctionType(ir.VoidType(), arguments), "llvm.prefetch.p0"
        )
        read, locality, data = (ir.Constant(I32, each) for each in (0, 4 - level, 1))
        place = self.b.bitcast(self.b.gep(base, [offset]), anything)
        self.b.call(ask, [place, read, locality, data])

    def load_masked(self, base: ir.Value, offset: ir.Value, mask: ir.Value) -> ir.Value:
        """Load the lanes that `mask` names, zero elsewhere; other lanes' memory is not read."""
        pointer = self.vector.as_pointer()
        masks = ir.VectorType(ir.IntType(1), self.n)
        load = self.intrinsic(
            f"llvm.masked.load.{self.name}.p0", [pointer, I32, masks, self.vector]
        )
        return self.b.call(
            load,
            [self.pointer(base, offset), ir.Constant(I32, self.itemsize), mask, self.const(0.0)],
        )

    def store_masked(
        self, value: ir.Value, base: ir.Value, offset: ir.Value, mask: ir.Value
    ) -> None:
        """Store the lanes that `mask` names; other lanes' memory is not written."""
        pointer = self.vector.as_pointer()
        masks = ir.VectorType(ir.IntType(1), self.n)
        store = cgutils.get_or_insert_function(
            self.b.module,
            ir.FunctionType(ir.VoidType(), [self.vector, pointer, I32, masks]),
            f"llvm.masked.store.{self.name}.p0",
        )
        place = self.pointer(base, offset)
        self.b.call(store, [value, place, ir.Constant(I32, self.itemsize), mask])

    def load_indices_masked(self, base: ir.Value, offset: ir.Value, mask: ir.Value) -> ir.Value:
        """Load the int32 lanes that `mask` names, zero elsewhere."""
        pointer = self.indices.as_pointer()
        masks = ir.VectorType(ir.IntType(1), self.n)
        signature = ir.FunctionType(self.indices, [pointer, I32, masks, self.indices])
        load = cgutils.get_or_insert_function(
            self.b.module, signature, f"llvm.masked.load.v{self.n}i32.p0"
        )
        place = self.b.bitcast(self.b.gep(base, [offset]), pointer)
        zero = ir.Constant(self.indices, [0] * self.n)
        return self.b.call(load, [place, ir.Constant(I32, 4), mask, zero])

    def intrinsic(self, name: str, arguments: list[ir.Type]) -> ir.Function:
        return cgutils.get_or_insert_function(
            self.b.module, ir.FunctionType(self.vector, arguments), name
        )

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self.b.call(self.intrinsic(f"llvm.fma.{self.name}", [self.vector] * 3), [a, b, c])

    def sqrt(self, a: ir.Value) -> ir.Value:
        return self.b.call(self.intrinsic(f"llvm.sqrt.{self.name}", [self.vector]), [a])

    def folded(self, values: ir.Value, combine: Callable[[ir.Value, ir.Value], ir.Value]) -> Any:
        """Combine all lanes, halves with halves; return what is left as a number."""
        width = self.n
        while width > 1:
            width //= 2
            low = self.shuffle(values, values, list(range(width)))
            high = self.shuffle(values, values, list(range(width, 2 * width)))
            values = combine(low, high)
        return self.b.extract_element(values, ir.Constant(I32, 0))

    def lanes_below(self, count: ir.Value) -> ir.Value:
        """Mask of the lanes whose number is below `count` (int64)."""
        numbers = ir.Constant(self.indices, list(range(self.n)))
        limit = self.splat(self.b.trunc(count, I32), self.indices)
        return self.b.icmp_signed("<", numbers, limit)


def data_pointer(context: Any, builder: ir.IRBuilder, array_type: Any, value: ir.Value) -> ir.Value:
    """Pointer to the first element of a numba array."""
    return context.make_array(array_type)(context, builder, value).data


def int64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)
