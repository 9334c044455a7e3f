"""Faults injected for real: runs that are killed, disks that fill, files that rot or go away."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pickle
import shutil
import signal
import subprocess
import time
from pathlib import Path

import dask
import dask.array as da
import h5py
import numpy as np
import pytest
import zarr

from daskmeans import KMeans, open_rows, write_zarr
from daskmeans.blocks.stored_rows import StoredRows
from daskmeans.edges.zarr_partial import sole_writer
from daskmeans.errors import OutputError, OutputExistsError, RowsError
from daskmeans.passes.events import PassEnded, observing


def read(path):
    return np.asarray(zarr.open_array(path, mode="r")[:])


def partial_of(name, folder="."):
    """Folder in which an unfinished output is written."""
    (found,) = Path(folder).glob(f".{name}.*.partial")
    return found


def times(folder):
    """When each chunk was written, by its path."""
    chunks = [p for p in (folder / "c").rglob("*") if p.is_file() and p.suffix != ".partial"]
    return {os.fspath(p.relative_to(folder)): p.stat().st_mtime_ns for p in chunks}


@pytest.fixture
def model(rows):
    return KMeans(4, random_state=0).fit(rows)


@pytest.fixture
def fails_at(in_folder):
    """A dask array that computes 0 to 99, until it comes to the block of a number in a file.

    Without the file it computes all. Under the same name, as the same rows would have.
    """

    def fail(block):
        if os.path.exists("fails") and block[0] == int(Path("fails").read_text()) * 10:
            raise RuntimeError("block does not come")
        return block

    def make(number=5):
        Path("fails").write_text(str(number))
        return da.arange(100, chunks=10).map_blocks(fail, dtype=int, name="counted")

    return make


@pytest.fixture
def held(store, in_folder, start, run):
    """A run of `predict` that is held midway, and what lets it go on.

    A chunk that is a pipe nobody writes to holds one thread for as long as it takes.
    """
    run("fit", store, "-k", 4, "--model", "model")
    chunk = in_folder / store / "c" / "3" / "0"
    saved = chunk.read_bytes()
    chunk.unlink()
    os.mkfifo(chunk)
    process = start("predict", "model", store, "labels.zarr")
    deadline = time.monotonic() + 60
    while not list(in_folder.glob(".labels.zarr.*.partial/c/[0-9]")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no chunk was written"
        time.sleep(0.01)
    return process, chunk, saved


def broken_off(array, path="values.zarr"):
    """Write until it fails; the folder of what was written."""
    with dask.config.set(scheduler="sync"), pytest.raises(RuntimeError, match="does not come"):
        write_zarr(array, path)
    return partial_of(path)


class TestResuming:
    def test_killed_run_is_gone_on_with(self, held, store, rows, model, run):
        process, chunk, saved = held
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert not os.path.exists("labels.zarr")
        before = times(partial_of("labels.zarr"))
        assert 0 < len(before) < 6
        chunk.unlink()
        chunk.write_bytes(saved)
        run("predict", "model", store, "labels.zarr")
        after = times(Path("labels.zarr"))
        assert {name: after[name] for name in before} == before
        assert len(after) == 6
        np.testing.assert_array_equal(read("labels.zarr"), model.predict(rows))
        assert sorted(os.listdir()) == ["labels.zarr", "model", store]

    def test_names_say_what_is_computed(self, store, model, rows):
        """A second run goes by them; that they hold in another process, the killed run shows."""
        labels = model.predict(open_rows(store)).name
        assert model.predict(open_rows(store)).name == labels
        assert pickle.loads(pickle.dumps(model)).predict(open_rows(store)).name == labels
        distances = model.transform(open_rows(store)).name
        assert model.transform(open_rows(store)).name == distances
        other = KMeans(3, random_state=0).fit(rows)
        assert other.predict(open_rows(store)).name != labels

    @pytest.mark.parametrize("scheduler", ["threads-3", "processes", "cluster"])
    def test_only_what_is_missing_is_computed(self, scheduler, run_under, store, model, rows):
        stored = open_rows(store)
        chunk = Path(store, "c", "3", "0")
        saved = chunk.read_bytes()
        chunk.write_bytes(b"not compressed data")
        with dask.config.set(scheduler="sync"), pytest.raises(RowsError, match="Block 3"):
            write_zarr(model.predict(stored), "labels.zarr")
        before = times(partial_of("labels.zarr"))
        assert 0 < len(before) < 6
        chunk.write_bytes(saved)
        with run_under(scheduler):
            write_zarr(model.predict(stored), "labels.zarr")
        after = times(Path("labels.zarr"))
        assert {name: after[name] for name in before} == before
        np.testing.assert_array_equal(read("labels.zarr"), model.predict(rows))
        assert sorted(os.listdir()) == ["labels.zarr", store]

    def test_rows_written_anew_begin_anew(self, store, rows, model, in_folder):
        """Else half of the labels would be those of other rows."""
        before = model.predict(open_rows(store)).name
        time.sleep(0.02)
        zarr.create_array(
            in_folder / store, data=rows[::-1].copy(), chunks=(100, 3), overwrite=True
        )
        assert model.predict(open_rows(store)).name != before

    def test_other_output_of_the_same_name_begins_anew(self, fails_at):
        old = broken_off(fails_at())
        write_zarr(da.arange(100, 200, chunks=10), "values.zarr")
        assert not old.exists()
        np.testing.assert_array_equal(read("values.zarr"), np.arange(100, 200))

    def test_neighbors_keep_what_they_wrote(self, fails_at):
        kept = broken_off(fails_at(), "values.zarr.gz")
        write_zarr(da.arange(7), "values.zarr")
        assert kept.exists()

    @pytest.mark.parametrize("damage", ["truncated", "gone", "other dtype", "other token"])
    def test_damaged_rest_is_begun_anew(self, fails_at, damage):
        array = fails_at()
        folder = broken_off(array)
        described = folder / "zarr.json"
        text = described.read_text()
        if damage == "gone":
            described.unlink()
        elif damage == "truncated":
            described.write_text(text[:50])
        else:
            changed = json.loads(text)
            if damage == "other dtype":
                changed["data_type"] = "int16"
            else:
                changed["attributes"]["daskmeans"]["token"] = "another"
            described.write_text(json.dumps(changed))
        (folder / "c" / "0").write_bytes(b"what must not be kept")
        os.remove("fails")
        write_zarr(array, "values.zarr")
        np.testing.assert_array_equal(read("values.zarr"), np.arange(100))

    def test_empty_and_half_written_files_are_not_chunks(self, fails_at):
        array = fails_at()
        folder = broken_off(array)
        (folder / "c" / "1").write_bytes(b"")
        (folder / "c" / "2.0123.partial").write_bytes(b"half")
        os.remove("fails")
        write_zarr(array, "values.zarr")
        np.testing.assert_array_equal(read("values.zarr"), np.arange(100))
        assert sorted(os.listdir("values.zarr/c")) == sorted(map(str, range(10)))

    def test_run_killed_between_the_two_moves(self, fails_at):
        """The old output was moved aside, the new one is whole, and nothing is at its place."""
        array = fails_at()
        folder = broken_off(array)
        write_zarr(da.arange(7), "old.zarr")
        os.rename("old.zarr", folder.with_suffix(".replaced"))
        os.remove("fails")
        write_zarr(array, "values.zarr", overwrite=True)
        assert os.listdir() == ["values.zarr"]


class TestTwoWriters:
    def test_second_is_refused(self, in_folder):
        with (
            sole_writer(in_folder.resolve() / "values.zarr", "values.zarr"),
            pytest.raises(OutputError, match=r"values\.zarr is being written by another run"),
        ):
            write_zarr(da.arange(7), "values.zarr")
        write_zarr(da.arange(7), "values.zarr")
        assert os.listdir() == ["values.zarr"]

    def test_file_system_without_locks(self, in_folder, monkeypatch):
        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
        write_zarr(da.arange(7), "values.zarr")
        np.testing.assert_array_equal(read("values.zarr"), np.arange(7))

    def test_from_another_process(self, held, store, rows, model, fails):
        process, chunk, saved = held
        assert "is being written by another run" in fails("predict", "model", store, "labels.zarr")
        chunk.write_bytes(saved)
        assert process.wait(60) == 0, process.communicate()
        np.testing.assert_array_equal(read("labels.zarr"), model.predict(rows))


class TestOutputsThatFail:
    @pytest.fixture
    def disk(self, in_folder):
        """A disk of 1 MB that is nearly full."""
        if os.geteuid() != 0:
            pytest.skip("only root can mount a disk of 1 MB")
        place = in_folder / "disk"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no disk of 1 MB can be mounted here: {mounted.stderr.strip()}")
        yield place
        subprocess.run(["umount", "-l", str(place)], check=True)

    @pytest.mark.parametrize("name", ["threads-3", "processes", "cluster"])
    def test_full_disk(self, disk, in_folder, run_under, name):
        """Distances of random rows do not compress."""
        rows = np.random.default_rng(0).normal(size=(20_000, 3))
        zarr.create_array(in_folder / "rows.zarr", data=rows, chunks=(1000, 3))
        model = KMeans(8, init=rows[:8], max_iter=2, tol=0.5).fit(rows)
        path = disk / "distances.zarr"
        with run_under(name):
            with pytest.raises(OutputError, match=r"Chunk \d+/0 of .*: No space left .* kept"):
                write_zarr(model.transform(open_rows("rows.zarr")), path)
            assert not path.exists()
            folder = partial_of("distances.zarr", disk)
            before = times(folder)
            assert 0 < len(before) < 20
            subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
            write_zarr(model.transform(open_rows("rows.zarr")), path)
        after = times(path)
        assert {key: after[key] for key in before} == before
        np.testing.assert_array_equal(read(path), model.transform(rows))
        assert os.listdir(disk) == ["distances.zarr"]

    def test_disk_that_is_full_from_the_start(self, disk):
        (disk / "films").write_bytes(bytes((1 << 20) - 4096))
        with pytest.raises(OutputError, match=r"values\.zarr.* No space left"):
            write_zarr(da.arange(10_000, chunks=1000), disk / "values.zarr")
        assert not (disk / "values.zarr").exists()

    def test_folder_that_vanishes_midway(self, in_folder):
        def vanish(block):
            if block[0] == 50:
                shutil.rmtree(partial_of("values.zarr"))
            return block

        array = da.arange(100, chunks=10).map_blocks(vanish, dtype=int)
        with (
            dask.config.set(scheduler="sync"),
            pytest.raises(OutputError, match=r"values\.zarr was not finished: .* was removed or"),
        ):
            write_zarr(array, "values.zarr")
        assert os.listdir() == []

    def test_chunk_that_vanishes_midway(self, in_folder):
        lost = []

        def vanish(block):
            written = list(partial_of("values.zarr").glob("c/[0-9]"))
            if written and not lost:
                written[0].unlink()
                lost.append(written[0].name)
            return block

        array = da.arange(100, chunks=10).map_blocks(vanish, dtype=int, name="counted")
        with (
            dask.config.set(scheduler="sync"),
            pytest.raises(OutputError, match=r"values\.zarr was not finished") as caught,
        ):
            write_zarr(array, "values.zarr")
        assert "9 of 10 chunks" in caught.value.__notes__[0]
        write_zarr(array, "values.zarr")
        np.testing.assert_array_equal(read("values.zarr"), np.arange(100))

    def test_chunk_that_cannot_be_written(self, in_folder):
        """A folder in the place of a chunk stops root too, whom permissions do not."""

        def block_the_way(block):
            if block[0] == 50:
                (partial_of("values.zarr") / "c" / "5").mkdir()
            return block

        array = da.arange(100, chunks=10).map_blocks(block_the_way, dtype=int)
        with (
            dask.config.set(scheduler="sync"),
            pytest.raises(OutputError, match=r"Chunk 5 of values\.zarr could not .* is kept"),
        ):
            write_zarr(array, "values.zarr")
        assert not os.path.exists("values.zarr")

    def test_what_came_meanwhile_is_not_replaced(self, in_folder):
        def meanwhile(block):
            Path("values.zarr").write_text("someone else's")
            return block

        with pytest.raises(OutputExistsError, match="exists already"):
            write_zarr(da.arange(10).map_blocks(meanwhile, dtype=int), "values.zarr")
        assert Path("values.zarr").read_text() == "someone else's"


class TestInputsThatFail:
    @pytest.mark.parametrize("damage", ["truncated", "random"])
    @pytest.mark.parametrize("work", ["fit", "predict"])
    def test_damaged_chunk(self, scheduler, store, model, damage, work):
        chunk = Path(store, "c", "2", "0")
        whole = chunk.read_bytes()
        chunk.write_bytes(whole[:100] if damage == "truncated" else os.urandom(len(whole)))
        stored = open_rows(store)
        run = {
            "fit": lambda: KMeans(4, random_state=0).fit(stored),
            "predict": lambda: model.predict(stored).compute(),
        }[work]
        with pytest.raises(RowsError, match=r"Block 2 \(rows 200 to 299\) of /.*rows\.zarr cannot"):
            run()

    def test_store_that_vanishes(self, scheduler, store, model):
        """Without a look at the store, zarr reads rows of zeros from where nothing is."""
        labels = model.predict(open_rows(store))
        stored = open_rows(store)
        shutil.rmtree(store)
        with pytest.raises(RowsError, match=r"Block \d \(rows .* of /.*rows\.zarr cannot be read"):
            labels.compute()
        with pytest.raises(RowsError, match=r"rows\.zarr cannot be read: .* restore it, or write"):
            KMeans(4, random_state=0).fit(stored)

    @pytest.mark.parametrize("pass_name", ["kmeans-survey", "kmeans-assign"])
    def test_store_that_vanishes_between_passes(self, scheduler, store, rows, pass_name):
        def vanish(event):
            if isinstance(event, PassEnded) and event.name == pass_name:
                shutil.rmtree(store, ignore_errors=True)

        model = KMeans(4, init=rows[:4], tol=0, persist=False)
        with (
            observing(vanish),
            pytest.raises(RowsError, match=r"Block \d \(rows .* of /.*rows\.zarr cannot be read"),
        ):
            model.fit(open_rows(store))

    def test_store_without_local_files_that_vanishes(self, rows):
        kept = {}
        stored = zarr.create_array(kept, data=rows, chunks=(100, 3))
        kept.clear()
        with pytest.raises(RowsError, match=r"Block \d .* cannot be read: ArrayNotFoundError"):
            KMeans(4, init=rows[:4]).fit(stored)

    def test_damaged_chunk_of_a_dask_array(self, damaged, rows):
        array = da.from_zarr(zarr.open_array(damaged, mode="r"))
        with pytest.raises(RowsError, match=r"Block 3 of X \(rows 300 to 399\) cannot be read or"):
            KMeans(4, init=rows[:4]).fit(array)

    def test_chunks_that_were_never_written_are_fill_values(self, in_folder):
        """Zarr's own meaning of them, in a store that is there."""
        array = zarr.create_array("sparse.zarr", shape=(40, 1), chunks=(10, 1), dtype="f8")
        array[:20] = np.arange(1.0, 21.0).reshape(-1, 1)
        for stored in (
            open_rows("sparse.zarr"),
            zarr.create_array({}, data=array[:], chunks=(10, 1)),
        ):
            model = KMeans(2, init=[[0.0], [10.0]]).fit(stored)
            assert model.labels_.compute()[20:].tolist() == [0] * 20

    def test_store_that_vanishes_midway(self, store, model):
        def vanish(block):
            shutil.rmtree(store, ignore_errors=True)
            return block

        labels = model.predict(open_rows(store)).map_blocks(vanish, dtype=np.int32)
        with dask.config.set(scheduler="sync"), pytest.raises(RowsError, match=r"Block . .*rows "):
            write_zarr(labels, "labels.zarr")
        assert not os.path.exists("labels.zarr")

    def test_hdf5_file_that_vanishes(self, in_folder, rows, model):
        with h5py.File("rows.h5", "w") as file:
            file.create_dataset("rows", data=rows, chunks=(100, 3))
        with h5py.File("rows.h5", "r") as file:
            labels = model.predict(file["rows"])
        os.remove("rows.h5")
        with pytest.raises(RowsError, match=r"Block \d .* of /rows of rows\.h5 cannot be read"):
            labels.compute()

    def test_memory_map_that_vanishes(self, in_folder, rows, model):
        rows.tofile("rows.bin")
        mapped = np.memmap("rows.bin", rows.dtype, "r", shape=rows.shape)
        os.remove("rows.bin")
        with pytest.raises(RowsError, match=r"Block 0 \(rows 0 to 522\) of .*rows\.bin cannot be"):
            model.predict(mapped)

    def test_zarr_of_a_store_without_files(self, rows, model):
        stored = zarr.create_array({}, data=rows, chunks=(100, 3))
        np.testing.assert_array_equal(model.predict(stored).compute(), model.predict(rows))

    @pytest.mark.parametrize("index", [slice(300, 310), [300, 309], np.arange(523) // 10 == 30])
    def test_rows_are_named_however_they_are_picked(self, damaged, index):
        stored = StoredRows(zarr.open_array(damaged, mode="r"), 100)
        with pytest.raises(RowsError, match=r"Block 3 \(rows 300 to 309\)"):
            stored[index, :]
