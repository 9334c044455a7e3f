"""Labelled rows, and the terms that they add to the metrics of a clustering."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from daskmeans.algorithms.assignment import CenterSet, changed_rows
from daskmeans.blocks.block import Block, no_direction
from daskmeans.kernels.csr import AnyRows, empty_like
from daskmeans.kernels.directions import divide_by_lengths
from daskmeans.kernels.exact_sum import add_terms, rounded
from daskmeans.kernels.silhouettes import simplified_silhouettes
from daskmeans.typing import Array, Labels


@dataclass(frozen=True)
class Clustering:
    """Labels of all rows: of the nearest centers, or given as the last column of the rows.

    Attributes
    ----------
    n_clusters : int
    centers : CenterSet or None
        None where labels are given.
    first_label : int
        The smallest label that is given.
    """

    n_clusters: int
    centers: CenterSet | None = None
    first_label: int = 0

    def apart(self, block: Block) -> tuple[Block, Labels]:
        """Return the rows of a block, without labels, and their labels from 0."""
        if self.centers is not None:
            return block, self.centers.label(block)
        labels = (block.rows[:, -1] - self.first_label).astype(np.int32)
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.n_clusters:
            raise changed_rows(block)
        return replace(block, rows=block.rows[:, :-1]), labels


def directions_of(rows: Block, first: int, tile: AnyRows) -> AnyRows:
    """Return a tile of a block, from its row `first` on, with each row divided by its length.

    Raises
    ------
    RowsError
        If a row is zero.
    """
    directions: AnyRows = empty_like(tile)
    zero = divide_by_lengths(tile, directions)
    if zero >= 0:
        raise no_direction(rows, first + zero)
    return directions


def add_simplified(
    digits: Array, tile: AnyRows, labels: Labels, weights: Array, transposed: Array
) -> None:
    """Add the simplified silhouettes of a tile to two exact sums, (2, DIGITS)."""
    silhouettes = np.empty(len(tile))
    simplified_silhouettes(tile, labels, transposed, silhouettes)
    add_signed(digits, silhouettes * weights)


def add_signed(digits: Array, terms: Array) -> None:
    """Add positive and negative terms to two exact sums."""
    add_terms(digits[0], np.maximum(terms, 0.0))
    add_terms(digits[1], np.maximum(-terms, 0.0))


def mean_of(signed: Array, total: float) -> float:
    """Return the difference of two exact sums of `add_signed`, divided by a total weight."""
    return (rounded(signed[0]) - rounded(signed[1])) / float(total)
