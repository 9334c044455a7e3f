"""Sums over the rows of each cluster, for labels that are given."""

from __future__ import annotations

from functools import singledispatch

from daskmeans.kernels.compile import kernel
from daskmeans.kernels.csr import AnyRows
from daskmeans.kernels.lloyd import CLEAN, OUT_OF_RANGE
from daskmeans.kernels.quantised_sums import add_rows
from daskmeans.typing import Array, Labels


@kernel
def _sum_labelled(
    rows,  # IN    (r, d) float32 or float64, C order
    labels,  # IN    (r,) int32
    weights,  # IN    (r,) float64, or (1,) for one weight
    shift,  # IN    (s,) float64, zero past d
    scale,  # IN    (s,) float64 powers of two
    sums,  # INOUT (k, s) int64
):
    return add_rows(rows, 0, rows.shape[0], labels, None, weights, shift, scale, sums)


@singledispatch
def sum_labelled(
    rows: AnyRows, labels: Labels, weights: Array, shift: Array, scale: Array, sums: Array
) -> int:
    """Add rows to the quantised sums of their clusters; see `kernels.quantised_sums.add_rows`.

    Returns
    -------
    int
        CLEAN, or OUT_OF_RANGE if a row lies outside of the ranges that `scale` was made for.
    """
    strange = _sum_labelled(rows, labels, weights, shift, scale, sums)
    return OUT_OF_RANGE if strange != 0 else CLEAN
