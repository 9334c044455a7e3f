"""The number of clusters from which on more of them explain little more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from daskmeans.errors import missing_extra
from daskmeans.typing import Array

# An inertia of 0 has no logarithm.
_LEAST_SHARE = 1e-12


def knee_locator() -> Any:
    """Return kneed's Kneedle.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        from kneed import KneeLocator
    except ImportError as error:
        raise missing_extra("kneed", "sweep", "The elbow of a sweep") from error
    return KneeLocator


def elbow(counts: Sequence[int], inertias: Array) -> int | None:
    """Find the elbow of the logarithm of the inertia by Kneedle.

    While clusters are missing, each new one takes a share of the inertia that is left; once there
    is one for each group, it takes little. On the logarithm that is a corner at any number of
    groups. On the inertia itself it is one for few groups only: the first splits take most of it.

    Parameters
    ----------
    counts : sequence of int
        Numbers of clusters, ascending.
    inertias : ndarray of shape (len(counts),), float64

    Returns
    -------
    int or None
        None if there is no elbow: the curve is straight, or has less than three points.

    Raises
    ------
    MissingExtraError
        If kneed is not installed.

    Notes
    -----
    Satopaa, Albrecht, Irwin and Raghavan, "Finding a 'kneedle' in a haystack: detecting knee points
    in system behavior", ICDCS Workshops 2011. Where kneed finds several, the corner farthest from
    the straight line counts.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans.algorithms.elbow import elbow
    >>> elbow([2, 3, 4, 5, 6], np.array([100.0, 50.0, 5.0, 4.5, 4.0]))
    4
    """
    locate = knee_locator()
    if len(counts) < 3 or not inertias.max() > inertias.min():
        return None
    logarithms = np.log(np.maximum(inertias, _LEAST_SHARE * inertias.max()))
    locator = locate(counts, logarithms, curve="convex", direction="decreasing")
    if locator.elbow is None:
        return None
    return int(counts[int(np.argmax(locator.y_difference))])
