"""Rows that go down a tree of centers."""

from __future__ import annotations

import numpy as np
import pytest

from daskmeans.algorithms.center_tree import CenterTree
from daskmeans.blocks.block import Block
from daskmeans.kernels.tree import walk_rows

# The root's left child has two more below it: leaves are 3, 4 and 2 from left to right.
CHILDREN = np.array([[1, 2], [3, 4], [-1, -1], [-1, -1], [-1, -1]], dtype=np.int32)


def walked(rows, nodes, children=CHILDREN):
    labels = np.empty(len(rows), np.int32)
    return walk_rows(rows, nodes, children, np.arange(len(nodes), dtype=np.int32), labels), labels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [1, 2, 7, 8, 9, 16, 37])
def test_each_step_goes_to_the_nearer_child(dtype, n_features):
    generator = np.random.default_rng(n_features)
    rows = generator.normal(size=(97, n_features)).astype(dtype)
    nodes = generator.normal(size=(5, n_features))
    distances = ((rows[:, None].astype(float) - nodes) ** 2).sum(axis=2)
    below = np.where(distances[:, 4] < distances[:, 3], 4, 3)
    wanted = np.where(distances[:, 2] < distances[:, 1], 2, below)
    assert len(set(wanted)) > 1
    bad_row, found = walked(rows, nodes)
    assert bad_row == -1
    np.testing.assert_array_equal(found, wanted)


def test_tie_goes_left():
    nodes = np.array([[0.0], [1.0], [-1.0], [1.0], [1.0]])
    np.testing.assert_array_equal(walked(np.zeros((3, 1)), nodes)[1], [3, 3, 3])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("n_nodes", [1, 5])
def test_first_row_that_is_not_finite_is_told(bad, n_nodes):
    rows = np.zeros((13, 11))
    rows[[7, 9], 10] = bad
    children = CHILDREN if n_nodes == 5 else np.full((1, 2), -1, np.int32)
    assert walked(rows, np.ones((n_nodes, 11)), children)[0] == 7


def test_squares_that_overflow_are_not_infinity():
    nodes = np.array([[0.0], [1e200], [-1e200], [0.0], [0.0]])
    assert walked(np.array([[1e200], [-1e200]]), nodes)[0] == -1


def test_leaves_are_numbered_from_left_to_right():
    tree = CenterTree.of(np.arange(5.0)[:, None], CHILDREN)
    np.testing.assert_array_equal(tree.leaves(), [3, 4, 2])
    block = Block(0, 0, np.array([[3.0], [2.0], [1.0]]), None)
    np.testing.assert_array_equal(tree.label(block), [2, 2, 0])
