"""How far centers have gone since bounds on distances to them were first kept, and which centers
share a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daskmeans.kernels.vector import GROUP_CENTERS
from daskmeans.typing import Array

# Groups of more centers than this many are halved no further: bounds of a row stay below its size.
_MOST_GROUPS = 32
# Multiplications for a row below which to choose among groups costs more than to compute them all.
_LEAST_WORK_FOR_GROUPS = 640
_POWER_STEPS = 8
# Drift beyond this is infinite: bounds stay finite in float32 when drift is added to them.
_LARGEST = 1e38


def centers_a_group(n_clusters: int, n_features: int) -> int:
    """Return how many centers share a bound: a row's bounds take at most a few of its features."""
    if n_clusters * n_features < _LEAST_WORK_FOR_GROUPS:
        return -(-n_clusters // GROUP_CENTERS) * GROUP_CENTERS
    n_groups = min(_MOST_GROUPS, max(4, n_features // 2), -(-n_clusters // GROUP_CENTERS))
    return -(-n_clusters // (n_groups * GROUP_CENTERS)) * GROUP_CENTERS


def neighborly_order(centers: Array, width: int) -> Array:
    """Return the numbers of the centers so that each `width` consecutive ones lie close together.

    Halves along the direction of largest spread, again and again.

    Parameters
    ----------
    centers : ndarray of shape (k, d), float64
    width : int

    Returns
    -------
    ndarray of shape (k,), int32
    """
    parts, whole = [np.arange(len(centers), dtype=np.int32)], []
    while parts:
        part = parts.pop()
        if len(part) <= width:
            whole.append(part)
            continue
        spread = centers[part] - centers[part].mean(axis=0)
        part = part[np.argsort(spread @ _widest_direction(spread), kind="stable")]
        half = width * max(1, round(len(part) / (2 * width)))
        parts += [part[half:], part[:half]]
    return np.concatenate(whole)


def _widest_direction(spread: Array) -> Array:
    """Return roughly the direction in which rows that average to zero are spread most.

    A few steps of the power method: an exact one took longer than a pass, and the direction feeds
    no result, only which centers share a bound.
    """
    direction = spread[np.argmax((spread**2).sum(axis=1))]
    for _ in range(_POWER_STEPS):
        direction = (spread @ direction) @ spread
        length = np.linalg.norm(direction)
        if length == 0:
            break
        direction = direction / length
    return direction


@dataclass(frozen=True)
class Drift:
    """What the bounds of rows are compared with, see `kernels.bounds`.

    Attributes
    ----------
    order : ndarray of shape (k,), int32
        Centers, group by group.
    width : int
        Centers in a group; the last one may have fewer.
    by_label : ndarray of shape (k,), float32
        Way of each center plus that of the fastest other one in each iteration.
    by_group : ndarray of shape (g,), float32
        Way of the fastest center of each group in each iteration.
    since : int
        Number of the pass before which the centers started.
    """

    order: Array
    width: int
    by_label: Array
    by_group: Array
    since: int

    @classmethod
    def start(cls, centers: Array, since: int, *, grouped: bool = True) -> Drift:
        """Start measuring from where centers are; group them, or leave all in one group."""
        k, d = centers.shape
        width = centers_a_group(k, d) if grouped else -(-k // GROUP_CENTERS) * GROUP_CENTERS
        return cls(
            neighborly_order(centers, width),
            width,
            np.zeros(k, np.float32),
            np.zeros(-(-k // width), np.float32),
            since,
        )

    def after(self, old: Array, new: Array) -> Drift:
        """Return the drift after centers have moved from `old` to `new`, of shape (k, d)."""
        steps = np.sqrt(((new - old) ** 2).sum(axis=1))
        fastest = int(np.argmax(steps))
        others = np.full(len(steps), steps[fastest])
        others[fastest] = np.delete(steps, fastest).max(initial=0.0)
        firsts = np.arange(0, len(steps), self.width)
        return Drift(
            self.order,
            self.width,
            _above(self.by_label, steps + others),
            _above(self.by_group, np.maximum.reduceat(steps[self.order], firsts)),
            self.since,
        )


def _above(way: Array, step: Array) -> Array:
    """Add to a way, rounding upwards."""
    total = (way.astype(np.float64) + step) * (1 + 1e-12)
    rounded = np.nextafter(total.astype(np.float32), np.float32(np.inf))
    # A center that stays adds nothing, not even a rounding.
    kept: Array = np.where(step == 0, way, np.where(total > _LARGEST, np.float32(np.inf), rounded))
    return kept
