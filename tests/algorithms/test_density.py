"""Rows counted in bins of a plane: NumPy's counts, in any chunking."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.algorithms.density import density, plane_of_features, principal_plane
from daskmeans.algorithms.survey import survey
from daskmeans.blocks.inputs import row_source
from daskmeans.kernels.binning import bin_rows
from daskmeans.passes.runner import Runner
from tests import strategies


def counted(rows, plane_of, n_bins=7):
    run = Runner(row_source(rows))
    surveyed = survey(run, 1, 5, seeding=False)
    return density(run, surveyed, plane_of(surveyed), np.zeros((1, rows.shape[1])), n_bins)


@given(case=strategies.rows_weights_and_two_chunkings(), data=st.data())
def test_counts_are_those_of_histogram2d(case, data):
    d = case.rows.shape[1]
    x, y = data.draw(st.tuples(st.integers(0, d - 1), st.integers(0, d - 1)))
    lazy = da.from_array(case.rows, chunks=case.chunkings[0])
    found = counted(lazy, lambda _: plane_of_features(d, x, y))
    values = case.rows.astype(np.float64)
    expected, _, _ = np.histogram2d(values[:, x], values[:, y], bins=(found.x_edges, found.y_edges))
    np.testing.assert_array_equal(found.counts, expected)
    assert found.counts.sum() + found.n_outside == len(values)


@given(case=strategies.rows_weights_and_two_chunkings())
def test_counts_do_not_depend_on_chunks(case):
    one, other = (
        counted(da.from_array(case.rows, chunks=chunks), lambda found: principal_plane(found)[0])
        for chunks in case.chunkings
    )
    np.testing.assert_array_equal(one.counts, other.counts)


def test_rows_on_edges_go_where_numpy_puts_them():
    edges = np.linspace(0.1, 0.8, 8)
    between = (edges[1:] + edges[:-1]) / 2
    values = np.concatenate((edges, np.nextafter(edges, 0), np.nextafter(edges, 1), between))
    rows = np.column_stack((values, values[::-1]))
    counts = np.zeros((7, 7), np.int64)
    assert bin_rows(rows, np.zeros(2), np.eye(2), edges, edges, counts) == -1
    expected, _, _ = np.histogram2d(rows[:, 0], rows[:, 1], bins=(edges, edges))
    np.testing.assert_array_equal(counts, expected)


def test_row_that_is_not_finite_is_told():
    rows = np.zeros((5, 2))
    rows[3, 1] = np.nan
    counts = np.zeros((2, 2), np.int64)
    assert bin_rows(rows, np.zeros(2), np.eye(2), np.arange(3.0), np.arange(3.0), counts) == 3


def test_principal_plane_is_that_of_the_covariance():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(500, 4)) * [1, 5, 3, 0.1] @ generator.normal(size=(4, 4))
    surveyed = survey(Runner(row_source(rows)), 1, 5, seeding=False)
    plane, shares = principal_plane(surveyed)
    values = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    np.testing.assert_allclose(shares, values[:2] / values.sum())
    np.testing.assert_allclose(plane.project(rows).var(axis=0, ddof=1), values[:2])
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)


@pytest.mark.parametrize("far", [1e3, 1e6])
def test_few_far_rows_do_not_stretch_the_picture(far):
    rows = np.random.default_rng(0).normal(size=(5000, 2))
    rows[7] = far
    found = counted(rows, lambda _: plane_of_features(2, 0, 1))
    assert found.x_edges[-1] < 10
    assert 1 <= found.n_outside <= 10
