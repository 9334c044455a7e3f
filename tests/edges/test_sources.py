"""Every format gives the rows that were written to it; what cannot be opened says why."""

from __future__ import annotations

import gc
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore, MemoryStore, ZipStore

from daskmeans import KMeans, open_rows
from daskmeans.errors import MissingExtraError, RowsError

NAMES = ["u", "v", "w"]


@pytest.fixture
def assert_same_fit(rows):
    """Compare the fit of opened rows, bit by bit, with that of the same rows in memory."""

    def assert_same_fit(opened, rows=rows):
        expected = KMeans(4, init=rows[:4], max_iter=5).fit(rows)
        model = KMeans(4, init=rows[:4], max_iter=5).fit(opened)
        np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
        assert model.inertia_ == expected.inertia_
        assert model.n_iter_ == expected.n_iter_
        np.testing.assert_array_equal(np.asarray(model.labels_), expected.labels_)
        np.testing.assert_array_equal(np.asarray(model.predict(opened)), expected.labels_)

    return assert_same_fit


@pytest.fixture
def image(rows):
    """Array (3 bands, 23 lines, 17 columns) and its pixels as rows (391, 3)."""
    bands = rows[: 23 * 17].T.reshape(3, 23, 17)
    return bands, rows[: 23 * 17]


@pytest.fixture
def table(rows):
    """Frame with the rows in three columns, and what k-means has no use for."""
    frame = pd.DataFrame(rows, columns=NAMES)
    frame.insert(1, "station", [f"s{number % 7}" for number in range(len(rows))])
    frame["valid"] = True
    return frame


@pytest.fixture
def memory_url():
    """URL of a Zarr store in fsspec's file system in memory."""
    import fsspec

    yield "memory://sources/rows.zarr"
    fsspec.filesystem("memory").rm("/sources", recursive=True)


class TestZarr:
    @pytest.mark.parametrize("zarr_format", [2, 3])
    @pytest.mark.parametrize("chunks", [(100, 3), (100, 2)])
    def test_folder(self, in_folder, rows, assert_same_fit, zarr_format, chunks):
        zarr.create_array("rows.zarr", data=rows, chunks=chunks, zarr_format=zarr_format)
        opened = open_rows("rows.zarr")
        assert isinstance(opened, zarr.Array)
        assert_same_fit(opened)

    def test_shards(self, in_folder, rows, assert_same_fit):
        zarr.create_array("rows.zarr", data=rows, chunks=(20, 3), shards=(200, 3))
        assert_same_fit(open_rows("rows.zarr"))

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_zip_archive(self, in_folder, rows, assert_same_fit, scheduler, zarr_format):
        with ZipStore(in_folder / "rows.zip", mode="w") as store:
            group = zarr.create_group(store, zarr_format=zarr_format)
            group.create_array("deep/rows", data=rows, chunks=(100, 3))
        assert_same_fit(open_rows("rows.zip/deep/rows"))
        assert_same_fit(open_rows("rows.zip", "deep/rows"))

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_store_object(self, rows, assert_same_fit, zarr_format):
        store = MemoryStore()
        group = zarr.create_group(store, zarr_format=zarr_format)
        group.create_array("rows", data=rows, chunks=(100, 3))
        assert_same_fit(open_rows(store, "rows"))

    def test_dictionary(self, rows, assert_same_fit):
        store = {}
        zarr.create_array(store, data=rows, chunks=(100, 3))
        assert_same_fit(open_rows(store))

    def test_url(self, memory_url, rows, assert_same_fit):
        zarr.create_group(memory_url).create_array("rows", data=rows, chunks=(100, 3))
        assert_same_fit(open_rows(f"{memory_url}/rows"))
        assert_same_fit(
            open_rows(memory_url, "rows", storage_options={"skip_instance_cache": True})
        )

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_array_in_a_group(self, in_folder, rows, assert_same_fit, zarr_format):
        group = zarr.create_group("field.zarr", zarr_format=zarr_format)
        group.create_array("deep/rows", data=rows)
        for opened in (open_rows("field.zarr/deep/rows"), open_rows("field.zarr", "/deep/rows")):
            assert_same_fit(opened)

    def test_nothing_is_read(self, in_folder, rows):
        zarr.create_array("rows.zarr", data=rows, chunks=(100, 3))
        for chunk in (in_folder / "rows.zarr" / "c").glob("*/*"):
            chunk.write_bytes(b"damaged")
        assert open_rows("rows.zarr").shape == (523, 3)
        assert open_rows("rows.zarr", feature_axis=0).shape == (3, 523)

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_packed_by_xarray(self, in_folder, rows, assert_same_fit, zarr_format):
        """The numbers stored are hundredths; k-means is to see the values."""
        array = xr.DataArray(rows.round(2), dims=("time", "part"), name="wind")
        packing = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -(2**15), "chunks": (100, 3)}
        array.to_zarr(
            "field.zarr",
            encoding={"wind": packing},
            zarr_format=zarr_format,
            consolidated=False,
        )
        for name in (None, "wind"):
            opened = open_rows("field.zarr" if name else "field.zarr/wind", name)
            assert isinstance(opened, xr.DataArray)
            assert opened.chunks[0][:2] == (100, 100)
            assert_same_fit(opened, opened.to_numpy())
            np.testing.assert_allclose(opened, rows.round(2))

    def test_packed_by_xarray_at_a_url(self, memory_url, rows, assert_same_fit):
        array = xr.DataArray(rows.round(2), dims=("time", "part"), name="wind")
        packing = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -(2**15)}
        array.to_zarr(memory_url, encoding={"wind": packing}, consolidated=False)
        for opened in (open_rows(memory_url, "wind"), open_rows(f"{memory_url}/wind")):
            assert isinstance(opened, xr.DataArray)
            np.testing.assert_allclose(opened, rows.round(2))

    def test_named_axes_need_no_xarray(self, in_folder, rows, assert_same_fit, monkeypatch):
        zarr.create_group("field.zarr").create_array(
            "wind", data=rows, dimension_names=("time", "part")
        )
        monkeypatch.setitem(sys.modules, "xarray", None)
        assert_same_fit(open_rows("field.zarr/wind", feature_axis="part"))


class TestZarrRefusals:
    def test_group_names_its_arrays(self, field):
        with pytest.raises(RowsError, match=r"a Zarr group, .* the arrays deep/cube, wind: give"):
            open_rows(field)
        with pytest.raises(RowsError, match=r"give for instance name='deep/cube'"):
            open_rows(LocalStore(field))

    def test_group_without_arrays(self, in_folder):
        zarr.open_group(in_folder / "empty.zarr", mode="w")
        with pytest.raises(RowsError, match=r"empty\.zarr is a Zarr group that holds no arrays"):
            open_rows("empty.zarr")

    def test_missing_path(self, in_folder):
        with pytest.raises(RowsError, match=r"There is nothing at nowhere\.zarr"):
            open_rows("nowhere.zarr")
        with pytest.raises(RowsError, match=r"memory://nowhere\.zarr is not a Zarr store"):
            open_rows("memory://nowhere.zarr")

    def test_missing_array_of_a_group_names_those_it_has(self, field, memory_url):
        there = r"nothing at .*/wimd.* The store holds the arrays deep/cube, wind"
        for path, name in ((f"{field}/wimd", None), (field, "wimd"), (LocalStore(field), "wimd")):
            with pytest.raises(RowsError, match=there):
                open_rows(path, name)
        with pytest.raises(RowsError, match=r"The group deep holds the arrays cube\."):
            open_rows(field, "deep/cubes")
        zarr.create_group(memory_url).create_array("wind", data=np.ones((7, 2)))
        with pytest.raises(RowsError, match=r"zarr/wimd .* The store holds the arrays wind\."):
            open_rows(memory_url, "wimd")

    @pytest.mark.parametrize(
        "metadata", [None, "{", '{"zarr_format": 3, "node_type": "array"}', "[]", '"text"']
    )
    def test_folder_that_is_no_store(self, in_folder, metadata):
        (in_folder / "folder").mkdir()
        if metadata is not None:
            (in_folder / "folder" / "zarr.json").write_text(metadata)
        reason = ", but a folder that holds nothing: give the path" if metadata is None else ": "
        with pytest.raises(RowsError, match=f"folder is not a Zarr store{reason}"):
            open_rows("folder")

    def test_folder_of_other_files_names_some(self, in_folder):
        (in_folder / "folder").mkdir()
        for name in "gfedcba":
            (in_folder / "folder" / f"{name}.txt").touch()
        with pytest.raises(RowsError, match=r"a folder that holds a.txt, b.txt, .*, e.txt: give"):
            open_rows("folder")

    @pytest.mark.parametrize("make", [np.ones, da.ones])
    def test_rows_that_need_no_opening(self, make):
        with pytest.raises(RowsError, match="which fit and predict take as it is"):
            open_rows(make((3, 2)))

    def test_file_that_is_no_archive(self, in_folder):
        (in_folder / "rows.zip").write_text("1,2\n")
        with pytest.raises(RowsError, match=r"rows\.zip is not a Zarr store: File is not a zip"):
            open_rows("rows.zip")

    @pytest.mark.parametrize(
        ("url", "reason"), [("nosuch://a/b.zarr", "nosuch"), ("s3://a/b.zarr", "s3|S3")]
    )
    def test_file_system_that_is_not_installed(self, url, reason, monkeypatch):
        monkeypatch.setitem(sys.modules, "s3fs", None)
        with pytest.raises(RowsError, match=f"{url} .*({reason})"):
            open_rows(url)

    def test_packed_array_without_xarray(self, in_folder, monkeypatch):
        group = zarr.create_group("field.zarr")
        group.create_array(
            "wind", data=np.ones((7, 2)), dimension_names=("a", "b"), attributes={"scale_factor": 2}
        )
        monkeypatch.setitem(sys.modules, "xarray", None)
        with pytest.raises(MissingExtraError, match=r"packed array needs xarray.*daskmeans\[xarr"):
            open_rows("field.zarr/wind")


class TestHDF5:
    @pytest.fixture
    def file(self, in_folder, rows):
        """Name of an HDF5 file with the rows in chunks, and a date for each."""
        with h5py.File("rows.h5", "w") as file:
            file.create_dataset("deep/rows", data=rows, chunks=(100, 2))
            file["dates"] = np.arange(523)
            file["empty"] = h5py.Empty("f4")
        return "rows.h5"

    @pytest.mark.parametrize("chunks", [None, (100, 2)])
    def test_every_scheduler(self, in_folder, rows, assert_same_fit, scheduler, chunks):
        with h5py.File("rows.hdf5", "w") as file:
            file.create_dataset("deep/rows", data=rows, chunks=chunks)
        assert_same_fit(open_rows("rows.hdf5"))

    @pytest.mark.parametrize(
        ("path", "name"),
        [("rows.h5", None), ("rows.h5::/deep/rows", None), ("rows.h5::deep/rows", None)]
        + [("rows.h5", "/deep/rows"), ("rows.h5", "deep/rows")],
    )
    def test_ways_to_name_a_dataset(self, file, assert_same_fit, path, name):
        opened = open_rows(path, name)
        assert (opened.name, opened.chunks) == ("/deep/rows", (100, 2))
        assert_same_fit(opened)

    def test_any_ending_where_it_is_asked_for(self, file, in_folder, assert_same_fit):
        (in_folder / file).rename("field.nc")
        assert_same_fit(open_rows("field.nc::/deep/rows"))

    def test_one_open_file_for_many_threads(self, file, rows, monkeypatch):
        first, second = open_rows(file), open_rows(f"{file}::/deep/rows")

        def fail(*_, **__):
            raise AssertionError("opened again")

        monkeypatch.setattr(h5py, "File", fail)
        starts = list(range(0, 500, 7)) * 10
        with ThreadPoolExecutor(8) as pool:
            for opened in (first, second):
                read = pool.map(lambda start, X=opened: X[start : start + 7], starts)
                for start, values in zip(starts, read, strict=True):
                    np.testing.assert_array_equal(values, rows[start : start + 7])

    def test_file_can_be_written_to_once_the_rows_are_gone(self, file):
        opened = open_rows(file)
        with pytest.raises(OSError, match="already open"):
            h5py.File(file, "a")
        del opened
        gc.collect()
        h5py.File(file, "a").close()

    def test_file_that_was_replaced_is_opened_anew(self, file, in_folder):
        opened = open_rows(file)
        with h5py.File("new.h5", "w") as new:
            new.create_dataset("deep/rows", data=np.full((523, 3), 7.0))
        (in_folder / "new.h5").rename(file)
        assert (opened[:5] == 7).all()

    def test_pickle(self, file, assert_same_fit):
        opened = open_rows(file)
        travelled = pickle.loads(pickle.dumps(opened))
        assert travelled == opened
        del opened
        assert_same_fit(travelled)

    def test_weights_and_initial_centers(self, in_folder, rows):
        with h5py.File("rows.h5", "w") as file:
            file["rows"] = rows
            file["init"] = rows[:4]
        X, init = open_rows("rows.h5::rows"), open_rows("rows.h5::init")
        model = KMeans(4, init=init, max_iter=5).fit(X)
        expected = KMeans(4, init=rows[:4], max_iter=5).fit(rows)
        assert model.inertia_ == expected.inertia_

    def test_several_datasets_are_named(self, file):
        with h5py.File(file, "a") as opened:
            opened["other"] = np.ones((5, 2))
        several = r"rows\.h5 holds several arrays of rows, /deep/rows of shape \(523, 3\), /other"
        with pytest.raises(RowsError, match=several):
            open_rows(file)

    def test_missing_dataset(self, file):
        for name in ("rows", "deep", "empty"):
            with pytest.raises(RowsError, match=rf"no array '/{name}'. It holds /dates .*/deep/ro"):
                open_rows(file, name)

    def test_no_dataset_of_rows(self, in_folder):
        with h5py.File("rows.h5", "w") as file:
            file["text"] = "abc"
            file["cube"] = np.ones((2, 3, 5))
        with pytest.raises(RowsError, match=r"no array of numbers with two .*/cube of shape \(2,"):
            open_rows("rows.h5")
        assert open_rows("rows.h5", feature_axis=0).shape == (15, 2)

    def test_file_that_is_not_hdf5(self, in_folder):
        (in_folder / "rows.h5").write_text("1,2\n")
        with pytest.raises(RowsError, match=r"rows\.h5 cannot be read as HDF5"):
            open_rows("rows.h5")

    def test_missing_file(self, in_folder):
        for path in ("nowhere.h5", "nowhere.h5::/rows"):
            with pytest.raises(RowsError, match=r"There is nothing at nowhere\.h5"):
                open_rows(path)

    def test_folder(self, in_folder):
        zarr.create_group("field.zarr")
        with pytest.raises(RowsError, match=r"Zarr group is field\.zarr/name"):
            open_rows("field.zarr::wind")

    def test_without_h5py(self, file, monkeypatch):
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(MissingExtraError, match=r"daskmeans\[hdf5\]"):
            open_rows(file)


class TestNumPy:
    @pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
    def test_every_scheduler(self, in_folder, rows, assert_same_fit, scheduler, layout):
        np.save("rows.npy", layout(rows))
        opened = open_rows("rows.npy")
        assert isinstance(opened, np.memmap)
        assert_same_fit(opened)

    def test_archive(self, in_folder, rows):
        np.savez("rows.npz", rows=rows)
        with pytest.raises(RowsError, match=r"rows\.npz is an archive .* numpy\.save as \.npy"):
            open_rows("rows.npz")

    def test_file_that_is_not_an_array(self, in_folder):
        (in_folder / "rows.npy").write_text("1,2\n")
        with pytest.raises(
            RowsError, match=r"rows\.npy cannot be mapped into memory: it is not what numpy\.save"
        ) as caught:
            open_rows("rows.npy")
        assert "unsafe" not in str(caught.value)
        np.save("objects.npy", np.array([[None]]))
        with pytest.raises(RowsError, match=r"objects\.npy cannot be mapped.*Python objects.*Save"):
            open_rows("objects.npy")


class TestTables:
    @pytest.fixture(params=["file.parquet", "folder", "part-*.parquet", "file.csv", "part-*.csv"])
    def files(self, request, in_folder, table):
        """Name of the table in files of some kind."""
        parts = [table] if request.param.startswith("file") else [table[:300], table[300:]]
        (in_folder / "folder").mkdir()
        for number, part in enumerate(parts):
            name = request.param.replace("*", str(number))
            if name == "folder":
                name = f"folder/part-{number}.parquet"
            if name.endswith(".csv"):
                part.to_csv(name, index=False)
            else:
                part.to_parquet(name)
        return request.param

    def test_numeric_columns(self, files, rows, assert_same_fit):
        opened = open_rows(files)
        assert list(opened.columns) == NAMES
        assert_same_fit(opened)
        assert_same_fit(open_rows(files, columns=["w", "u"]), rows[:, [2, 0]].copy())

    def test_other_processes(self, in_folder, table, assert_same_fit, scheduler):
        table.to_parquet("rows.parquet")
        assert_same_fit(open_rows("rows.parquet"))

    def test_columns_that_there_are_not(self, files):
        held = r"Its columns are u \(float64\), station \(\w+\), v \(float64\)"
        with pytest.raises(RowsError, match=rf"no column 'speed'\. {held}"):
            open_rows(files, columns=["u", "speed"])
        with pytest.raises(RowsError, match=rf"'station' of .* is not numeric\. {held}"):
            open_rows(files, columns=["station"])
        with pytest.raises(RowsError, match=r"columns='u': give a list"):
            open_rows(files, columns="u")

    def test_flags_are_taken_where_they_are_named(self, in_folder, table, assert_same_fit):
        table.to_parquet("rows.parquet")
        assert list(open_rows("rows.parquet", columns=["u", "valid"]).columns) == ["u", "valid"]

    def test_no_numeric_columns(self, in_folder, table):
        table[["station"]].to_parquet("rows.parquet")
        with pytest.raises(RowsError, match=r"no numeric columns\. Its columns are station"):
            open_rows("rows.parquet")

    def test_integers_of_csv_that_become_fractions(self, in_folder):
        """The types are told by the first lines alone."""
        lines = ["a,b", *(f"{number % 10},1" for number in range(100_000)), "0.5,"]
        (in_folder / "rows.csv").write_text("\n".join(lines))
        opened = open_rows("rows.csv")
        assert list(opened.dtypes) == [np.float64, np.float64]
        last = opened.compute().to_numpy()[-1]
        assert last[0] == 0.5
        assert np.isnan(last[1])

    def test_csv_without_names(self, in_folder, rows):
        np.savetxt("rows.csv", rows, delimiter=",")
        with pytest.raises(RowsError, match=r"first line of .*rows\.csv holds numbers"):
            open_rows("rows.csv")

    @pytest.mark.parametrize("name", ["nothing.csv", "nothing.parquet"])
    def test_missing_file(self, in_folder, name):
        with pytest.raises(RowsError, match=f"There is nothing at .*{name}: give the path of a"):
            open_rows(name)

    @pytest.mark.parametrize("name", ["no-*.csv", "no-*.parquet"])
    def test_pattern_without_files(self, in_folder, name):
        with pytest.raises(RowsError, match=r"no.* cannot be read|nothing at .*no-\*\."):
            open_rows(name)

    @pytest.mark.parametrize("name", ["broken.csv", "broken.parquet"])
    def test_damaged_files(self, in_folder, name):
        (in_folder / name).touch()
        with pytest.raises(RowsError, match=rf"{name} cannot be read"):
            open_rows(name)

    def test_without_dataframes(self, in_folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "dask.dataframe", None)
        with pytest.raises(MissingExtraError, match=r"daskmeans\[dataframe\]"):
            open_rows("rows.parquet")


class TestNetCDF:
    def test_classic(self, in_folder, rows, assert_same_fit, scheduler):
        dataset = xr.Dataset({"wind": (("time", "part"), rows), "time": np.arange(523)})
        with dask.config.set(scheduler="sync"):  # of a cluster xarray would ask for a lock
            dataset.to_netcdf("field.nc", engine="scipy")
        for name in (None, "wind"):
            opened = open_rows("field.nc", name)
            assert opened.chunks is not None
            assert_same_fit(opened)

    def test_netcdf4(self, in_folder, rows, assert_same_fit, scheduler):
        pytest.importorskip("h5netcdf")
        encoding = {"wind": {"chunksizes": (100, 3)}}
        dataset = xr.Dataset({"wind": (("time", "part"), rows)})
        with dask.config.set(scheduler="sync"):
            dataset.to_netcdf("field.nc", engine="h5netcdf", encoding=encoding)
        opened = open_rows("field.nc", "wind")
        assert opened.chunks[0][:2] == (100, 100)
        assert_same_fit(opened)

    def test_times_stay_numbers(self, in_folder, rows, assert_same_fit):
        seconds = xr.Variable(("row", "part"), rows, {"units": "seconds"})
        xr.Dataset({"delay": seconds}).to_netcdf("field.nc", engine="scipy")
        assert_same_fit(open_rows("field.nc"))

    def test_missing_variable(self, in_folder):
        xr.Dataset({"wind": (("time", "part"), np.ones((3, 2)))}).to_netcdf(
            "field.nc", engine="scipy"
        )
        with pytest.raises(RowsError, match=r"no array 'rain'\. It holds wind of shape \(3, 2\)"):
            open_rows("field.nc", "rain")

    def test_netcdf4_without_a_reader(self, in_folder, monkeypatch):
        with h5py.File("field.nc", "w") as file:
            file["wind"] = np.ones((3, 2))
        monkeypatch.setattr("xarray.backends.list_engines", lambda: {"scipy": None})
        monkeypatch.setattr(xr, "open_dataset", lambda *_, **__: int("no engine"))
        with pytest.raises(MissingExtraError, match=r"field\.nc.* h5netcdf.*daskmeans\[xarray\]"):
            open_rows("field.nc")

    def test_file_that_is_not_netcdf(self, in_folder):
        (in_folder / "field.nc").write_text("1,2\n")
        with pytest.raises(RowsError, match=r"field\.nc cannot be read as NetCDF"):
            open_rows("field.nc")


class TestFeatureAxis:
    @pytest.mark.parametrize("axis", [0, 1, 2, -3, -1])
    @pytest.mark.parametrize("kind", ["zarr", "shards", "h5", "npy", "fortran", "nc"])
    def test_three_dimensions(self, in_folder, image, assert_same_fit, kind, axis):
        bands, pixels = image
        stored = np.moveaxis(bands, 0, axis)
        if kind in ("zarr", "shards"):
            shards = {"shards": tuple(min(10, size // 2 * 2) for size in stored.shape)}
            zarr.create_array(
                "image.zarr", data=stored, chunks=(2, 2, 2), **(shards if kind == "shards" else {})
            )
            opened = open_rows("image.zarr", feature_axis=axis)
        elif kind == "h5":
            with h5py.File("image.h5", "w") as file:
                file.create_dataset("image", data=stored, chunks=(2, 3, 3))
            opened = open_rows("image.h5", feature_axis=axis)
        elif kind == "nc":
            xr.Dataset({"image": (("a", "b", "c"), stored)}).to_netcdf("image.nc", engine="scipy")
            opened = open_rows("image.nc", feature_axis="abc"[axis])
        else:
            np.save("image.npy", np.asfortranarray(stored) if kind == "fortran" else stored.copy())
            opened = open_rows("image.npy", feature_axis=axis)
        assert opened.shape == pixels.shape
        assert_same_fit(opened, pixels)

    def test_four_dimensions_with_names(self, in_folder, rows):
        cube = rows[:120].reshape(4, 5, 6, 3)
        zarr.create_array(
            "cube.zarr", data=cube, chunks=(2, 2, 2, 2), dimension_names=("t", "y", "x", "band")
        )
        for name, axis in (("t", 0), ("y", 1), ("x", 2), ("band", 3)):
            expected = np.moveaxis(cube, axis, -1).reshape(-1, cube.shape[axis])
            np.testing.assert_array_equal(open_rows("cube.zarr", feature_axis=name), expected)

    @pytest.mark.parametrize("kind", ["zarr", "npy", "h5"])
    def test_two_dimensions_transposed(self, in_folder, rows, assert_same_fit, kind):
        if kind == "zarr":
            zarr.create_array("rows.zarr", data=rows.T, chunks=(2, 100))
        elif kind == "h5":
            with h5py.File("rows.h5", "w") as file:
                file["rows"] = rows.T
        else:
            np.save("rows.npy", rows.T.copy())
        assert_same_fit(open_rows(f"rows.{kind}", feature_axis=0))
        assert open_rows(f"rows.{kind}", feature_axis=1).shape == (3, 523)

    def test_blocks_are_storage_chunks_of_the_first_other_axis(self, in_folder, image):
        bands, _ = image
        zarr.create_array("image.zarr", data=bands, chunks=(1, 10, 10))
        opened = open_rows("image.zarr", feature_axis=0)
        assert opened.chunks == ((10 * 17, 10 * 17, 3 * 17), (3,))

    def test_chunk_is_read_once(self, in_folder, image):
        from tests.counting import CountingStore

        bands, _ = image
        zarr.create_array("image.zarr", data=bands, chunks=(1, 10, 10))
        store = CountingStore(LocalStore("image.zarr"))
        opened = open_rows(store, feature_axis=0)
        assert not store.reads
        with dask.config.set(scheduler="threads"):
            opened.compute()
        assert len(store.reads) == 3 * 3 * 2
        assert set(store.reads.values()) == {1}

    def test_no_rows(self, in_folder):
        zarr.create_array("image.zarr", shape=(3, 0, 5), dtype="f4", chunks=(1, 10, 5))
        assert open_rows("image.zarr", feature_axis=0).shape == (0, 3)

    def test_it_has_to_be_told(self, in_folder):
        zarr.create_array("cube.zarr", data=np.ones((3, 5, 7)), dimension_names=("b", "y", "x"))
        told = r"cube\.zarr has shape \(3, 5, 7\): .*feature_axis=0 to 2 or one of .* b, y, x"
        with pytest.raises(RowsError, match=told):
            open_rows("cube.zarr")
        with pytest.raises(RowsError, match=r"feature_axis=3, but cube\.zarr .* axes 0 to 2"):
            open_rows("cube.zarr", feature_axis=3)
        with pytest.raises(RowsError, match=r"feature_axis='z', but cube\.zarr .* dimensions b, y"):
            open_rows("cube.zarr", feature_axis="z")
        zarr.create_array("plain.zarr", data=np.ones((3, 5, 7)))
        with pytest.raises(RowsError, match=r"does not name its axes\. Give a number, 0 to 2"):
            open_rows("plain.zarr", feature_axis="z")

    @pytest.mark.parametrize("feature_axis", [None, 0])
    def test_one_dimension(self, in_folder, feature_axis):
        np.save("rows.npy", np.ones(5))
        with pytest.raises(RowsError, match=r"rows\.npy has shape \(5,\): .*reshape\(-1, 1\)"):
            open_rows("rows.npy", feature_axis=feature_axis)

    def test_no_numbers(self, in_folder):
        np.save("rows.npy", np.array([["a", "b"]]))
        with pytest.raises(RowsError, match=r"rows\.npy has dtype <U1, and k-means needs real"):
            open_rows("rows.npy")


class TestOptions:
    @pytest.mark.parametrize(
        ("path", "options", "message"),
        [
            ("a.csv", {"name": "b"}, r"name='b' does not apply to a\.csv, which is CSV"),
            ("a.parquet", {"feature_axis": 0}, r"feature_axis=0 does not apply to a\.parquet"),
            ("a.zarr", {"columns": ["b"]}, r"columns=\['b'\] does not apply to a\.zarr"),
            ("a.zarr", {"storage_options": {}}, r"storage_options={} .* a\.zarr, which is no URL"),
            ("s3://a/b.h5", {}, r"HDF5 is read from local files only: download"),
            ("part-*.zarr", {}, r"a pattern of several files, .* \.parquet or \.csv"),
        ],
    )
    def test_option_without_use(self, in_folder, path, options, message):
        with pytest.raises(RowsError, match=message):
            open_rows(path, **options)

    def test_array_of_an_array(self, in_folder):
        np.save("rows.npy", np.ones((5, 2)))
        with pytest.raises(RowsError, match=r"name='b' does not apply to rows\.npy"):
            open_rows("rows.npy", "b")

    def test_file_of_an_unknown_format(self, in_folder):
        (in_folder / "rows.txt").touch()
        with pytest.raises(RowsError, match=r"rows\.txt is a file of a format .*: \.npy, .* can"):
            open_rows("rows.txt")
