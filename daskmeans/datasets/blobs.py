"""Gaussian blobs, and the mixture of the k-means|| paper."""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from daskmeans.datasets.checks import checked_seed, checked_shape
from daskmeans.datasets.draws import Purpose, stream_of, uniforms
from daskmeans.datasets.mixture import (
    Mixture,
    mixture_labels,
    mixture_rows,
    normal_centers,
    spread_for,
)

# scikit-learn's `make_blobs` draws its centers from the same box.
_CENTER_BOX = (-10.0, 10.0)


def make_blobs(
    n_samples: int,
    n_features: int,
    *,
    centers: int | ArrayLike = 10,
    cluster_std: float | ArrayLike = 1.0,
    sizes: ArrayLike | None = None,
    overlap: float | None = None,
    offset: float | ArrayLike = 0.0,
    dtype: DTypeLike = "float32",
    chunks: Any = "auto",
    random_state: int = 0,
    return_labels: bool = False,
    return_centers: bool = False,
    # Any: a tuple with `return_labels` or `return_centers`, for which users need not ask.
) -> da.Array | Any:
    """Lazy isotropic Gaussian blobs.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    n_features : int
        Number of columns.
    centers : int or array-like of shape (n_centers, n_features), default=10
        The centers, or how many to draw. Drawn centers are uniform in the box from -10 to 10, as in
        `sklearn.datasets.make_blobs`, unless `overlap` is given.
    cluster_std : float or array-like of shape (n_centers,), default=1.0
        Standard deviation of each blob, the same along every feature.
    sizes : array-like of shape (n_centers,), default=None
        Proportions of the blobs; they need not sum to 1. Each row draws its blob, so that counts
        vary around the proportions as they do in a sample. None means equal proportions. ``1 /
        np.arange(1, n_centers + 1)`` gives sizes after Zipf's law.
    overlap : float, default=None
        How much the blobs run into each other: the expected share of rows that lie nearer to the
        closest neighbor of their own center than to that center. Drawn centers are then Gaussian
        around the origin, spread just as far as gives this share. Between 0 and 0.5, exclusive:
        0.001 is nearly separate, 0.1 hard to tell apart. With three or more centers, others than
        the closest neighbor take further rows.
    offset : float or array-like of shape (n_features,), default=0.0
        Added to every row and center. Far from the origin, float32 distances lose their digits.
    dtype : {"float16", "float32", "float64"}, default="float32"
        Data type of the rows. They are drawn in float64 and then rounded.
    chunks : int, "auto" or tuple, default="auto"
        An int or "auto" chunks the rows and leaves columns whole; a tuple of two chunks both axes,
        in any form that dask takes. The rows do not depend on it.
    random_state : int, default=0
        Seed, not negative. Generators and None are refused: a row is drawn from the seed and its
        own number, and those have no seed to give.
    return_labels : bool, default=False
        Whether to return the blob of each row too.
    return_centers : bool, default=False
        Whether to return the centers too.

    Returns
    -------
    rows : dask.array.Array of shape (n_samples, n_features)
        The rows, not yet computed.
    labels : dask.array.Array of shape (n_samples,) and dtype int32
        Index of the center that each row was drawn around, not yet computed, in the chunks of the
        rows. Only if `return_labels`.
    centers : ndarray of shape (n_centers, n_features) and dtype float64
        The centers, `offset` included. Only if `return_centers`.

    Raises
    ------
    TypeError
        If `random_state` is not an integer.
    ValueError
        If a size, a standard deviation or an offset has the wrong shape or an impossible value, or
        if `overlap` is given along with the centers themselves, with fewer than two of them, or
        with a `cluster_std` of 0.

    Examples
    --------
    >>> from daskmeans.datasets import make_blobs
    >>> rows = make_blobs(1_000_000, 2, centers=3, chunks=250_000)
    >>> rows.numblocks
    (4, 1)
    >>> same = make_blobs(1_000_000, 2, centers=3, chunks=(400_000, 1))
    >>> bool((rows[:5].compute() == same[:5].compute()).all())
    True

    Far from the origin, of unequal sizes, with the blob of each row:

    >>> rows, labels = make_blobs(
    ...     1000, 2, centers=[[0, 0], [9, 9]], sizes=[3, 1], offset=1e4, return_labels=True
    ... )
    >>> float((labels == 0).mean().compute())
    0.761
    """
    shape = checked_shape(n_samples, n_features)
    seed = checked_seed(random_state)
    n_centers, given_centers = _checked_centers(centers, n_features, overlap)
    stds = _checked_vector(cluster_std, n_centers, "cluster_std", "center")
    if (stds < 0).any():
        raise ValueError(f"cluster_std must not be negative, got {stds.min()}.")
    proportions = _checked_sizes(sizes, n_centers)

    if given_centers is not None:
        positions = given_centers
    elif overlap is None:
        low, high = _CENTER_BOX
        draws = uniforms(stream_of(seed, Purpose.CENTER, 0), n_centers * n_features)
        positions = low + (high - low) * draws.reshape(n_centers, n_features)
    else:
        if not stds.all():
            raise ValueError(f"overlap={overlap} needs every cluster_std above 0.")
        positions = normal_centers(seed, n_centers, n_features)
        positions = positions * spread_for(overlap, positions, stds, proportions)
    positions = positions + _checked_vector(offset, n_features, "offset", "feature")

    mixture = Mixture.build(positions, stds, proportions)
    rows = mixture_rows(mixture, shape, dtype, chunks, seed)
    parts: list[Any] = [rows]
    if return_labels:
        parts.append(mixture_labels(mixture, rows.chunks[0], seed))
    if return_centers:
        parts.append(positions)
    return parts[0] if len(parts) == 1 else tuple(parts)


def make_gauss_mixture(
    n_samples: int = 10_000,
    n_features: int = 15,
    n_clusters: int = 50,
    R: float = 1.0,
    *,
    dtype: DTypeLike = "float64",
    chunks: Any = "auto",
    random_state: int = 0,
) -> tuple[da.Array, NDArray[np.float64]]:
    """GAUSSMIXTURE, the synthetic data of the k-means|| paper.

    Parameters
    ----------
    n_samples : int, default=10_000
        Number of rows.
    n_features : int, default=15
        Number of columns.
    n_clusters : int, default=50
        Number of centers, all of the same weight.
    R : float, default=1.0
        Standard deviation of the centers around the origin; the paper uses 1, 10 and 100.
    dtype : {"float16", "float32", "float64"}, default="float64"
        Data type of the rows.
    chunks : int, "auto" or tuple, default="auto"
        As for `make_blobs`.
    random_state : int, default=0
        Seed, not negative.

    Returns
    -------
    rows : dask.array.Array of shape (n_samples, n_features)
        The rows, each with unit variance around its center, not yet computed.
    centers : ndarray of shape (n_clusters, n_features) and dtype float64
        The centers.

    Raises
    ------
    TypeError
        If `random_state` is not an integer.
    ValueError
        If a number of rows, columns or clusters is too small, or `R` is negative.

    Notes
    -----
    Section 4.1 of the paper calls R the variance of the centers. Its Table 1 agrees with R as their
    standard deviation only: with R as a variance, the costs of the row "Random" for R=100 would be
    two orders of magnitude smaller.

    References
    ----------
    Bahmani, Moseley, Vattani, Kumar, Vassilvitskii, "Scalable K-Means++", VLDB 2012.

    Examples
    --------
    >>> from daskmeans.datasets import make_gauss_mixture
    >>> rows, centers = make_gauss_mixture(R=10, chunks=2_500)
    >>> rows.shape, rows.numblocks, centers.shape
    ((10000, 15), (4, 1), (50, 15))
    """
    shape = checked_shape(n_samples, n_features)
    seed = checked_seed(random_state)
    if n_clusters < 1:
        raise ValueError(f"n_clusters={n_clusters} must be at least 1.")
    if not 0 <= R < math.inf:
        raise ValueError(f"R={R} must be a finite standard deviation, at least 0.")
    centers = R * normal_centers(seed, n_clusters, n_features)
    mixture = Mixture.build(centers, np.ones(n_clusters), np.ones(n_clusters))
    return mixture_rows(mixture, shape, dtype, chunks, seed), centers


def _checked_centers(
    centers: int | ArrayLike, n_features: int, overlap: float | None
) -> tuple[int, NDArray[np.float64] | None]:
    """How many centers there are, and the centers themselves if they were given."""
    if not isinstance(centers, (int, np.integer)):
        if overlap is not None:
            raise ValueError(
                "overlap spreads centers that are drawn, and centers gives their places: "
                "pass the number of centers, or leave overlap out."
            )
        given = np.array(centers, dtype=np.float64)
        if given.ndim != 2 or given.shape[0] == 0 or given.shape[1] != n_features:
            raise ValueError(
                f"centers has shape {given.shape}, it must be (n_centers, n_features={n_features})."
            )
        if not np.isfinite(given).all():
            raise ValueError("centers must be finite, it has NaN or infinity.")
        return len(given), given

    n_centers = int(centers)
    if n_centers < 1:
        raise ValueError(f"centers={n_centers} must be at least 1.")
    if overlap is not None:
        if not 0 < overlap < 0.5:
            raise ValueError(f"overlap={overlap} must be between 0 and 0.5, exclusive.")
        if n_centers < 2:
            raise ValueError(
                f"overlap={overlap} needs at least 2 centers, got centers={n_centers}."
            )
    return n_centers, None


def _checked_vector(
    value: float | ArrayLike, length: int, argument: str, per: str
) -> NDArray[np.float64]:
    """A number for all, or one for each: always as (length,)."""
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape not in [(), (length,)]:
        raise ValueError(
            f"{argument} has shape {vector.shape}, it must be one number, or one for each {per}: "
            f"({length},)."
        )
    if not np.isfinite(vector).all():
        raise ValueError(f"{argument} must be finite, it has NaN or infinity.")
    return np.broadcast_to(vector, (length,)).copy()


def _checked_sizes(sizes: ArrayLike | None, n_centers: int) -> NDArray[np.float64]:
    if sizes is None:
        return np.ones(n_centers)
    proportions = np.array(sizes, dtype=np.float64)
    if proportions.shape != (n_centers,):
        raise ValueError(
            f"sizes has shape {proportions.shape}, it must be one for each center: ({n_centers},)."
        )
    if not (np.isfinite(proportions).all() and (proportions >= 0).all() and proportions.any()):
        raise ValueError("sizes must be finite and not negative, and one of them positive.")
    return proportions
