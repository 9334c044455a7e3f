"""dask arrays become whole Zarr arrays, or none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

import daskmeans
from daskmeans import KMeans, open_rows, write_zarr
from daskmeans.edges import zarr_layout, zarr_output
from daskmeans.errors import OutputError, OutputExistsError, RowsError


def read(path):
    return np.asarray(zarr.open_array(path, mode="r")[:])


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

    def test_labels_in_memory(self, in_folder, rows):
        model = KMeans(4, init=rows[:4]).fit(rows)
        write_zarr(model.labels_, "labels.zarr")
        np.testing.assert_array_equal(read("labels.zarr"), model.labels_)
        assert read("labels.zarr").dtype == np.int32

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

    def test_failure_midway_leaves_what_was_written_out_of_sight(self, damaged, rows):
        model = KMeans(4, random_state=0).fit(rows)
        with (
            dask.config.set(scheduler="sync"),
            pytest.raises(RowsError, match="decompression error") as caught,
        ):
            write_zarr(model.predict(open_rows(damaged)), "labels.zarr")
        (note,) = caught.value.__notes__
        assert re.match(r"[23] of 6 chunks of labels.zarr are written and kept", note)
        assert not os.path.exists("labels.zarr")
        assert all(name.startswith(".") for name in os.listdir() if name != damaged)

    def test_failure_before_the_first_chunk_leaves_nothing(self, in_folder):
        def fail(block):
            raise RuntimeError("no rows today")

        with pytest.raises(RuntimeError, match="no rows today"):
            write_zarr(da.ones(9, chunks=3).map_blocks(fail, dtype=float), "values.zarr")
        assert os.listdir() == []

    @pytest.mark.parametrize("value", [0, -1, np.nan, 7])
    def test_chunks_of_one_value_are_written_all_the_same(self, in_folder, value):
        """A chunk that is not there has to mean one that is to be computed."""
        values = np.full(10, value)
        write_zarr(da.from_array(values, chunks=4), "values.zarr")
        assert sorted(os.listdir("values.zarr/c")) == ["0", "1", "2"]
        np.testing.assert_array_equal(read("values.zarr"), values)

    @pytest.mark.parametrize("path", ["s3://bucket/labels.zarr", "memory://labels.zarr"])
    def test_object_store_is_refused(self, in_folder, path):
        with pytest.raises(OutputError, match=r"is not a local path: .* copy from there"):
            write_zarr(da.arange(7), path)
        assert os.listdir() == []

    def test_it_is_public(self):
        assert daskmeans.write_zarr is zarr_output.write_zarr
        with pytest.raises(AttributeError, match="no attribute 'write_zar'"):
            daskmeans.write_zar  # noqa: B018

    def test_importing_the_package_does_not_import_zarr(self):
        code = "import daskmeans, sys; assert 'zarr' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True)


class TestShards:
    """More than so many files become shards, each of which one task writes."""

    @pytest.fixture(autouse=True)
    def few_files(self, monkeypatch):
        monkeypatch.setattr(zarr_layout, "MOST_FILES", 10)
        monkeypatch.setattr(zarr_layout, "_SHARD_FILES", 4)

    def test_they_hold_chunks_of_rows(self, scheduler, in_folder):
        values = np.arange(523, dtype=np.int32)
        write_zarr(da.from_array(values, chunks=20), "values.zarr")
        written = zarr.open_array("values.zarr", mode="r")
        assert (written.chunks, written.shards) == ((20,), (140,))
        assert sorted(os.listdir("values.zarr/c")) == ["0", "1", "2", "3"]
        np.testing.assert_array_equal(written[:], values)

    def test_chunks_of_one_value_are_there_too(self, in_folder):
        write_zarr(da.full(523, -1, dtype=np.int32, chunks=20), "values.zarr")
        assert sorted(os.listdir("values.zarr/c")) == ["0", "1", "2", "3"]

    def test_columns_stay_apart(self, in_folder):
        values = np.arange(240.0).reshape(60, 4)
        write_zarr(da.from_array(values, chunks=(3, 2)), "values.zarr")
        assert zarr.open_array("values.zarr", mode="r").shards == (30, 2)
        np.testing.assert_array_equal(read("values.zarr"), values)

    def test_a_shard_fits_in_memory(self, in_folder, monkeypatch):
        monkeypatch.setattr(zarr_layout, "_MOST_SHARD_BYTES", 8 * 3 * 3)
        assert zarr_layout.Layout.of(da.zeros(60, chunks=3)).shards == (9,)
        monkeypatch.setattr(zarr_layout, "_MOST_SHARD_BYTES", 1)
        assert zarr_layout.Layout.of(da.zeros(60, chunks=3)).shards is None

    def test_few_files_need_none(self):
        assert zarr_layout.Layout.of(da.zeros(30, chunks=3)).shards is None
