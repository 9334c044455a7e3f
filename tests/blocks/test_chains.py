"""Which graphs fall apart into one chain for each block, and what a chain makes."""

from __future__ import annotations

import weakref

import dask.array as da
import numpy as np
import pytest
import zarr
from dask.task_spec import Task, TaskRef

from daskmeans.blocks.chains import Chain, unchained
from daskmeans.blocks.inputs import row_source
from daskmeans.blocks.weights import with_weights
from tests.counting import CountedRows

VALUES = np.arange(53 * 4.0).reshape(53, 4)


def stored(tmp_path, chunks):
    return zarr.create_array(tmp_path / "rows.zarr", data=VALUES, chunks=chunks)


def assert_chains_make(source, expected):
    apart = unchained(source)
    assert apart is not None
    assert not apart.graph
    assert (apart.sizes, apart.n_features, apart.dtype) == (
        source.sizes,
        source.n_features,
        source.dtype,
    )
    blocks = [np.concatenate([part.read() for part in parts], axis=1) for parts in apart.parts]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize("chunks", [(10, 4), (10, 3)])
def test_store_and_elementwise_work(tmp_path, chunks):
    array = stored(tmp_path, chunks)
    assert_chains_make(row_source(array), VALUES)
    for lazy in (
        da.from_zarr(array),
        da.from_array(array),
        da.from_array(array, inline_array=True),
    ):
        assert_chains_make(row_source(lazy), VALUES)
        worked = (lazy.astype("f4") - np.arange(4)) / 2
        assert_chains_make(row_source(worked), (VALUES - np.arange(4)) / 2)


def test_features_read_together(tmp_path):
    rows = da.from_zarr(stored(tmp_path, (10, 2))).rechunk((10, 4))
    assert_chains_make(row_source(rows), VALUES)


def test_weights_are_part_of_it():
    rows, weights = da.from_array(VALUES, chunks=(10, 4)), da.arange(53, chunks=10) * 2.0
    apart = unchained(with_weights(row_source(rows), weights))
    np.testing.assert_array_equal(
        np.concatenate([part.read() for part in apart.weights]), np.arange(53) * 2.0
    )
    # Chunks that lie across those of the rows: two blocks share one.
    assert unchained(with_weights(row_source(rows), da.arange(53, chunks=7))) is None


@pytest.mark.parametrize(
    "shared",
    [
        lambda rows: rows.rechunk((7, 4)),
        lambda rows: rows - rows.mean(axis=0),
        lambda rows: da.map_overlap(lambda block: block, rows, depth=(1, 0), boundary="none"),
    ],
)
def test_work_that_blocks_share_stays_a_graph(shared):
    rows = da.from_array(CountedRows(VALUES), chunks=(10, 4), name=False)
    assert unchained(row_source(shared(rows))) is None


def test_large_array_that_blocks_share_stays_one_task():
    """It would travel with every block."""
    large = np.zeros((300_000, 1))
    rows = da.from_array(CountedRows(VALUES), chunks=(10, 4), name=False, inline_array=True)
    shared = rows.map_blocks(lambda block, other: block + other[0], da.from_array(large, chunks=-1))
    assert unchained(row_source(shared)) is None


def test_what_a_cluster_holds_stays_there(client):
    rows = client.persist(da.from_array(VALUES, chunks=(10, 4)))
    assert unchained(row_source(rows)) is None


class Large(np.ndarray):
    """An array that can be watched."""


def test_chain_lets_go_of_what_is_used_up():
    alive = []

    def make():
        made = np.ones(3).view(Large)
        alive.append(weakref.ref(made))
        return made

    def look(_):
        return alive[0]() is not None

    chain = Chain(
        (
            Task("a", make),
            Task("b", np.sum, TaskRef("a")),
            Task("c", look, TaskRef("b")),
        )
    )
    assert not chain.read()
