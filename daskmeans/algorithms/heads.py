"""Axes along which most of the variance lies, and whether comparing rows along them first
spares distances: see `kernels.heads`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from daskmeans.algorithms.survey import Surveyed
from daskmeans.blocks.block import Block
from daskmeans.kernels.assign import PackedCenters, pack_centers
from daskmeans.kernels.head_projection import project
from daskmeans.kernels.heads import PAIR_COST
from daskmeans.kernels.vector import GROUP_CENTERS
from daskmeans.passes.schedulers import blas_on_one_thread
from daskmeans.typing import Array

# Below, a head is no small part of a row, and there is little to rule out.
_LEAST_FEATURES, _LEAST_CLUSTERS = 256, 32
# Multiplications of a pass below which finding axes costs more than it saves.
_LEAST_WORK = 1 << 30
# Numbers of axes that are tried. Multiples of the vectors of any processor.
_WIDTHS = (32, 64)
LARGEST_HEAD = _WIDTHS[-1] + 1
# Share of the work of computing all distances that heads must not exceed.
_MOST_WORK = 0.4
# Rows of the sample that axes are found from, and those that they are tried on.
_FITTED_ROWS, _TRIED_ROWS = 1024, 256
_POWER_STEPS, _MORE_AXES = 1, 8


@dataclass(frozen=True)
class PrincipalAxes:
    """Orthonormal axes.

    Attributes
    ----------
    narrow : ndarray of shape (d, p), float32
        Nearly orthonormal: what travels to other processes.
    shift : ndarray of shape (d,), float64
        Subtracted from rows and centers before they are multiplied.
    """

    narrow: Array
    shift: Array

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.narrow, self.shift)

    @cached_property
    def _wide(self) -> Array:
        """The axes, orthonormal in float64; of shape (d, p)."""
        wide = self.narrow.astype(np.float64)
        # Newton's iteration for the nearest orthonormal matrix doubles the digits each time.
        for _ in range(2):
            wide = 1.5 * wide - 0.5 * wide @ (wide.T @ wide)
        return wide

    @cached_property
    def _lines(self) -> Array:
        """The axes as `kernels.head_projection.project` takes them."""
        return np.concatenate([np.zeros((1, self.size - 1)), self._wide]).ravel()

    @cached_property
    def error(self) -> float:
        """How far a head may be off, as a share of the length of the shifted row.

        With the p axes off orthonormal by E, the square of the tail is off by at most
        4 |E| + 8 (d + 8) sqrt(p) u of the row's (Higham, section 3.1), which moves the tail by at
        most the root of that. 2**-23 covers the rounding to float32.
        """
        d, p = self.narrow.shape
        product = self._wide.T @ self._wide
        product[np.diag_indices(p)] -= 1
        off = float(np.linalg.norm(product)) + d * 2.0**-52 * p
        return float(np.sqrt(4 * off + 8 * (d + 8) * np.sqrt(p) * 2.0**-53) + 2.0**-23)

    @property
    def size(self) -> int:
        """Numbers in a head."""
        return int(self.narrow.shape[1]) + 1

    def heads_of(self, block: Block) -> Array:
        """Return the heads of a block's rows, of shape (r, size), float32."""
        heads = np.empty((len(block), self.size), np.float32)
        for part, rows, _ in block.tiles():
            project(rows, self.shift, self._lines, heads[part])
        return heads

    def heads_of_centers(self, centers: Array) -> PackedCenters:
        """Return the heads of centers of shape (k, d), laid out in groups."""
        shifted = centers - self.shift
        products = shifted @ self._wide
        sq_tails = (shifted**2).sum(axis=1) - (products**2).sum(axis=1)
        tails = np.sqrt(np.maximum(sq_tails, 0))
        heads = np.column_stack([products, tails])
        order = np.arange(len(heads), dtype=np.int32)
        return pack_centers(heads, np.zeros(self.size), np.dtype(np.float32), order, GROUP_CENTERS)


class HeadChooser:
    """Decides whether heads are worth it, by a part of the survey's sample.

    Parameters
    ----------
    surveyed : Surveyed
    """

    def __init__(self, surveyed: Surveyed) -> None:
        self._surveyed = surveyed

    @staticmethod
    def possible(surveyed: Surveyed, n_clusters: int) -> bool:
        """Tell whether heads can be worth it for data of this shape."""
        d = surveyed.n_features
        return (
            d >= _LEAST_FEATURES
            and n_clusters >= _LEAST_CLUSTERS
            and surveyed.n_rows * d * n_clusters >= _LEAST_WORK
        )

    def choose(self, centers: Array) -> PrincipalAxes | None:
        """Return the axes with which assigning rows to centers takes the least time.

        None if computing all distances is not much slower.
        """
        # Many small calls of BLAS: its threads would wait for each other in each.
        with blas_on_one_thread():
            return self._best_of(centers)

    def _best_of(self, centers: Array) -> PrincipalAxes | None:
        tried = self._sample(_TRIED_ROWS)
        shifted = (centers - self._surveyed.shift).astype(np.float32)
        sq_norms, sq_center_norms = (tried**2).sum(axis=1), (shifted**2).sum(axis=1)
        sq_distances = sq_center_norms - 2 * tried @ shifted.T
        nearest = sq_distances.min(axis=1, keepdims=True)
        best, least = None, _MOST_WORK
        for width in _WIDTHS:
            axes = self._leading[:, :width]
            heads, center_heads = tried @ axes, shifted @ axes
            tails, center_tails = (
                np.sqrt(np.maximum(squares - (each**2).sum(axis=1), 0))
                for squares, each in ((sq_norms, heads), (sq_center_norms, center_heads))
            )
            products = heads @ center_heads.T + tails[:, None] * center_tails
            left = float((sq_center_norms - 2 * products <= nearest).mean())
            work = (width + 1) / axes.shape[0] + PAIR_COST * left
            if work < least:
                best, least = PrincipalAxes(axes, self._surveyed.shift), work
        return best

    def _sample(self, n_rows: int) -> Array:
        """Return shifted rows of the sample, float32."""
        sample = self._surveyed.sample
        rows = sample[:: max(1, len(sample) // n_rows)][:n_rows]
        return (rows - self._surveyed.shift).astype(np.float32)

    @cached_property
    def _leading(self) -> Array:
        """The leading principal axes of the sample, roughly; of shape (d, p), float32.

        By a few steps of subspace iteration (Halko, Martinsson and Tropp, "Finding structure with
        randomness", 2011). No label depends on them: any orthonormal ones give bounds that hold.
        """
        rows = self._sample(_FITTED_ROWS)
        rows -= rows.mean(axis=0)
        generator = np.random.default_rng(0)
        n_axes = min(_WIDTHS[-1] + _MORE_AXES, rows.shape[1])
        basis = generator.standard_normal((rows.shape[1], n_axes)).astype(np.float32)
        for _ in range(1 + _POWER_STEPS):
            basis, _ = np.linalg.qr(rows.T @ (rows @ basis))
        products = (rows @ basis).astype(np.float64)
        _, turn = np.linalg.eigh(products.T @ products)
        leading: Array = basis @ turn[:, ::-1][:, : _WIDTHS[-1]].astype(np.float32)
        return leading
