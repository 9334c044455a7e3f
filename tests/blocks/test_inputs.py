"""Whatever holds the rows, the fit is the same; stores are read in their own units."""

from __future__ import annotations

import dask
import dask.array as da
import dask.dataframe as dd
import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore

from daskmeans import KMeans
from daskmeans.blocks.hdf5 import HDF5Dataset
from daskmeans.blocks.inputs import as_dask_array, count_features, is_lazy, row_source
from tests.counting import CountingStore, counted_passes


@pytest.fixture
def rows():
    """Whole numbers below 100, which every dtype holds exactly."""
    generator = np.random.default_rng(2)
    middles = generator.integers(10, 90, (7, 5))
    return middles[generator.integers(7, size=211)] + generator.integers(-9, 10, (211, 5))


@pytest.fixture
def fit(rows):
    """Fit rows of any kind from the same initial centers."""

    def fit(X, **options):
        return KMeans(7, init=rows[:7], max_iter=5, persist=False).fit(X, **options)

    return fit


@pytest.fixture
def assert_same_fit(rows, fit):
    """Compare a fit, its predictions and distances with those of a float64 NumPy array."""
    expected = fit(rows.astype(np.float64))

    def assert_same_fit(X, **options):
        model = fit(X, **options)
        assert (model.cluster_centers_ == expected.cluster_centers_).all()
        assert (model.inertia_, model.n_iter_) == (expected.inertia_, expected.n_iter_)
        np.testing.assert_array_equal(np.asarray(model.labels_), expected.labels_)
        np.testing.assert_array_equal(np.asarray(model.predict(X)), expected.labels_)
        np.testing.assert_allclose(
            np.asarray(model.transform(X)),
            expected.transform(rows.astype(np.float64)),
            # One rounding to the dtype of the result.
            rtol=np.finfo(np.float32).eps,
        )
        assert model.score(X) == expected.score(rows.astype(np.float64))
        return model

    return assert_same_fit


class TestNumPy:
    @pytest.mark.parametrize(
        "dtype",
        ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">i2", ">f4", ">f8"],
    )
    def test_dtype(self, rows, assert_same_fit, dtype):
        assert_same_fit(rows.astype(dtype))
        assert_same_fit(da.from_array(rows.astype(dtype), chunks=(40, 3)))

    def test_bool(self, rows, fit):
        flags = rows > 50
        init = rows[:7] / 100
        models = [
            KMeans(7, init=init, max_iter=5).fit(X)
            for X in (flags, flags.astype(float), da.from_array(flags, chunks=(40, 3)))
        ]
        for model in models[1:]:
            assert (model.cluster_centers_ == models[0].cluster_centers_).all()
            assert model.inertia_ == models[0].inertia_

    @pytest.mark.parametrize(
        "layout",
        [
            np.asfortranarray,
            lambda a: np.repeat(a, 3, axis=0)[::3],
            lambda a: np.repeat(a, 3, axis=1)[:, ::3],
            lambda a: a[::-1].copy()[::-1],
            np.ndarray.tolist,
        ],
        ids=["Fortran", "every third row", "every third column", "backwards", "lists"],
    )
    def test_layout(self, rows, assert_same_fit, layout):
        assert_same_fit(layout(rows.astype(np.float64)))

    def test_read_only(self, rows, assert_same_fit):
        values = rows.astype(np.float32)
        values.flags.writeable = False
        assert_same_fit(values)
        assert_same_fit(da.from_array(values, chunks=(40, 5)))

    def test_large_array_is_cut_into_blocks(self):
        values = np.random.default_rng(0).normal(size=(100_000, 5))
        with dask.config.set(scheduler="threads", num_workers=2), counted_passes() as passes:
            threaded = KMeans(3, init=values[:3], max_iter=2).fit(values)
        assert max(passes.n_blocks) > 1
        with dask.config.set(scheduler="synchronous"):
            serial = KMeans(3, init=values[:3], max_iter=2).fit(values)
        assert (threaded.cluster_centers_ == serial.cluster_centers_).all()
        np.testing.assert_array_equal(threaded.predict(values), threaded.labels_)


class TestMemoryMap:
    @pytest.mark.parametrize("dtype", ["f4", ">f8", "u1"])
    def test_whole_file(self, tmp_path, rows, assert_same_fit, scheduler, dtype):
        np.save(tmp_path / "rows.npy", rows.astype(dtype))
        model = assert_same_fit(np.load(tmp_path / "rows.npy", mmap_mode="r"))
        assert type(model.labels_) is np.ndarray

    def test_part_of_a_file(self, tmp_path, rows, assert_same_fit):
        np.save(tmp_path / "rows.npy", np.concatenate((rows + 1000, rows, rows + 2000)))
        assert_same_fit(np.load(tmp_path / "rows.npy", mmap_mode="r")[211:422])

    def test_fortran_order(self, tmp_path, rows, assert_same_fit):
        np.save(tmp_path / "rows.npy", np.asfortranarray(rows))
        assert_same_fit(np.load(tmp_path / "rows.npy", mmap_mode="r"))


class TestDaskArray:
    @pytest.mark.parametrize(
        "chunks",
        [(211, 5), (40, 5), (40, 2), (1, 5), ((0, 100, 0, 111, 0), (2, 3))],
        ids=["one", "rows", "rows and features", "single rows", "empty"],
    )
    def test_chunks(self, rows, assert_same_fit, chunks):
        model = assert_same_fit(da.from_array(rows, chunks=chunks))
        assert model.labels_.chunks[0] == da.from_array(rows, chunks=chunks).chunks[0]

    @pytest.mark.parametrize("chunks", [(40, 5), (40, 2)])
    def test_unknown_sizes(self, rows, assert_same_fit, chunks):
        doubled = da.from_array(np.concatenate((rows, rows - 1000)), chunks=chunks)
        model = assert_same_fit(doubled[doubled[:, 0] >= 0])
        # Of rows 200 to 239 the first 11 stay; later blocks are empty.
        assert model.labels_.chunks[0] == (40,) * 5 + (11,) + (0,) * 5

    def test_blocks_in_fortran_order(self, rows, assert_same_fit):
        assert_same_fit(da.from_array(rows, chunks=(40, 5)).map_blocks(np.asfortranarray))

    def test_shared_tasks(self, rows, assert_same_fit):
        """Blocks that are parts of one task's result: nothing to fuse."""
        whole = da.from_array(rows, chunks=(211, 5))
        assert_same_fit(whole.rechunk((40, 5)))
        assert_same_fit(da.concatenate([whole[:90], whole[90:]]))

    def test_persisted_rows(self, rows, assert_same_fit, scheduler):
        assert_same_fit(da.from_array(rows, chunks=(40, 2)).persist())

    def test_dtype_other_than_declared(self, rows, assert_same_fit):
        lazy = da.from_array(rows, chunks=(40, 5))
        assert_same_fit(lazy.map_blocks(lambda block: block.astype("f8"), dtype="f4"))
        assert_same_fit(lazy.map_blocks(lambda block: block.astype("f4"), dtype="f8"))


class TestZarr:
    @pytest.mark.parametrize("zarr_format", [2, 3])
    @pytest.mark.parametrize("chunks", [(40, 5), (40, 2), (300, 5)])
    def test_format_and_chunks(self, tmp_path, rows, assert_same_fit, zarr_format, chunks):
        array = zarr.create_array(
            tmp_path / "rows.zarr", data=rows, chunks=chunks, zarr_format=zarr_format
        )
        model = assert_same_fit(array)
        sizes = [min(chunks[0], 211 - start) for start in range(0, 211, chunks[0])]
        assert model.labels_.chunks == (tuple(sizes),)

    def test_every_scheduler(self, tmp_path, rows, assert_same_fit, scheduler):
        array = zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(40, 2))
        assert_same_fit(array)
        assert_same_fit(da.from_zarr(tmp_path / "rows.zarr"))

    def test_shard_is_the_unit_of_reading(self, tmp_path, rows, fit):
        """dask's own from_zarr reads inner chunks, each of which opens the shard again."""
        path = tmp_path / "rows.zarr"
        # Whole shards: of one that the array ends in, zarr fetches each inner chunk by itself.
        zarr.create_array(path, data=rows[:180], chunks=(10, 5), shards=(60, 5))
        store = CountingStore(LocalStore(path))
        array = zarr.open_array(store, mode="r")
        with counted_passes() as passes:
            model = fit(array)
        assert passes.n_blocks == {3}
        assert model.labels_.chunks == ((60, 60, 60),)
        assert len(store.reads) == 3
        assert set(store.reads.values()) == {passes.total()}

    def test_chunk_is_read_once_a_pass(self, tmp_path, rows, fit):
        zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(60, 2))
        store = CountingStore(LocalStore(tmp_path / "rows.zarr"))
        with counted_passes() as passes:
            fit(zarr.open_array(store, mode="r"))
        assert len(store.reads) == 4 * 3
        assert set(store.reads.values()) == {passes.total()}

    def test_predict_reads_nothing_before_it_is_computed(self, tmp_path, rows, fit):
        model = fit(rows)
        zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(60, 5))
        store = CountingStore(LocalStore(tmp_path / "rows.zarr"))
        array = zarr.open_array(store, mode="r")
        labels, distances = model.predict(array), model.transform(array)
        assert not store.reads
        labels.compute()
        distances[:60].compute()
        assert sorted(store.reads.values()) == [1, 1, 1, 2]

    def test_labels_to_a_store(self, tmp_path, rows, fit):
        """What a person does with them, block by block."""
        model = fit(zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(60, 5)))
        model.labels_.to_zarr(str(tmp_path / "labels.zarr"))
        stored = zarr.open_array(tmp_path / "labels.zarr", mode="r")
        assert stored.dtype == np.int32
        np.testing.assert_array_equal(stored[:], fit(rows).labels_)

    def test_many_small_chunks(self, tmp_path, rows, assert_same_fit):
        """Lazy labels are cut as the passes were, into blocks of several chunks."""
        stored = zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(1, 5))
        model = assert_same_fit(stored)
        assert model.labels_.chunks[0] == row_source(stored).sizes == (3,) * 70 + (1,)

    def test_initial_centers_in_a_store(self, tmp_path, rows, assert_same_fit):
        init = zarr.create_array(tmp_path / "init.zarr", data=rows[:7], chunks=(2, 5))
        model = KMeans(7, init=init, max_iter=5).fit(rows)
        assert (model.cluster_centers_ == assert_same_fit(rows).cluster_centers_).all()


class TestHDF5:
    @pytest.mark.parametrize(
        "chunks", [None, (40, 2), (40, 5), (1, 5)], ids=["contiguous", "2", "5", "many"]
    )
    def test_dataset(self, tmp_path, rows, assert_same_fit, scheduler, chunks):
        with h5py.File(tmp_path / "rows.h5", "w") as file:
            file.create_dataset("measured/rows", data=rows.astype("f4"), chunks=chunks)
        with h5py.File(tmp_path / "rows.h5") as file:
            model = assert_same_fit(file["measured/rows"])
        # The file is opened where a block is read, so labels outlive the user's handle.
        assert len(model.labels_.compute()) == 211

    def test_description_of_a_dataset(self, tmp_path, rows, assert_same_fit):
        """What travels in place of a dataset is taken as one is."""
        with h5py.File(tmp_path / "rows.h5", "w") as file:
            described = HDF5Dataset.of(file.create_dataset("rows", data=rows, chunks=(40, 2)))
        assert is_lazy(described)
        assert isinstance(assert_same_fit(described).labels_, da.Array)
        np.testing.assert_array_equal(as_dask_array(described), rows)

    def test_results_leave_the_file_free_to_be_written(self, tmp_path, rows, fit):
        with h5py.File(tmp_path / "rows.h5", "w") as file:
            file["rows"] = rows
        with h5py.File(tmp_path / "rows.h5") as file:
            model = fit(file["rows"])
        labels = np.asarray(model.labels_)
        with h5py.File(tmp_path / "rows.h5", "a") as file:
            file["labels"] = labels

    def test_file_that_this_process_is_writing(self, tmp_path, rows, assert_same_fit):
        with h5py.File(tmp_path / "rows.h5", "w") as file:
            assert_same_fit(file.create_dataset("rows", data=rows))

    def test_weights(self, tmp_path, rows, fit):
        weights = np.random.default_rng(0).uniform(0, 2, 211)
        with h5py.File(tmp_path / "rows.h5", "w") as file:
            file["weights"] = weights
        expected = fit(rows, sample_weight=weights)
        with h5py.File(tmp_path / "rows.h5") as file:
            model = fit(rows, sample_weight=file["weights"])
        assert (model.cluster_centers_ == expected.cluster_centers_).all()


class TestFrames:
    def test_pandas(self, rows, assert_same_fit):
        model = assert_same_fit(pd.DataFrame(rows, columns=list("abcde")))
        assert type(model.labels_) is np.ndarray
        mixed = pd.DataFrame({name: rows[:, i] for i, name in enumerate("abcde")})
        assert_same_fit(mixed.astype({"a": "float32", "b": "uint8"}))

    def test_dask(self, rows, assert_same_fit, scheduler):
        frame = dd.from_pandas(pd.DataFrame(rows, columns=list("abcde")), npartitions=4)
        model = assert_same_fit(frame)
        assert model.labels_.shape == (211,)

    @pytest.mark.parametrize(
        "kind", [pd.DataFrame, lambda f: dd.from_pandas(f, npartitions=4)], ids=["pandas", "dask"]
    )
    @pytest.mark.parametrize("dtype", ["bool", "Int64", "Float64", "float64[pyarrow]"])
    def test_columns_that_numpy_holds_otherwise(self, rows, fit, kind, dtype):
        frame = pd.DataFrame(rows, columns=list("abcde"))
        frame["b"] = (frame["b"] > 50) if dtype == "bool" else frame["b"].astype(dtype)
        expected = fit(frame.astype(float).to_numpy())
        assert (fit(kind(frame)).cluster_centers_ == expected.cluster_centers_).all()

    def test_dask_with_empty_partitions(self, rows, assert_same_fit):
        frame = pd.DataFrame(np.concatenate((rows, rows - 1000)), columns=list("abcde"))
        lazy = dd.from_pandas(frame, npartitions=5)
        assert_same_fit(lazy[lazy["a"] >= 0])

    def test_weights_beside_a_dask_frame(self, rows, fit):
        weights = np.random.default_rng(0).uniform(0, 2, 211)
        frame = pd.DataFrame(rows, columns=list("abcde")).assign(weight=weights)
        lazy = dd.from_pandas(frame, npartitions=4)
        model = fit(lazy[list("abcde")], sample_weight=lazy["weight"])
        expected = fit(rows, sample_weight=weights)
        assert (model.cluster_centers_ == expected.cluster_centers_).all()


class TestXarray:
    def test_in_memory(self, rows, assert_same_fit):
        model = assert_same_fit(xr.DataArray(rows, dims=("time", "station")))
        assert type(model.labels_) is np.ndarray

    def test_lazy(self, rows, assert_same_fit):
        array = xr.DataArray(da.from_array(rows, chunks=(40, 2)), dims=("time", "station"))
        assert isinstance(assert_same_fit(array).labels_, da.Array)

    def test_opened_from_a_store(self, tmp_path, rows, assert_same_fit):
        path = tmp_path / "store.zarr"
        xr.Dataset({"wind": (("time", "station"), rows)}).to_zarr(path, consolidated=False)
        with xr.open_zarr(path, consolidated=False) as dataset:
            assert_same_fit(dataset["wind"])


class TestWeights:
    @pytest.mark.parametrize("chunks", [(40, 5), (40, 2), ((0, 100, 111), (5,))])
    @pytest.mark.parametrize(
        "kind",
        [
            np.asarray,
            np.ndarray.tolist,
            pd.Series,
            lambda w: w.astype(">f8"),
            lambda w: da.from_array(w, chunks=17),
            lambda w: da.from_array(w, chunks=211),
            lambda w: dd.from_pandas(pd.Series(w), npartitions=1).to_dask_array(lengths=True),
            lambda w: xr.DataArray(w, dims="row"),
        ],
        ids=["array", "list", "Series", "big-endian", "dask", "one block", "dask Series", "xarray"],
    )
    def test_kind_and_chunks(self, rows, fit, chunks, kind):
        weights = np.random.default_rng(0).uniform(0, 2, 211)
        expected = fit(rows, sample_weight=weights)
        for X in (rows, da.from_array(rows, chunks=chunks)):
            model = fit(X, sample_weight=kind(weights))
            assert (model.cluster_centers_ == expected.cluster_centers_).all()
            assert model.inertia_ == expected.inertia_
            assert model.score(X, sample_weight=kind(weights)) == -model.inertia_

    def test_integers_and_flags(self, rows, fit):
        counts = np.random.default_rng(0).integers(0, 2, 211)
        expected = fit(rows, sample_weight=counts.astype(float))
        for dtype in (np.uint8, np.int64, np.float32, bool):
            model = fit(rows, sample_weight=counts.astype(dtype))
            assert (model.cluster_centers_ == expected.cluster_centers_).all()

    def test_unknown_sizes_of_rows_and_weights(self, rows, fit):
        weights = np.random.default_rng(0).uniform(0, 2, 211)
        lazy, lazy_weights = da.from_array(rows, chunks=(40, 5)), da.from_array(weights, chunks=40)
        kept = rows[:, 0] > 50
        model = fit(lazy[lazy[:, 0] > 50], sample_weight=lazy_weights[lazy[:, 0] > 50])
        expected = fit(rows[kept], sample_weight=weights[kept])
        assert (model.cluster_centers_ == expected.cluster_centers_).all()
        same = fit(lazy[lazy[:, 0] > 50], sample_weight=weights[kept])
        assert (same.cluster_centers_ == expected.cluster_centers_).all()

    def test_weights_under_every_scheduler(self, rows, fit, scheduler):
        weights = np.random.default_rng(0).uniform(0, 2, 211)
        expected = fit(rows, sample_weight=weights)
        model = fit(
            da.from_array(rows, chunks=(40, 2)), sample_weight=da.from_array(weights, chunks=17)
        )
        assert (model.cluster_centers_ == expected.cluster_centers_).all()


def test_features_are_counted_without_the_graph(rows, monkeypatch):
    """dask optimises the graph when it is asked for, which is work for every chunk: once a fit."""
    lazy = da.from_array(rows, chunks=(40, 2))
    with monkeypatch.context() as patched:
        patched.setattr(dask, "optimize", None)
        assert count_features(lazy) == count_features(dd.from_dask_array(lazy)) == 5
    optimised = []
    optimize = dask.optimize
    monkeypatch.setattr(dask, "optimize", lambda *a: optimised.append(a) or optimize(*a))
    KMeans(3, random_state=0).fit(lazy)
    assert len(optimised) == 1


@pytest.mark.parametrize(
    ("n_rows", "chunk_rows", "block_rows"),
    [(6_000, 1_000, 1_000), (1_000_000, 1_000, 15_000), (8_000_000, 1_000, 65_000)],
)
def test_small_chunks_of_a_store_are_read_together(n_rows, chunk_rows, block_rows):
    """Up to four megabytes, but not so many that few blocks are left."""
    stored = zarr.create_array({}, shape=(n_rows, 16), chunks=(chunk_rows, 16), dtype="f4")
    assert row_source(stored).sizes[0] == block_rows
