"""Stores that are damaged or vanish while they are read: an error that says where, never labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr

from daskmeans import KMeans
from daskmeans.passes.events import PassEnded, observing


@pytest.fixture
def stored(in_folder, rows):
    zarr.create_array(in_folder / "rows.zarr", data=rows, chunks=(100, 3))
    return zarr.open_array(in_folder / "rows.zarr", mode="r")


def fit(X, rows):
    return KMeans(4, init=rows[:4], tol=0, persist=False).fit(X)


@pytest.mark.parametrize("content", [b"", b"not compressed", None])
@pytest.mark.parametrize("how", ["zarr", "dask"])
def test_damaged_chunk(scheduler, stored, rows, content, how):
    chunk = Path("rows.zarr/c/3/0")
    chunk.write_bytes(chunk.read_bytes()[:-20] if content is None else content)
    X = stored if how == "zarr" else da.from_zarr(stored)
    with pytest.raises(ValueError, match=r"Block 3 of X.*[rR]ows 300 to 400.* could not be read"):
        fit(X, rows)


@pytest.mark.parametrize("pass_name", ["kmeans-survey", "kmeans-assign"])
def test_store_that_vanishes_between_passes(scheduler, stored, rows, pass_name):
    """Zarr reads what is missing as fill values: all labels would be those of a row of zeros."""

    def vanish(event):
        if isinstance(event, PassEnded) and event.name == pass_name:
            shutil.rmtree("rows.zarr", ignore_errors=True)

    with (
        observing(vanish),
        pytest.raises(ValueError, match=r"Block \d of X: Rows .* could not be read"),
    ):
        fit(stored, rows)


def test_store_that_is_gone_has_no_labels(scheduler, stored, rows):
    labels = fit(stored, rows).labels_
    shutil.rmtree("rows.zarr")
    with pytest.raises(ValueError, match=r"Rows .* of file:.*could not be read"):
        labels.compute()


def test_chunks_that_were_never_written_are_fill_values(in_folder):
    """Zarr's own meaning of them, in a store that is there."""
    array = zarr.create_array(in_folder / "rows.zarr", shape=(40, 1), chunks=(10, 1), dtype="f8")
    array[:20] = np.arange(1.0, 21.0).reshape(-1, 1)
    model = KMeans(2, init=[[0.0], [10.0]]).fit(zarr.open_array(in_folder / "rows.zarr", mode="r"))
    assert model.labels_.compute()[20:].tolist() == [0] * 20
