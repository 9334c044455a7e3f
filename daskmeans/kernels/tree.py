"""Rows go down a binary tree of centers, at each node to the nearer one of its two children."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.compile import kernel
from daskmeans.kernels.vector import I64, Emitter, data_pointer, int64

LANES = 8  # float64 lanes of a distance: part of the result, so the same on every processor


@intrinsic
def _sq_distances_to_two(
    typingctx: Any,
    rows: Any,  # IN  (r, d) float32 or float64, C order
    i: Any,  # IN  number of the row
    centers: Any,  # IN  (n, d) float64, C order
    one: Any,  # IN  number of a center
    other: Any,  # IN  number of another one
) -> tuple[Any, Callable[..., Any]]:
    """Return the squared distances of a row to two centers, from float64 differences."""
    # Features along the lanes: rows are at different nodes, so no other rows can be beside it.
    pair = types.UniTuple(types.float64, 2)
    signature = pair(rows, types.intp, centers, types.intp, types.intp)
    n = LANES

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        double = ir.DoubleType()
        e = Emitter(b, double, n)
        source = Emitter(b, context.get_value_type(sig.args[0].dtype), n)
        array = context.make_array(sig.args[0])(context, b, args[0])
        n_features = b.extract_value(array.shape, 1)
        data = data_pointer(context, b, sig.args[2], args[2])
        row = b.mul(args[1], n_features)
        places = [b.mul(args[3], n_features), b.mul(args[4], n_features)]
        totals = [cgutils.alloca_once(b, e.vector) for _ in places]
        for total in totals:
            b.store(e.const(0.0), total)

        def add(values: ir.Value, against: list[ir.Value]) -> None:
            if source.itemsize == 4:
                values = b.fpext(values, e.vector)
            for total, center in zip(totals, against, strict=True):
                y = b.fsub(values, center)
                b.store(b.fadd(b.load(total), b.fmul(y, y)), total)

        n_whole = b.and_(n_features, int64(-n))
        n_left = b.sub(n_features, n_whole)
        with cgutils.for_range_slice(b, int64(0), n_whole, int64(n), I64) as (at, _):
            add(
                source.load(array.data, b.add(row, at)),
                [e.load(data, b.add(place, at)) for place in places],
            )
        with b.if_then(b.icmp_signed(">", n_left, int64(0))):
            # Lanes that are left out are 0 on both sides.
            mask = e.lanes_below(n_left)
            add(
                source.load_masked(array.data, b.add(row, n_whole), mask),
                [e.load_masked(data, b.add(place, n_whole), mask) for place in places],
            )
        found = [e.folded(b.load(total), b.fadd) for total in totals]
        return context.make_tuple(b, sig.return_type, found)

    return signature, codegen


@kernel
def walk_rows(
    rows,  # IN  (r, d) float32 or float64, C order
    nodes,  # IN  (n, d) float64 centers, C order; the first is the root's
    children,  # IN  (n, 2) int32, numbers of nodes; -1 for a leaf
    leaf_labels,  # IN  (n,) int32, read of leaves
    labels,  # OUT (r,) int32
):
    """Label rows by the leaves that they reach, on a tie to the left; return the first row that is
    not finite, or -1."""
    for i in range(rows.shape[0]):
        node = np.int64(0)
        left = np.int64(children[0, 0])
        if left < 0:
            for f in range(rows.shape[1]):
                if not np.isfinite(rows[i, f]):
                    return i
        while left >= 0:
            right = np.int64(children[node, 1])
            to_left, to_right = _sq_distances_to_two(rows, i, nodes, left, right)
            if not np.isfinite(to_left):
                for f in range(rows.shape[1]):
                    if not np.isfinite(rows[i, f]):
                        return i
            node = right if to_right < to_left else left
            left = np.int64(children[node, 0])
        labels[i] = leaf_labels[node]
    return -1
