"""Data sets to try k-means on: lazy, chunked, and with the same rows in any chunking.

Row ``i`` is a function of the seed and of ``i`` alone: block boundaries only decide which task
makes it. So a small array and a store of a terabyte start with the same rows, and two chunkings of
one data set can be compared bit by bit (on processors of one type: the mathematical functions
underneath may round differently on another).
"""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import ArrayLike, DTypeLike, NDArray

from daskmeans.errors import missing_extra
from daskmeans.typing import Labels, Rows

__all__ = [
    "make_blobs",
    "make_gauss_mixture",
    "make_uniform",
    "sample_image_pixels",
    "sample_images",
]

# scikit-learn's `make_blobs` draws its centers from the same box.
_CENTER_BOX = (-10.0, 10.0)

# Shape of scikit-learn's two sample images together: needed before anything is read.
_IMAGES_SHAPE = (2, 427, 640, 3)

# Draws are made this many at a time: their float64 work arrays stay in the cache, and a block takes
# hardly more memory than the rows that it returns.
_DRAWS_AT_A_TIME = 1 << 15


class _Purpose(enum.IntEnum):
    """What a stream of draws is for. Streams of different purposes are independent."""

    CENTER = 1
    CLUSTER = 2
    POSITION = 3
    UNIFORM = 4


@dataclass(frozen=True)
class _Mixture:
    """Gaussian mixture that rows are drawn from."""

    centers: NDArray[np.float64]  # (k, d)
    stds: NDArray[np.float64]  # (k,)
    cumulative_sizes: NDArray[np.float64]  # (k,) ends with 1.0

    @classmethod
    def build(
        cls, centers: NDArray[np.float64], stds: NDArray[np.float64], sizes: NDArray[np.float64]
    ) -> _Mixture:
        cumulative_sizes = np.cumsum(sizes)
        # Divided by its own last entry, which makes that exactly 1: no draw falls beyond it.
        return cls(centers, stds, cumulative_sizes / cumulative_sizes[-1])


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
    shape = _checked_shape(n_samples, n_features)
    seed = _checked_seed(random_state)
    n_centers, given_centers = _checked_centers(centers, n_features, overlap)
    stds = _checked_vector(cluster_std, n_centers, "cluster_std", "center")
    if (stds < 0).any():
        raise ValueError(f"cluster_std must not be negative, got {stds.min()}.")
    proportions = _checked_sizes(sizes, n_centers)

    if given_centers is not None:
        positions = given_centers
    elif overlap is None:
        low, high = _CENTER_BOX
        draws = _uniforms(_stream(seed, _Purpose.CENTER, 0), n_centers * n_features)
        positions = low + (high - low) * draws.reshape(n_centers, n_features)
    else:
        if not stds.all():
            raise ValueError(f"overlap={overlap} needs every cluster_std above 0.")
        positions = _normal_centers(seed, n_centers, n_features)
        positions = positions * _spread_for(overlap, positions, stds, proportions)
    positions = positions + _checked_vector(offset, n_features, "offset", "feature")

    mixture = _Mixture.build(positions, stds, proportions)
    rows = _mixture_rows(mixture, shape, dtype, chunks, seed)
    parts: list[Any] = [rows]
    if return_labels:
        parts.append(_mixture_labels(mixture, rows.chunks[0], seed))
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
    shape = _checked_shape(n_samples, n_features)
    seed = _checked_seed(random_state)
    if n_clusters < 1:
        raise ValueError(f"n_clusters={n_clusters} must be at least 1.")
    if not 0 <= R < math.inf:
        raise ValueError(f"R={R} must be a finite standard deviation, at least 0.")
    centers = R * _normal_centers(seed, n_clusters, n_features)
    mixture = _Mixture.build(centers, np.ones(n_clusters), np.ones(n_clusters))
    return _mixture_rows(mixture, shape, dtype, chunks, seed), centers


def make_uniform(
    n_samples: int,
    n_features: int,
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: DTypeLike = "float32",
    chunks: Any = "auto",
    random_state: int = 0,
) -> da.Array:
    """Lazy rows without any cluster: uniform between two bounds in every feature.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    n_features : int
        Number of columns.
    low, high : float, default=0.0 and 1.0
        Bounds of the values. Rounding to `dtype` can give `high` itself.
    dtype : {"float16", "float32", "float64"}, default="float32"
        Data type of the rows.
    chunks : int, "auto" or tuple, default="auto"
        As for `make_blobs`.
    random_state : int, default=0
        Seed, not negative.

    Returns
    -------
    dask.array.Array of shape (n_samples, n_features)
        The rows, not yet computed.

    Raises
    ------
    TypeError
        If `random_state` is not an integer.
    ValueError
        If a number of rows or columns is too small, or the bounds are not finite and in order.

    Examples
    --------
    >>> from daskmeans.datasets import make_uniform
    >>> make_uniform(10_000, 3, low=-1, chunks=1_000).numblocks
    (10, 1)
    """
    shape = _checked_shape(n_samples, n_features)
    seed = _checked_seed(random_state)
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"low={low} and high={high} must be finite, and low at most high.")
    dtype = _checked_dtype(dtype)
    return da.map_blocks(
        _uniform_block,
        token="make-uniform",
        chunks=_row_chunks(chunks, shape, dtype),
        meta=np.empty((0, 0), dtype),
        seed=seed,
        n_features=n_features,
        bounds=(float(low), float(high)),
        rows_dtype=dtype,
    )


def sample_images() -> NDArray[np.uint8]:
    """Both sample images of scikit-learn, ``china.jpg`` and ``flower.jpg``.

    Returns
    -------
    ndarray of shape (2, 427, 640, 3) and dtype uint8
        Image, row, column and red, green, blue.

    Raises
    ------
    MissingExtraError
        If Pillow, which reads JPEG, is not installed. It is an ImportError.

    Examples
    --------
    >>> from daskmeans.datasets import sample_images
    >>> sample_images().shape
    (2, 427, 640, 3)
    """
    from sklearn.datasets import load_sample_images

    try:
        images = load_sample_images().images
    except ImportError as error:
        raise missing_extra("Pillow", "plot", "Reading the sample images") from error
    return np.stack(images)


def sample_image_pixels(dtype: DTypeLike = "uint8", chunks: Any = "auto") -> da.Array:
    """Lazy pixels of scikit-learn's two sample images, one row for each.

    Real data with clusters of very different sizes, many equal rows, and nothing to download.

    Parameters
    ----------
    dtype : data-type, default="uint8"
        Data type of the rows. Values stay between 0 and 255.
    chunks : int, "auto" or tuple, default="auto"
        As for `make_blobs`.

    Returns
    -------
    dask.array.Array of shape (546560, 3)
        Red, green and blue of each pixel, not yet read. Row ``(image * 427 + y) * 640 + x`` is
        ``sample_images()[image, y, x]``.

    Raises
    ------
    MissingExtraError
        When computed, if Pillow is not installed.

    Examples
    --------
    >>> from daskmeans.datasets import sample_image_pixels
    >>> pixels = sample_image_pixels(chunks=100_000)
    >>> pixels.shape, pixels.dtype, pixels.numblocks
    ((546560, 3), dtype('uint8'), (6, 1))
    """
    images = da.from_delayed(
        delayed(sample_images, pure=True)(), shape=_IMAGES_SHAPE, dtype=np.uint8
    )
    pixels = images.reshape(-1, 3)
    dtype = np.dtype(dtype)
    return pixels.rechunk(_row_chunks(chunks, pixels.shape, dtype)).astype(dtype)


# The tasks


def _mixture_rows(
    mixture: _Mixture, shape: tuple[int, int], dtype: DTypeLike, chunks: Any, seed: int
) -> da.Array:
    dtype = _checked_dtype(dtype)
    return da.map_blocks(
        _mixture_block,
        token="make-blobs",
        chunks=_row_chunks(chunks, shape, dtype),
        meta=np.empty((0, 0), dtype),
        # One key of the graph that every task refers to, not a copy of the centers in each task.
        mixture=delayed(mixture, pure=True),
        seed=seed,
        rows_dtype=dtype,  # `dtype` is an argument of map_blocks, which keeps it to itself
    )


def _mixture_labels(mixture: _Mixture, chunks: tuple[int, ...], seed: int) -> da.Array:
    return da.map_blocks(
        _label_block,
        token="make-blobs-labels",
        chunks=(chunks,),
        meta=np.empty(0, np.int32),
        cumulative_sizes=delayed(mixture.cumulative_sizes, pure=True),
        seed=seed,
    )


def _mixture_block(
    *, mixture: _Mixture, seed: int, rows_dtype: np.dtype[Any], block_info: Any = None
) -> Rows:
    from scipy.special import ndtri

    (start, stop), columns = block_info[None]["array-location"]
    columns = slice(*columns)
    n_features = mixture.centers.shape[1]
    centers = np.ascontiguousarray(mixture.centers[:, columns])
    positions = _stream(seed, _Purpose.POSITION, start * n_features)
    clusters = _stream(seed, _Purpose.CLUSTER, start)

    rows = np.empty((stop - start, centers.shape[1]), rows_dtype)
    for part in _parts(stop - start, n_features):
        n_part = part.stop - part.start
        labels = _draw_labels(clusters, n_part, mixture.cumulative_sizes)
        draws = _uniforms(positions, n_part * n_features).reshape(n_part, n_features)[:, columns]
        # The inverse of the distribution function, since it takes one draw for one number:
        # `Generator.standard_normal` takes more now and then, and rows would lose their places.
        normals = ndtri(draws)
        normals *= mixture.stds[labels, np.newaxis]
        normals += centers[labels]
        rows[part] = normals
    return rows


def _label_block(
    *, cumulative_sizes: NDArray[np.float64], seed: int, block_info: Any = None
) -> Labels:
    ((start, stop),) = block_info[None]["array-location"]
    return _draw_labels(_stream(seed, _Purpose.CLUSTER, start), stop - start, cumulative_sizes)


def _uniform_block(
    *,
    seed: int,
    n_features: int,
    bounds: tuple[float, float],
    rows_dtype: np.dtype[Any],
    block_info: Any = None,
) -> Rows:
    (start, stop), columns = block_info[None]["array-location"]
    columns = slice(*columns)
    low, high = bounds
    stream = _stream(seed, _Purpose.UNIFORM, start * n_features)

    rows = np.empty((stop - start, columns.stop - columns.start), rows_dtype)
    for part in _parts(stop - start, n_features):
        n_part = part.stop - part.start
        draws = _uniforms(stream, n_part * n_features).reshape(n_part, n_features)[:, columns]
        rows[part] = low + (high - low) * draws
    return rows


def _parts(n_rows: int, n_features: int) -> Iterator[slice]:
    rows_at_a_time = max(1, _DRAWS_AT_A_TIME // n_features)
    for start in range(0, n_rows, rows_at_a_time):
        yield slice(start, min(start + rows_at_a_time, n_rows))


# The draws


def _stream(seed: int, purpose: _Purpose, position: int) -> np.random.Philox:
    """Draws of one seed and purpose, from draw number `position` on."""
    # The tag in front keeps these draws apart from those of an estimator with the same seed.
    tag = int.from_bytes(b"datasets", "big")
    key = np.random.SeedSequence([tag, purpose, seed]).generate_state(2, np.uint64)
    # Philox gives four words for each value of its counter.
    counter, used = divmod(position, 4)
    stream = np.random.Philox(counter=counter, key=key)
    stream.random_raw(used)
    return stream


def _uniforms(stream: np.random.Philox, n_draws: int) -> NDArray[np.float64]:
    """Next `n_draws` numbers between 0 and 1, exclusive, from one word each."""
    # 52 bits and a half: no rounding ever gives 0 or 1, where the normal quantile is infinite.
    draws = (stream.random_raw(n_draws) >> np.uint64(12)).astype(np.float64)
    draws += 0.5
    draws *= 2.0**-52
    return draws


def _draw_labels(
    stream: np.random.Philox, n_rows: int, cumulative_sizes: NDArray[np.float64]
) -> Labels:
    draws = _uniforms(stream, n_rows)
    return np.searchsorted(cumulative_sizes, draws, side="right").astype(np.int32)


def _normal_centers(seed: int, n_centers: int, n_features: int) -> NDArray[np.float64]:
    from scipy.special import ndtri

    draws = _uniforms(_stream(seed, _Purpose.CENTER, 0), n_centers * n_features)
    centers: NDArray[np.float64] = ndtri(draws).reshape(n_centers, n_features)
    return centers


def _spread_for(
    overlap: float,
    centers: NDArray[np.float64],
    stds: NDArray[np.float64],
    sizes: NDArray[np.float64],
) -> float:
    """Factor on `centers` that makes `overlap` the share of rows beyond the nearest halfway plane.

    A row of cluster j is beyond the plane halfway to a center at distance D with probability
    Phi(-D / (2 std_j)).
    """
    from scipy.optimize import brentq
    from scipy.spatial import KDTree
    from scipy.special import ndtr, ndtri

    distances, _ = KDTree(centers).query(centers, k=2)
    separations = distances[:, 1] / stds
    weights = sizes / sizes.sum()
    # The factor that suits one cluster alone is -2 ndtri(overlap) / separation: the one that suits
    # all of them lies between the smallest and the largest of these.
    alone = -2 * ndtri(overlap) / separations
    factor: float = brentq(
        lambda scale: weights @ ndtr(-scale * separations / 2) - overlap,
        0.5 * alone.min(),
        2.0 * alone.max(),
    )
    return factor


# The checks


def _checked_shape(n_samples: int, n_features: int) -> tuple[int, int]:
    if n_samples < 0:
        raise ValueError(f"n_samples={n_samples} must not be negative.")
    if n_features < 1:
        raise ValueError(f"n_features={n_features} must be at least 1.")
    return int(n_samples), int(n_features)


def _checked_seed(random_state: int) -> int:
    try:
        seed = operator.index(random_state)
    except TypeError:
        raise TypeError(
            f"random_state must be an int, got {type(random_state).__name__}: a row is drawn from "
            "the seed and its own number, so that every chunking has the same rows."
        ) from None
    if seed < 0:
        raise ValueError(f"random_state={seed} must not be negative.")
    return seed


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    dtype = np.dtype(dtype)
    if not np.issubdtype(dtype, np.floating):
        raise ValueError(
            f"dtype={dtype} must be a floating type: draw float64 and convert with astype, which "
            "says how to round."
        )
    return dtype


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


def _row_chunks(
    chunks: Any, shape: tuple[int, int], dtype: np.dtype[Any]
) -> tuple[tuple[int, ...], ...]:
    if not isinstance(chunks, tuple):
        chunks = (chunks, -1)
    return da.core.normalize_chunks(chunks, shape=shape, dtype=dtype)
