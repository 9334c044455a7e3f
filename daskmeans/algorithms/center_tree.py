"""Centers as leaves of a binary tree: a row goes to the nearer child, from the root down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmeans.algorithms.assignment import CenterSet, model_shift
from daskmeans.blocks.block import Block, for_each_tile
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import CSRRows
from daskmeans.kernels.tree import walk_rows
from daskmeans.typing import Array, Labels


@dataclass(frozen=True)
class CenterTree:
    """A binary tree of centers.

    Attributes
    ----------
    nodes : ndarray of shape (n, d), float64
        Centers of all nodes, the root's first.
    children : ndarray of shape (n, 2), int32
        Numbers of each node's children, which are larger than its own; -1 for leaves.
    leaf_labels : ndarray of shape (n,), int32
        What rows are labelled by that reach a leaf.
    """

    nodes: Array
    children: Array
    leaf_labels: Labels

    @classmethod
    def of(cls, nodes: Array, children: Array) -> CenterTree:
        """Label the leaves from left to right."""
        tree = cls(nodes, children, np.zeros(len(nodes), np.int32))
        leaves = tree.leaves()
        tree.leaf_labels[leaves] = np.arange(len(leaves))
        return tree

    def leaves(self) -> Array:
        """Return the numbers of the leaves from left to right."""
        found, waiting = [], [0]
        while waiting:
            node = waiting.pop()
            left, right = self.children[node]
            if left < 0:
                found.append(node)
            else:
                waiting += [int(right), int(left)]
        return np.array(found)

    def label(self, block: Block) -> Labels:
        """Return the labels of a block's rows.

        Raises
        ------
        ValueError
            If a row is not finite, or rows are sparse.
        """
        if isinstance(block.rows, CSRRows):
            raise RowsError(
                f"Block {block.number} of X is sparse, and a tree of centers takes dense rows: "
                "make blocks dense, by X.map_blocks(lambda block: block.toarray())."
            )
        labels = np.empty(len(block), np.int32)
        tree = self.nodes, self.children, self.leaf_labels
        for_each_tile(block, lambda rows, part: walk_rows(rows, *tree, labels[part]))
        return labels


@dataclass(frozen=True)
class TreeCenters(CenterSet):
    """The leaves of a tree as a set of centers, of which a row belongs to the one it is led to.

    Attributes
    ----------
    tree : CenterTree or None
        Never None: only a field after one that has a default needs one too.
    """

    tree: CenterTree | None = None

    @classmethod
    def of_tree(cls, tree: CenterTree) -> TreeCenters:
        centers = np.ascontiguousarray(tree.nodes[tree.leaves()])
        return cls(centers, model_shift(centers), tree=tree)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of_tree, (self.tree,)

    def label(self, block: Block) -> Labels:
        assert self.tree is not None
        return self.tree.label(block)
