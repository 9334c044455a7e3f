"""Rows and centers that the micro-benchmarks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmeans.kernels.lloyd import sums_width

# Features and clusters of the grid that peers are compared on; rows for arrays of about 8 MB, which
# leave the second-level cache as real blocks do.
SHAPES = ((4, 8), (16, 20), (32, 100), (128, 256), (64, 1000), (768, 100))
N_BYTES = 8 << 20


@dataclass(frozen=True)
class Problem:
    """Rows about as many middles as there are clusters, and what a pass needs of them."""

    rows: NDArray[Any]
    centers: NDArray[np.float64]

    @property
    def n_products(self) -> int:
        """Multiplications of an assignment that computes every distance."""
        return self.rows.size * len(self.centers)

    @property
    def shift(self) -> NDArray[np.float64]:
        return np.zeros(self.rows.shape[1])

    @property
    def quantisation(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shift and scale of quantised sums."""
        width = sums_width(self.rows.shape[1])
        scale = np.full(width, 2.0**30)
        scale[self.rows.shape[1] : -2] = 0.0
        return np.zeros(width), scale

    def no_sums(self) -> NDArray[np.int64]:
        return np.zeros((len(self.centers), sums_width(self.rows.shape[1])), np.int64)
