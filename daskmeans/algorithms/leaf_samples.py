"""Rows of single leaves of a tree, from which initial centers for their splits are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from daskmeans.algorithms.center_tree import CenterTree
from daskmeans.algorithms.draws import FIRST_SEEDING_DRAW, clocks_of
from daskmeans.algorithms.survey import Run, Surveyed
from daskmeans.blocks.block import Block
from daskmeans.partials import KeyedRows
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array

# Rows of the sample that are enough to draw from; of leaves with fewer rows are drawn in a pass.
_ENOUGH_ROWS, _DRAWN_ROWS = 50, 100


@dataclass(frozen=True)
class DrawParameters:
    """What a block has to know to draw rows of leaves.

    Attributes
    ----------
    tree : CenterTree
        Rows of leaves with a negative label are not drawn.
    n_leaves : int
    seed, purpose : int
        Key of the draws.
    """

    tree: CenterTree
    n_leaves: int
    seed: int
    purpose: int


@dataclass(frozen=True)
class RowsOfLeaves:
    """Different rows of each of some leaves, drawn by weight.

    Attributes
    ----------
    leaves : tuple of KeyedRows
    """

    leaves: tuple[KeyedRows, ...]

    @classmethod
    def combine(cls, partials: Sequence[RowsOfLeaves]) -> RowsOfLeaves:
        same = zip(*(partial.leaves for partial in partials), strict=True)
        return cls(tuple(KeyedRows.combine(each) for each in same))


def draw_chunk(block: Block, parameters: DrawParameters) -> RowsOfLeaves:
    """Draw rows of a block for each leaf, by exponential clocks."""
    labels = parameters.tree.label(block)
    weights = block.row_weights()
    keys = clocks_of(block, parameters.seed, parameters.purpose, weights)
    chosen = np.flatnonzero((labels >= 0) & np.isfinite(keys))
    chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    ends = np.searchsorted(labels[chosen], np.arange(parameters.n_leaves + 1))
    return RowsOfLeaves(
        tuple(
            KeyedRows.smallest(
                _DRAWN_ROWS,
                keys[part],
                block.first_row + part,
                block.rows[part],
                weights[part],
                distinct=True,
            )
            for part in (chosen[a:b] for a, b in pairwise(ends))
        )
    )


class LeafSamples:
    """Gives rows of leaves: of the survey's sample, or drawn in a pass where it has too few.

    Parameters
    ----------
    run : function (Pass) -> Partial
    surveyed : Surveyed
    seed : int
    """

    def __init__(self, run: Run, surveyed: Surveyed, seed: int) -> None:
        self._run = run
        self._surveyed = surveyed
        self._seed = seed
        self._n_draws = 0

    def of(self, tree: CenterTree, n_leaves: int) -> list[Surveyed | None]:
        """Return rows of the leaves with labels from 0 to n_leaves - 1, as samples of surveys.

        None for a leaf that does not hold two different rows with weight.
        """
        surveyed = self._surveyed
        labels = tree.label(Block(0, None, surveyed.sample, None))
        order = np.argsort(labels, kind="stable")
        ends = np.searchsorted(labels[order], np.arange(n_leaves + 1))
        found = [self._part(order[a:b]) for a, b in pairwise(ends)]
        if len(surveyed.sample) < surveyed.n_rows:
            few = [
                number
                for number, part in enumerate(found)
                if part is None or len(part.sample) < _ENOUGH_ROWS
            ]
            if few:
                for number, drawn in zip(few, self._drawn(tree, few), strict=True):
                    found[number] = drawn
        return found

    def _part(self, places: Array) -> Surveyed | None:
        surveyed = self._surveyed
        weights = surveyed.sample_weights
        if weights is not None:
            places = places[weights[places] > 0]
        part = surveyed.chosen(places)
        if not np.any(part.sample != part.sample[:1]):
            return None
        return replace(part, n_rows=len(places))

    def _drawn(self, tree: CenterTree, few: list[int]) -> list[Surveyed | None]:
        """Draw rows of some leaves in a pass."""
        labels = np.full(len(tree.leaf_labels), -1, np.int32)
        for place, number in enumerate(few):
            labels[tree.leaf_labels == number] = place
        purpose = FIRST_SEEDING_DRAW + self._n_draws
        self._n_draws += 1
        parameters = DrawParameters(
            replace(tree, leaf_labels=labels), len(few), self._seed, purpose
        )
        drawn = self._run(Pass("kmeans-draw", draw_chunk, parameters)).leaves
        return [
            None
            if len(each.keys) < 2
            else replace(
                self._surveyed,
                n_rows=len(each.rows),
                sample=each.rows,
                sample_numbers=each.row_numbers,
                sample_weights=None,
                first_drawn=0,
            )
            for each in drawn
        ]
