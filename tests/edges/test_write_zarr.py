"""dask arrays become whole Zarr arrays, or none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

from daskmeans import KMeans, open_rows, write_zarr
from daskmeans.errors import OutputExistsError


def read(path):
    return np.asarray(zarr.open_array(path, mode="r")[:])


@pytest.fixture
def field(in_folder):
    """Name of a Zarr group with arrays of two and three dimensions."""
    group = zarr.open_group(in_folder / "field.zarr", mode="w")
    group.create_array("wind", data=np.ones((7, 2)))
    group.create_group("deep").create_array("cube", data=np.ones((3, 5, 7)))
    (in_folder / "field.zarr" / "notes.txt").touch()
    return "field.zarr"


class TestWriting:
    def test_every_scheduler(self, scheduler, in_folder, rows):
        """Relative paths too: the workers of a cluster run in other folders."""
        zarr.create_array(in_folder / "rows.zarr", data=rows, chunks=(100, 3))
        stored = open_rows("rows.zarr")
        model = KMeans(4, init=rows[:4]).fit(stored)
        write_zarr(model.labels_, "labels.zarr")
        expected = KMeans(4, init=rows[:4]).fit(rows)
        np.testing.assert_array_equal(read(in_folder / "labels.zarr"), expected.labels_)

    def test_chunks_are_those_of_the_rows(self, store):
        write_zarr(KMeans(4, random_state=0).fit(open_rows(store)).labels_, "labels.zarr")
        written = zarr.open_array("labels.zarr", mode="r")
        assert (written.chunks, written.dtype) == ((100,), np.int32)

    def test_shards_become_chunks(self, in_folder, rows):
        zarr.create_array(in_folder / "rows.zarr", data=rows, chunks=(20, 3), shards=(200, 3))
        model = KMeans(4, random_state=0).fit(open_rows("rows.zarr"))
        write_zarr(model.labels_, "labels.zarr")
        assert zarr.open_array("labels.zarr", mode="r").chunks == (200,)

    @pytest.mark.parametrize(
        "chunks", [((3, 5, 2, 7), (2,)), ((0, 5, 0, 12), (1, 1)), ((17,), (2,)), ((1,) * 17, (2,))]
    )
    def test_irregular_chunks_are_written_whole(self, in_folder, chunks):
        """Two tasks that write to one Zarr chunk would lose rows now and then."""
        values = np.arange(34).reshape(17, 2)
        with dask.config.set(scheduler="threads", num_workers=3):
            write_zarr(da.from_array(values, chunks=chunks), "values.zarr")
        np.testing.assert_array_equal(read("values.zarr"), values)

    def test_no_rows(self, in_folder):
        write_zarr(da.zeros((0, 3), chunks=2), "empty.zarr")
        assert zarr.open_array("empty.zarr", mode="r").shape == (0, 3)

    def test_unknown_chunk_sizes(self, in_folder):
        values = da.arange(9, chunks=3)
        with pytest.raises(ValueError, match=r"unknown sizes: call compute_chunk_sizes\(\)"):
            write_zarr(values[values > 4], "values.zarr")
        assert os.listdir() == []

    def test_existing_output_is_refused_before_anything_is_computed(self, store):
        def fail(block):
            raise AssertionError("computed")

        with pytest.raises(OutputExistsError, match="exists already"):
            write_zarr(da.ones(3).map_blocks(fail, dtype=float), store)

    def test_overwriting_replaces_an_array_by_another_shape(self, in_folder):
        write_zarr(da.arange(100, chunks=10), "values.zarr")
        write_zarr(da.arange(7, chunks=3), "values.zarr", overwrite=True)
        np.testing.assert_array_equal(read("values.zarr"), np.arange(7))
        assert os.listdir() == ["values.zarr"]

    def test_overwriting_leaves_a_group_alone(self, field):
        with pytest.raises(OutputExistsError, match="is not a Zarr array, so it is not overwr"):
            write_zarr(da.arange(7), field, overwrite=True)
        assert json.loads(Path(field, "zarr.json").read_text())["node_type"] == "group"

    def test_failure_midway_leaves_no_output(self, damaged, rows):
        model = KMeans(4, random_state=0).fit(rows)
        with (
            dask.config.set(scheduler="sync"),
            pytest.raises(ValueError, match=r"Rows 300 to 400 of file:.*decompression error"),
        ):
            write_zarr(model.predict(open_rows(damaged)), "labels.zarr")
        # What is written is kept for the next attempt, under a name that nobody takes for whole.
        assert sorted(os.listdir()) == [".labels.zarr.unfinished", damaged]
