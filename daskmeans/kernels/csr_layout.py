"""Centers in the layout that the kernels of sparse rows read: feature by feature."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.compile import kernel
from daskmeans.kernels.csr_scores import SCORE_LANES
from daskmeans.kernels.vector import I32, I64, LINE_BYTES, Emitter, data_pointer, int64
from daskmeans.typing import Array

# Lines of centers that are laid out at a time: 28 kB for 112 centers, and 512 consecutive bytes of
# each center, for where rows of centers are a power of two apart few of them fit the cache.
LINES = 64
# Numbers of centers that a thread lays out at a time, where that does not make too many parts.
_NUMBERS_A_PART = 1 << 16
_MOST_PARTS = 32


class CentersOfSparse(NamedTuple):
    """Centers in the layouts that the kernels of sparse rows read. They are not shifted."""

    # -centers, feature by feature; w = k rounded up to whole lanes. Lines without a place may hold
    # anything.
    table: Array  # ((d + 1) * w,) float32
    places: Array  # (d,) int32, line of the table for each feature; 0 where all centers are zero
    half_norms: Array  # (w,) float32, infinity past k
    centers: Array  # (k, d) float64
    sq_norms: Array  # (k,) float64


def _at_line(size: int) -> Array:
    """Return a new array of float32 that begins with a cache line.

    A vector of centers that lies in two lines is read in twice the time, and large arrays begin 16
    bytes after a line: labels took 1.4 times as long.
    """
    raw = np.empty(4 * size + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + 4 * size].view(np.float32)


class LayoutForSparse:
    """Centers that are being laid out, by all threads that ask for them.

    Parameters
    ----------
    centers : ndarray of shape (k, d), float64
    """

    def __init__(self, centers: Array) -> None:
        k, d = centers.shape
        width = -(-k // SCORE_LANES) * SCORE_LANES
        n_parts = min(_MOST_PARTS, -(-k * d // _NUMBERS_A_PART))
        step = LINES * -(-d // (n_parts * LINES))
        self._centers = centers
        # Hashed features are zero for the most part, in all centers: memory for lines that are not
        # needed is not touched.
        self._table = _at_line((d + 1) * width).reshape(d + 1, width)
        self._places = np.empty(d, np.int32)
        self._parts = [(start, min(start + step, d)) for start in range(0, d, step)]
        self._squares = np.empty((len(self._parts), width))
        self._todo = deque(range(len(self._parts)))
        self._n_left = len(self._parts)
        self._change = threading.Condition()
        self._table[0] = 0.0

    def finished(self) -> CentersOfSparse:
        """Lay out what no other thread does, and return the whole once it is there."""
        while True:
            with self._change:
                while not self._todo and self._n_left:
                    self._change.wait()
                if not self._n_left:
                    return self._whole
                number = self._todo.popleft()
            start, stop = self._parts[number]
            done = False
            try:
                _lay_out(
                    self._centers, start, stop, self._table, self._places, self._squares[number]
                )
                done = True
            finally:
                with self._change:
                    if done:
                        self._n_left -= 1
                    else:
                        self._todo.append(number)
                    self._change.notify_all()

    @cached_property
    def _whole(self) -> CentersOfSparse:
        k = len(self._centers)
        sq_norms = self._squares[:, :k].sum(axis=0)
        half_norms = _at_line(self._table.shape[1])
        half_norms[k:] = np.inf
        # Squares of large numbers leave the range of float32.
        with np.errstate(over="ignore"):
            half_norms[:k] = sq_norms / 2
        table = self._table.reshape(-1)
        return CentersOfSparse(table, self._places, half_norms, self._centers, sq_norms)


def pack_for_sparse(centers: Array) -> CentersOfSparse:
    """Lay centers of shape (k, d), float64, out."""
    return LayoutForSparse(centers).finished()


@intrinsic
def _turn(
    typingctx: Any,
    centers: Any,  # IN    (k, d) float64
    first: Any,  # IN    first feature
    stop: Any,  # IN    one past the last, at most LINES later
    lines: Any,  # OUT   (LINES, w) float32, -centers of these features; zero past k
    squares: Any,  # INOUT (w,) float64, to which those of these features are added
    bits: Any,  # OUT   (LINES / SCORE_LANES,) int64, for each feature whether a center is not zero
) -> tuple[Any, Callable[..., Any]]:
    """Transpose some features of all centers."""
    # Squares of lanes x lanes numbers are read along the features and turned in registers: in each
    # round of shuffles half of the numbers of two registers change places.
    signature = types.void(centers, types.intp, types.intp, lines, squares, bits)
    n = SCORE_LANES

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        source, e = Emitter(b, ir.DoubleType(), n), Emitter(b, ir.FloatType(), n)
        array = context.make_array(sig.args[0])(context, b, args[0])
        k, d = (b.extract_value(array.shape, axis) for axis in (0, 1))
        first, stop = args[1], args[2]
        lines, squares, bits = (data_pointer(context, b, sig.args[i], args[i]) for i in (3, 4, 5))
        width = b.extract_value(context.make_array(sig.args[4])(context, b, args[4]).shape, 0)
        wide = ir.IntType(n)

        def turned(rows: list[ir.Value]) -> list[ir.Value]:
            half = n // 2
            while half:
                low = [i % (2 * half) < half for i in range(n)]
                upper = [i if low[i] else n + i - half for i in range(n)]
                lower = [i + half if low[i] else n + i for i in range(n)]
                swapped = list(rows)
                for i in range(n):
                    if low[i]:
                        swapped[i] = e.shuffle(rows[i], rows[i + half], upper)
                        swapped[i + half] = e.shuffle(rows[i], rows[i + half], lower)
                rows, half = swapped, half // 2
            return rows

        with cgutils.for_range_slice(b, int64(0), int64(LINES // n), int64(1), I64) as (number, _):
            b.store(int64(0), b.gep(bits, [number]))
        with cgutils.for_range_slice(b, int64(0), width, int64(n), I64) as (center, _):
            sums = [cgutils.alloca_once(b, source.vector) for _ in range(n)]
            for each in sums:
                b.store(source.const(0.0), each)
            ahead = []
            for i in range(n):
                # The center that comes next; after the last ones the first ones, further on.
                j = b.add(center, int64(n + i))
                early = b.select(b.icmp_signed("<", int64(i), k), int64(i), int64(0))
                further = b.add(b.mul(early, d), int64(LINES))
                ahead.append(b.select(b.icmp_signed("<", j, k), b.mul(j, d), further))
            with cgutils.for_range_slice(b, first, stop, int64(n), I64) as (feature, _):
                inside = source.lanes_below(b.sub(stop, feature))
                some, rows = source.const(0.0), []
                in_use = ir.Constant(ir.VectorType(ir.IntType(1), n), [0] * n)
                for i in range(n):
                    asked = b.add(ahead[i], feature)
                    for line in range(0, 8 * n, LINE_BYTES):
                        source.prefetch(array.data, b.add(asked, int64(line // 8)))
                    j = b.add(center, int64(i))
                    exists = b.icmp_signed("<", j, k)
                    # Past the last center nothing of the first one is taken.
                    at = b.add(b.mul(b.select(exists, j, int64(0)), d), feature)
                    mask = b.select(exists, inside, ir.Constant(inside.type, [0] * n))
                    x = source.load_masked(array.data, at, mask)
                    in_use = b.or_(in_use, b.fcmp_unordered("!=", x, some))
                    b.store(source.fma(x, x, b.load(sums[i])), sums[i])
                    rows.append(b.fneg(b.fptrunc(x, e.vector)))
                at = b.sub(feature, first)
                place = b.gep(bits, [b.sdiv(at, int64(n))])
                b.store(b.or_(b.load(place), b.zext(b.bitcast(in_use, wide), I64)), place)
                for i, line in enumerate(turned(rows)):
                    e.store(line, lines, b.add(b.mul(b.add(at, int64(i)), width), center))
            for i, each in enumerate(sums):
                place = b.gep(squares, [b.add(center, int64(i))])
                b.store(b.fadd(b.load(place), source.folded(b.load(each), b.fadd)), place)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _keep(
    typingctx: Any,
    lines: Any,  # IN  (LINES, w) float32
    bits: Any,  # IN  (LINES / SCORE_LANES,) int64, which of them are in use
    first: Any,  # IN  feature of the first one
    stop: Any,  # IN  one past that of the last
    at: Any,  # IN  where in the table the first one in use goes
    table: Any,  # OUT (d + 1, w) float32
    places: Any,  # OUT (d,) int32
) -> tuple[Any, Callable[..., Any]]:
    """Append the lines in use to the table; return where the next one goes."""
    place = types.intp
    signature = place(lines, bits, place, place, place, table, places)
    n = SCORE_LANES

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.FloatType(), n)
        array = context.make_array(sig.args[0])(context, b, args[0])
        width = b.extract_value(array.shape, 1)
        bits, table, places = (data_pointer(context, b, sig.args[i], args[i]) for i in (1, 5, 6))
        first, stop = args[2], args[3]
        at = cgutils.alloca_once_value(b, args[4])
        with cgutils.for_range_slice(b, first, stop, int64(1), I64) as (feature, _):
            i, line = b.sub(feature, first), b.load(at)
            # A line that is not in use is written over by the next one.
            with cgutils.for_range_slice(b, int64(0), width, int64(n), I64) as (center, _):
                part = e.load(array.data, b.add(b.mul(i, width), center))
                e.store(part, table, b.add(b.mul(line, width), center))
            word = b.load(b.gep(bits, [b.sdiv(i, int64(n))]))
            in_use = b.and_(b.lshr(word, b.srem(i, int64(n))), int64(1))
            own = b.select(b.trunc(in_use, ir.IntType(1)), line, int64(0))
            b.store(b.trunc(own, I32), b.gep(places, [feature]))
            b.store(b.add(line, in_use), at)
        return b.load(at)

    return signature, codegen


@kernel
def _lay_out(
    centers,  # IN  (k, d) float64
    start,  # IN  first feature
    stop,  # IN  one past the last
    table,  # OUT (d + 1, w) float32, lines in use from start + 1 on
    places,  # OUT (d,) int32
    squares,  # OUT (w,) float64, the part of these features in the squared norms
):
    # Some features at a time, whose lines stay in the cache while the centers are gone through.
    width = table.shape[1]
    lines = np.empty((LINES, width), np.float32)
    in_use = np.empty(LINES // SCORE_LANES, np.int64)
    squares[:] = 0.0
    at = start + 1
    for first in range(start, stop, LINES):
        last = min(first + LINES, stop)
        _turn(centers, first, last, lines, squares, in_use)
        at = _keep(lines, in_use, first, last, at, table, places)
