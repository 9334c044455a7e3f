"""Rows and their nearest centers: labels, distances, and what all of them cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmeans.algorithms.survey import Run
from daskmeans.blocks.block import Block, not_finite, working_dtype
from daskmeans.kernels.assign import PackedCenters, label_block, pack_centers
from daskmeans.kernels.distances import add_terms, sq_distances_to_own
from daskmeans.partials import Costs, no_cost
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array, Labels


@dataclass(frozen=True)
class CenterSet:
    """Centers as they travel to the blocks, laid out for the dtype that these have.

    Attributes
    ----------
    centers : ndarray of shape (k, d), float64
    shift : ndarray of shape (d,), float64
    packed : PackedCenters
    """

    centers: Array
    shift: Array
    packed: PackedCenters

    @classmethod
    def make(cls, centers: Array, shift: Array, dtype: np.dtype[Any]) -> CenterSet:
        centers = np.ascontiguousarray(centers, dtype=np.float64)
        return cls(centers, shift, pack_centers(centers, shift, working_dtype(dtype)))

    def packed_for(self, rows: Array) -> PackedCenters:
        """Return the layout for rows as they were read; their dtype may not be the declared one."""
        if self.packed.tiles.dtype == rows.dtype:
            return self.packed
        return pack_centers(self.centers, self.shift, rows.dtype)

    def label(self, block: Block) -> Labels:
        """Return the labels of a block's rows.

        Raises
        ------
        ValueError
            If a row is not finite.
        """
        labels = np.empty(len(block), np.int32)
        for part, rows, _ in block.tiles():
            bad_row = label_block(rows, self.packed_for(rows), labels[part])
            if bad_row >= 0:
                raise not_finite(block, part.start + bad_row)
        return labels

    def label_and_measure(self, block: Block) -> tuple[Labels, Array]:
        """Return labels and squared distances to the nearest center, both of shape (r,)."""
        labels = self.label(block)
        sq_distances = np.empty(len(block))
        for part, rows, _ in block.tiles():
            sq_distances[part] = sq_distances_to_own(rows, labels[part], self.centers)
        return labels, sq_distances


@dataclass(frozen=True)
class CostParameters:
    """What a block has to know to measure its cost.

    Attributes
    ----------
    center_sets : tuple of CenterSet
    keep_labels : bool
        Return the labels by the first set of centers.
    """

    center_sets: tuple[CenterSet, ...]
    keep_labels: bool


def cost_chunk(block: Block, parameters: CostParameters) -> Costs:
    """Sum the weighted squared distances of a block's rows to their nearest centers, exactly."""
    digits, counts, kept = [], [], []
    for number, centers in enumerate(parameters.center_sets):
        labels, terms = centers.label_and_measure(block)
        if block.weights is not None:
            terms *= block.weights
        total = no_cost()
        add_terms(total, terms)
        digits.append(total)
        counts.append(np.bincount(labels, minlength=len(centers.centers)))
        if parameters.keep_labels and number == 0:
            kept.append((block.number, labels))
    return Costs(tuple(digits), tuple(counts), tuple(kept))


def measure(run: Run, shift: Array, center_sets: list[Array], *, keep_labels: bool) -> Costs:
    """Return the cost of the rows for each set of centers, in one pass."""
    sets = tuple(CenterSet.make(centers, shift, run.source.dtype) for centers in center_sets)
    return run(Pass("kmeans-cost", cost_chunk, CostParameters(sets, keep_labels)))


def model_shift(centers: Array) -> Array:
    """Return a shift for rows that only a model is known of: the mean center, exact in float32."""
    mean = np.asarray(centers, dtype=np.float64).mean(axis=0)
    with np.errstate(over="ignore"):
        narrow = mean.astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(narrow), narrow, mean)
