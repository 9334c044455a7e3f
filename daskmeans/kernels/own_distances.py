"""Squared distances of consecutive rows to the centers of their labels, eight rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.vector import I64, LINE_BYTES, Emitter, data_pointer, int64

OWN_ROWS = 8
# Rows of up to so many cache lines are asked for so many rows ahead; of wider ones the next lines
# of the rows that come next.
_NARROW_LINES, _ROWS_AHEAD = 2, 128
_QUAD = 4  # rows and features of a square that is transposed


@intrinsic
def own_sq_distances(
    typingctx: Any,
    rows: Any,  # IN   (r, d) float32 or float64, C order, r > 0
    start: Any,  # IN   first row, below r; past the last one it stands for those that are missing
    labels: Any,  # IN   (r,) int32
    centers: Any,  # IN   (k, d) float64, C order
    sq_distances: Any,  # OUT  (>= at + OWN_ROWS,) float64
    at: Any,  # IN   from here on
) -> tuple[Any, Callable[..., Any]]:
    """Write the squared distances of OWN_ROWS rows to their own centers."""
    # Differences are squared along the features, four at once, and squares of four rows by four
    # features are transposed: so each row is summed feature by feature, as the definition of labels
    # says, and four rows by one addition. Summing them one by one took twice the time.
    signature = types.void(rows, types.intp, labels, centers, sq_distances, types.intp)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.DoubleType(), _QUAD)
        source = Emitter(b, context.get_value_type(sig.args[0].dtype), _QUAD)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_rows, n_features = (b.extract_value(array.shape, i) for i in (0, 1))
        labels_data, centers_data, distances_data = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (2, 3, 4)
        )
        last = b.sub(n_rows, int64(1))
        row_starts, center_starts = [], []
        for i in range(OWN_ROWS):
            row = b.add(args[1], int64(i))
            row = b.select(b.icmp_signed("<", row, last), row, last)
            label = b.sext(b.load(b.gep(labels_data, [row])), I64)
            row_starts.append(b.mul(row, n_features))
            center_starts.append(b.mul(label, n_features))
        # Eight rows at once are read in an order that no processor foresees: for narrow ones memory
        # took as long as computing, and rows of 128 features took six times as long.
        a_line = LINE_BYTES // source.itemsize
        wide = b.icmp_signed(">", n_features, int64(_NARROW_LINES * a_line))
        next_rows = b.mul(n_features, int64(OWN_ROWS))
        with b.if_then(b.not_(wide)):
            soon = b.add(row_starts[0], b.mul(n_features, int64(_ROWS_AHEAD)))
            with cgutils.for_range_slice(b, int64(0), next_rows, int64(a_line), I64) as (number, _):
                source.prefetch(array.data, b.add(soon, number))
        totals = [cgutils.alloca_once_value(b, e.const(0.0)) for _ in range(0, OWN_ROWS, _QUAD)]
        with cgutils.for_range_slice(b, int64(0), n_features, int64(_QUAD), I64) as (feature, _):
            at_line = b.icmp_signed("==", b.and_(feature, int64(a_line - 1)), int64(0))
            with b.if_then(b.and_(at_line, wide)):
                for row_start in row_starts:
                    source.prefetch(array.data, b.add(row_start, b.add(feature, next_rows)))
            # Features that are missing are 0 in row and center, and add nothing.
            mask = e.lanes_below(b.sub(n_features, feature))

            def squares(i: int, feature: ir.Value = feature, mask: ir.Value = mask) -> ir.Value:
                x = source.load_masked(array.data, b.add(row_starts[i], feature), mask)
                if source.itemsize == 4:
                    x = b.fpext(x, e.vector)
                center = e.load_masked(centers_data, b.add(center_starts[i], feature), mask)
                difference = b.fsub(x, center)
                return b.fmul(difference, difference)

            for quad, total in enumerate(totals):
                along = [squares(quad * _QUAD + i) for i in range(_QUAD)]
                even = [e.shuffle(along[i], along[i + 1], [0, 4, 2, 6]) for i in (0, 2)]
                odd = [e.shuffle(along[i], along[i + 1], [1, 5, 3, 7]) for i in (0, 2)]
                summed = b.load(total)
                for half in ([0, 1, 4, 5], [2, 3, 6, 7]):
                    for pair in (even, odd):
                        summed = b.fadd(summed, e.shuffle(pair[0], pair[1], half))
                b.store(summed, total)
        for quad, total in enumerate(totals):
            e.store(b.load(total), distances_data, b.add(args[5], int64(quad * _QUAD)))
        return context.get_dummy_value()

    return signature, codegen
