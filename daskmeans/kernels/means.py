"""Means of clusters from their quantised sums, and how far centers moved.

Terms that are zero are left out of every sum over the features, and the others are added in the
order of their features, so that features which are zero everywhere change no bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from daskmeans.kernels.compile import inlined, kernel
from daskmeans.kernels.label_bits import lowest_bit
from daskmeans.kernels.scratch import scratch
from daskmeans.kernels.vector import I64, Emitter, data_pointer, int64
from daskmeans.typing import Array

# Terms that are added up before they are added to the others: rounding grows with this number and
# with how many such sums there are.
_TERMS = 64
# Features that are looked at before those of them that are not zero are computed with.
_FEATURES = 256
# Features whose means are computed before their terms are added: a bit of an int64 for each.
_BITS = 64
_LANES = 8


@intrinsic
def _means_of_features(
    typingctx: Any,
    sums: Any,  # IN  (k, s) int64
    own_at: Any,  # IN  where the cluster's sums begin among all of them
    old: Any,  # IN  (k, d) float64
    old_at: Any,  # IN  where the cluster's old center begins, and its new one
    first: Any,  # IN  first feature
    stop: Any,  # IN  one past the last, at most _BITS later
    shift: Any,  # IN  (s,) float64
    inverse: Any,  # IN  (s,) float64
    weight: Any,  # IN
    means: Any,  # OUT (k, d) float64
    terms: Any,  # OUT (_BITS,) float64, what the mean is away from the shift times the sum
    moves: Any,  # OUT (_BITS,) float64, squared differences to the old center
    bits: Any,  # OUT (2,) int64, which sums are not zero, and which differences
) -> tuple[Any, Callable[..., Any]]:
    """Write some features of a cluster's mean, and what each adds to the sums over the features.

    Terms and moves are written where a bit is set.
    """
    place = types.intp
    signature = types.void(
        *(sums, place, old, place, place, place),
        *(shift, inverse, types.float64, means, terms, moves, bits),
    )

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        e = Emitter(b, ir.DoubleType(), _LANES)
        integers = ir.VectorType(I64, _LANES)
        sums, old, shift, inverse, means, terms, moves, bits = (
            data_pointer(context, b, sig.args[i], args[i]) for i in (0, 2, 6, 7, 9, 10, 11, 12)
        )
        own_at, old_at, first, stop = args[1], args[3], args[4], args[5]
        weight = e.splat(args[8])
        summed, moved = (cgutils.alloca_once_value(b, int64(0)) for _ in range(2))

        def as_bits(lanes: ir.Value) -> ir.Value:
            return b.zext(b.bitcast(lanes, ir.IntType(_LANES)), I64)

        def put(lanes: ir.Value, place: ir.Value, target: ir.Value) -> None:
            b.store(b.or_(b.load(target), b.shl(lanes, place)), target)

        with cgutils.for_range_slice(b, first, stop, int64(_LANES), I64) as (f, _):
            # Past the features there are other sums, and past a row of centers is the next one.
            mask = e.lanes_below(b.sub(stop, f))
            address = b.gep(sums, [b.add(own_at, f)])
            own = b.load(b.bitcast(address, integers.as_pointer()))
            own.align = 8
            before, origin = e.load_masked(old, b.add(old_at, f), mask), e.load(shift, f)
            none = ir.Constant(integers, [0] * _LANES)
            has_sum = as_bits(b.and_(b.icmp_signed("!=", own, none), mask))
            was_off = as_bits(b.and_(b.fcmp_unordered("!=", before, origin), mask))
            some = b.icmp_signed("!=", b.or_(has_sum, was_off), int64(0))
            with b.if_else(some) as (then, otherwise):
                with then:
                    total = b.fmul(b.sitofp(own, e.vector), e.load(inverse, f))
                    offset = b.fdiv(total, weight)
                    center = b.fadd(origin, offset)
                    difference = b.fsub(center, before)
                    e.store_masked(center, means, b.add(old_at, f), mask)
                    place = b.sub(f, first)
                    e.store(b.fmul(offset, total), terms, place)
                    e.store(b.fmul(difference, difference), moves, place)
                    is_off = b.fcmp_unordered("!=", difference, e.const(0.0))
                    has_moved = as_bits(b.and_(is_off, mask))
                    put(has_sum, place, summed)
                    put(has_moved, place, moved)
                with otherwise:
                    # Most sums of sparse rows are zero. As above, of -0.0 comes 0.0.
                    e.store_masked(b.fadd(origin, e.const(0.0)), means, b.add(old_at, f), mask)
        b.store(b.load(summed), bits)
        b.store(b.load(moved), b.gep(bits, [int64(1)]))
        return context.get_dummy_value()

    return signature, codegen


@inlined
def _add_terms(terms, bits, total, part, n_terms):
    """Add those of some terms whose bits are set to a sum; return it: whole, begun, its terms."""
    while bits:
        part += terms[lowest_bit(bits)]
        bits &= bits - 1
        n_terms += 1
        if n_terms == _TERMS:
            total, part, n_terms = total + part, 0.0, 0
    return total, part, n_terms


@kernel
def means_of_sums(
    sums,  # IN  (k, s) int64, see `quantised_sums.add_rows`
    shift,  # IN  (s,) float64
    inverse,  # IN  (s,) float64 powers of two, by which numbers are multiplied to be what they were
    old,  # IN  (k, d) float64
    means,  # OUT (k, d) float64, the shift for a cluster without weight
    squares,  # OUT (k,) float64, what the rows of the cluster cost to their mean
    sq_shifts,  # OUT (k,) float64, squared distances to the old ones as of `sq_distances_between`
):
    """Write the means of clusters, what rows cost to them, and how far they are from old ones."""
    k, d = old.shape
    s = sums.shape[1]
    last = s - 1
    terms, moves, bits = (
        scratch(_BITS, np.float64),
        scratch(_BITS, np.float64),
        scratch(2, np.int64),
    )
    for j in range(k):
        weight = sums[j, last] * inverse[last] if sums[j, last] > 0 else 1.0
        gained, part, n_terms = 0.0, 0.0, 0
        moved, moved_part, n_moved = 0.0, 0.0, 0
        for first in range(0, d, _BITS):
            _means_of_features(
                *(sums, j * s, old, j * d, first, min(first + _BITS, d)),
                *(shift, inverse, weight, means, terms, moves, bits),
            )
            gained, part, n_terms = _add_terms(terms, bits[0], gained, part, n_terms)
            moved, moved_part, n_moved = _add_terms(moves, bits[1], moved, moved_part, n_moved)
        squares[j] = sums[j, last - 1] * inverse[last - 1] - (gained + part)
        sq_shifts[j] = moved + moved_part


@kernel
def _sq_distances_between(
    new,  # IN  (k, d) float64
    old,  # IN  (k, d) or (1, d) float64
    sq_distances,  # OUT (k,) float64
):
    places = scratch(_FEATURES, np.int64)
    for j in range(new.shape[0]):
        after, before = new[j], old[j if old.shape[0] > 1 else 0]
        total, part, count = 0.0, 0.0, 0
        for first in range(0, new.shape[1], _FEATURES):
            n_places = 0
            for f in range(first, min(first + _FEATURES, new.shape[1])):
                places[n_places] = f
                n_places += after[f] != before[f]
            for n in range(n_places):
                difference = after[places[n]] - before[places[n]]
                part += difference * difference
                count += 1
                if count == _TERMS:
                    total, part, count = total + part, 0.0, 0
        sq_distances[j] = total + part


def sq_distances_between(new: Array, old: Array) -> Array:
    """Return the squared distance of each center to the other of its number, (k,).

    Parameters
    ----------
    new : ndarray of shape (k, d), float64
    old : ndarray of shape (k, d), or (1, d) for the same one, float64
    """
    sq_distances = np.empty(len(new))
    _sq_distances_between(new, old, sq_distances)
    return sq_distances


def sq_norms_of(centers: Array) -> Array:
    """Return the squared length of each center, (k,)."""
    return sq_distances_between(centers, np.zeros((1, centers.shape[1])))
