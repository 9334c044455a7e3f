"""Outputs that are whole or not there, and that a second call finishes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import dask
import dask.array as da
import locket
import numpy as np
import pytest
import zarr

from daskmeans import KMeans, open_rows, write_zarr
from daskmeans.edges import zarr_output
from daskmeans.errors import OutputError


def read(path):
    return np.asarray(zarr.open_array(path, mode="r")[:])


@pytest.fixture
def model(rows):
    return KMeans(4, init=rows[:4]).fit(rows)


def restore(damaged, rows):
    """Make the damaged chunk what it was."""
    zarr.open_array(damaged, mode="r+")[300:400] = rows[300:400]


class Failing:
    """Blocks of which some fail until they are mended; counts those that were computed."""

    def __init__(self, bad):
        self.bad = set(bad)
        self.computed = []

    def __call__(self, block, block_id=None):
        if block_id[0] in self.bad:
            raise OSError("cannot be computed")
        self.computed.append(block_id[0])
        return block * 2

    def __dask_tokenize__(self):
        return "failing"


class TestGoingOn:
    def test_only_what_is_missing_is_computed(self, in_folder):
        work = Failing({3, 4, 7})
        values = da.arange(95, chunks=10).map_blocks(work, dtype=int)
        with dask.config.set(scheduler="sync"):
            for left in ({3, 4, 7}, {7}, set()):
                work.bad, first = left, list(work.computed)
                if left:
                    with pytest.raises(OSError, match="cannot be computed"):
                        write_zarr(values, "values.zarr")
                    assert not Path("values.zarr").exists()
                else:
                    write_zarr(values, "values.zarr")
                assert not set(work.computed[len(first) :]) & set(first)
        assert sorted(work.computed) == list(range(10))
        np.testing.assert_array_equal(read("values.zarr"), 2 * np.arange(95))
        assert os.listdir() == ["values.zarr"]
        assert dict(zarr.open_array("values.zarr", mode="r").attrs) == {}

    def test_labels_after_a_damaged_chunk_was_restored(self, scheduler, damaged, rows, model):
        with pytest.raises(ValueError, match=r"Rows 300 to 400 of file:"):
            write_zarr(model.predict(open_rows(damaged)), "labels.zarr")
        restore(damaged, rows)
        write_zarr(model.predict(open_rows(damaged)), "labels.zarr")
        np.testing.assert_array_equal(read("labels.zarr"), model.labels_)

    def test_chunks_of_fill_values_count_as_done(self, scheduler, in_folder):
        write_zarr(da.zeros((30, 2), chunks=(10, 2)), "zeros.zarr")
        assert len(list(Path("zeros.zarr/c").rglob("0"))) >= 3

    def test_another_model_begins_anew(self, damaged, rows, model):
        with pytest.raises(ValueError, match="could not be read"):
            write_zarr(model.predict(open_rows(damaged)), "labels.zarr")
        restore(damaged, rows)
        other = KMeans(3, init=rows[:3]).fit(rows)
        write_zarr(other.predict(open_rows(damaged)), "labels.zarr")
        np.testing.assert_array_equal(read("labels.zarr"), other.labels_)

    @pytest.mark.parametrize("metadata", ["", "{", '{"zarr_format": 3, "node_type": "group"}'])
    def test_damaged_remains_are_begun_anew(self, damaged, rows, model, metadata):
        with pytest.raises(ValueError, match="could not be read"):
            write_zarr(model.predict(open_rows(damaged)), "labels.zarr")
        Path(".labels.zarr.unfinished/zarr.json").write_text(metadata)
        restore(damaged, rows)
        write_zarr(model.predict(open_rows(damaged)), "labels.zarr")
        np.testing.assert_array_equal(read("labels.zarr"), model.labels_)
        assert sorted(os.listdir()) == [damaged, "labels.zarr"]


def test_two_writers_of_one_output(in_folder):
    with (
        locket.lock_file(".values.zarr.lock"),
        pytest.raises(OutputError, match=r"values\.zarr is being written by another process"),
    ):
        write_zarr(da.arange(5), "values.zarr")


def test_many_chunks_become_shards(in_folder, monkeypatch, scheduler):
    monkeypatch.setattr(zarr_output, "_MOST_FILES", 20)
    monkeypatch.setattr(zarr_output, "_FILES_OF_SHARDS", 7)
    write_zarr(da.arange(203, chunks=4), "values.zarr")
    written = zarr.open_array("values.zarr", mode="r")
    assert (written.chunks, written.shards) == ((4,), (32,))
    assert len([path for path in Path("values.zarr/c").rglob("*") if path.is_file()]) == 7
    np.testing.assert_array_equal(read("values.zarr"), np.arange(203))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with room for 200 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root can mount a small file system, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(small_disk):
    # Numbers that no codec makes small: 80 kB a chunk.
    values = da.from_array(np.random.default_rng(0).normal(size=50_000), chunks=10_000)
    path = small_disk / "values.zarr"
    with (
        dask.config.set(scheduler="sync"),
        pytest.raises(OutputError, match=r"at rows 20000 to 30000: No space left on device"),
    ):
        write_zarr(values, path)
    assert not path.exists()
    kept = {chunk: chunk.stat().st_mtime_ns for chunk in small_disk.rglob("c/*")}
    assert len(kept) == 2
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    write_zarr(values, path)
    np.testing.assert_array_equal(read(path), values.compute())
    for chunk, written in kept.items():
        assert (path / "c" / chunk.name).stat().st_mtime_ns == written
