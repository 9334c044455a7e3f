"""Means of clusters from their quantised sums, and how far centers moved.

Terms that are zero are left out of every sum over the features, and the others are added in the
order of their features, so that features which are zero everywhere change no bit of the result.
"""

from __future__ import annotations

import numpy as np

from daskmeans.kernels.compile import kernel
from daskmeans.typing import Array

# Terms that are added up before they are added to the others: rounding grows with this number and
# with how many such sums there are.
_TERMS = 64
# Features that are looked at before those of them that are not zero are computed with.
_FEATURES = 256


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
    last = sums.shape[1] - 1
    places = np.empty(_FEATURES, np.int64)
    for j in range(k):
        own, before, mean = sums[j], old[j], means[j]
        weight = own[last] * inverse[last] if own[last] > 0 else 1.0
        gained, part, n_terms = 0.0, 0.0, 0
        moved, moved_part, n_moved = 0.0, 0.0, 0
        for first in range(0, d, _FEATURES):
            # Most sums of sparse rows are zero: no branch for each of them.
            n_places = 0
            for f in range(first, min(first + _FEATURES, d)):
                mean[f] = shift[f]
                places[n_places] = f
                n_places += (own[f] != 0) | (before[f] != shift[f])
            for n in range(n_places):
                f = places[n]
                total = own[f] * inverse[f]
                offset = total / weight
                center = shift[f] + offset
                mean[f] = center
                part += offset * total
                n_terms += own[f] != 0
                difference = center - before[f]
                moved_part += difference * difference
                n_moved += difference != 0.0
                if n_terms == _TERMS:
                    gained, part, n_terms = gained + part, 0.0, 0
                if n_moved == _TERMS:
                    moved, moved_part, n_moved = moved + moved_part, 0.0, 0
        squares[j] = own[last - 1] * inverse[last - 1] - (gained + part)
        sq_shifts[j] = moved + moved_part


@kernel
def _sq_distances_between(
    new,  # IN  (k, d) float64
    old,  # IN  (k, d) or (1, d) float64
    sq_distances,  # OUT (k,) float64
):
    places = np.empty(_FEATURES, np.int64)
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
