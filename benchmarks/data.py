"""The arrays that contenders are run on: seeded, in memory, NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SEED = 20240607

# Typical distance of two blob centers in standard deviations of a blob: they overlap.
_SEPARATION = 4.0

_N_PIXELS = 2 * 427 * 640
_PATCH_SIDE = 16

_QUICK_SHRINKS_BY = 100


@dataclass(frozen=True)
class Cell:
    """One data set and number of clusters to compare on."""

    data: str  # "blobs", "uniform", "pixels" or "patches"
    n_rows: int
    n_features: int
    n_clusters: int
    dtype: str = "float32"

    @property
    def name(self) -> str:
        return f"{self.data}-{short_count(self.n_rows)}-{self.n_features}-{self.n_clusters}"

    @property
    def n_bytes(self) -> int:
        return self.n_rows * self.n_features * np.dtype(self.dtype).itemsize

    def with_dtype(self, dtype: str) -> Cell:
        return replace(self, dtype=dtype)

    def shrunk(self) -> Cell:
        """The cell with a hundredth of its rows, to see that all works."""
        n_rows = max(self.n_rows // _QUICK_SHRINKS_BY, 10 * self.n_clusters)
        return replace(self, n_rows=n_rows)

    def rows(self) -> NDArray[Any]:
        """Make the rows. They hold the same numbers in float64 as in float32."""
        rng = np.random.default_rng(SEED)
        if self.data == "pixels":
            rows = image_pixels(rng)[: self.n_rows]
        elif self.data == "patches":
            rows = image_patches(self.n_rows, rng)
        elif self.data == "uniform":
            rows = rng.random((self.n_rows, self.n_features), dtype=np.float32)
        else:
            rows = overlapping_blobs(self.n_rows, self.n_features, self.n_clusters, rng)
        return rows.astype(self.dtype, copy=False)

    def initial_centers(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows drawn at random, no two of them equal.

        Pixels are whole numbers, and many lie equally far from two others. Their centers, and those
        of patches of them, are moved by less than one, lest rounding decide such ties for each
        contender in its own way.
        """
        rng = np.random.default_rng(SEED + 1)
        n_drawn = min(len(rows), 50 * self.n_clusters)
        drawn = np.unique(rows[rng.choice(len(rows), n_drawn, replace=False)], axis=0)
        if len(drawn) < self.n_clusters:
            raise ValueError(f"{self.name}: only {len(drawn)} distinct rows among {n_drawn} drawn.")
        centers = rng.permutation(drawn)[: self.n_clusters]
        if self.data in ("pixels", "patches"):
            centers += rng.random(centers.shape, dtype=np.float32)
        return centers


_SHAPES = (
    (2_000_000, 4, 8),
    (1_000_000, 16, 20),
    (500_000, 32, 100),
    (200_000, 128, 256),
    (100_000, 64, 1000),
    (100_000, 768, 100),
)

GRID = (
    *(Cell("blobs", *shape) for shape in _SHAPES),
    *(Cell("uniform", *shape) for shape in _SHAPES),
    Cell("pixels", _N_PIXELS, 3, 64),
    Cell("patches", 100_000, _PATCH_SIDE**2 * 3, 256),
)


SMALL = (Cell("blobs", 10_000, 10, 8), Cell("uniform", 10_000, 10, 8))

LARGE_K = (Cell("blobs", 1_000_000, 64, 16_384),)


def overlapping_blobs(
    n_rows: int, n_features: int, n_blobs: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Gaussian blobs of standard deviation 1, centers Gaussian about the origin.

    Centers lie about four standard deviations from each other whatever the number of features, so
    that neighbors overlap and Lloyd goes on for many more iterations than are timed.
    """
    spread = _SEPARATION / np.sqrt(2 * n_features)
    centers = (spread * rng.standard_normal((n_blobs, n_features))).astype(np.float32)
    rows = rng.standard_normal((n_rows, n_features), dtype=np.float32)
    rows += centers[rng.integers(n_blobs, size=n_rows)]
    return rows


def image_pixels(rng: np.random.Generator) -> NDArray[np.float32]:
    """Pixels of scikit-learn's two sample images, shuffled: red, green, blue between 0 and 255."""
    from sklearn.datasets import load_sample_images

    pixels = np.stack(load_sample_images().images).reshape(-1, 3).astype(np.float32)
    return rng.permutation(pixels)


def image_patches(n_rows: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Patches of 16 x 16 pixels of the same images, half of each, no two from the same place.

    Their variance falls off from one principal direction to the next like that of embeddings.
    """
    from sklearn.datasets import load_sample_images

    rows = np.empty((n_rows, _PATCH_SIDE**2 * 3), np.float32)
    halves = np.array_split(rng.permutation(n_rows), 2)
    for image, half in zip(load_sample_images().images, halves, strict=True):
        windows = sliding_window_view(image, (_PATCH_SIDE, _PATCH_SIDE), axis=(0, 1))
        height, width = windows.shape[:2]
        corners = rng.choice(height * width, len(half), replace=False)
        rows[half] = windows[corners // width, corners % width].reshape(len(half), -1)
    return rows


def short_count(number: int) -> str:
    """2M, 500k, 546560: exact, and short where that is possible."""
    for unit, size in [("M", 1_000_000), ("k", 1_000)]:
        if number and number % size == 0:
            return f"{number // size}{unit}"
    return str(number)
