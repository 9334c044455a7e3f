"""Bad input gets a clear error before work starts or at the first pass, never a silent answer."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import h5py
import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
import xarray as xr
import zarr
from sklearn.exceptions import NotFittedError

import daskmeans
from daskmeans import KMeans
from daskmeans.errors import RowsError
from tests.counting import CountedRows, counted_passes


@pytest.fixture
def fit_on(tmp_path):
    """Fit rows held as a named kind, in blocks of 10 rows where the kind has blocks."""

    def fit_on(kind, rows, **options):
        if kind == "dask":
            rows = da.from_array(rows, chunks=(10, 2))
        elif kind == "zarr":
            path = tmp_path / "rows.zarr"
            rows = zarr.create_array(path, data=rows, chunks=(10, 2))
        elif kind == "memmap":
            np.save(tmp_path / "rows.npy", rows)
            rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
        return KMeans(3, random_state=0).fit(rows, **options)

    return fit_on


class TestNotFinite:
    """NaN and infinity are named with their first block, row and column."""

    @pytest.mark.parametrize(
        ("kind", "where"),
        [
            ("numpy", r"block 0, row 27 \(row 27 of the block\), column 1"),
            ("memmap", r"block 0, row 27 \(row 27 of the block\), column 1"),
            ("dask", r"block 2, row 27 \(row 7 of the block\), column 1"),
            ("zarr", r"block 2, row 27 \(row 7 of the block\), column 1"),
        ],
    )
    @pytest.mark.parametrize(
        ("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
    )
    def test_fit_names_the_first_block_and_row(self, fit_on, kind, where, value, name):
        rows = np.random.default_rng(0).normal(size=(41, 3))
        rows[27, 1] = rows[28, 0] = value
        with pytest.raises(ValueError, match=f"Input X contains {name}.*: {where}"):
            fit_on(kind, rows)

    def test_one_of_several_bad_blocks_is_named_with_its_first_bad_row(self, scheduler):
        """Which block depends on which is read first."""
        rows = np.random.default_rng(0).normal(size=(41, 3))
        rows[[13, 16, 25, 28, 38, 39], 2] = np.nan
        with pytest.raises(ValueError, match=r"block (1, row 13|2, row 25|3, row 38) \("):
            KMeans(3).fit(da.from_array(rows, chunks=(10, 3)))

    def test_column_of_a_frame_is_named(self):
        frame = pd.DataFrame({"height": [1.0, 2.0, 3.0], "width": [1.0, np.nan, 3.0]})
        for rows in (frame, dd.from_pandas(frame, npartitions=1)):
            with pytest.raises(ValueError, match=r"row 1 .*column 1 \('width'\)"):
                KMeans(2).fit(rows)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_every_floating_dtype_is_checked(self, dtype):
        rows = np.ones((13, 5), dtype)
        rows[11, 4] = np.nan
        with pytest.raises(ValueError, match=r"row 11 .*column 4"):
            KMeans(2).fit(rows)

    def test_predict_transform_and_score_check_their_rows(self):
        rows = np.random.default_rng(0).normal(size=(41, 3))
        model = KMeans(3, random_state=0).fit(rows)
        rows[27, 1] = np.nan
        lazy = da.from_array(rows, chunks=(10, 3))
        for use in (model.predict, model.transform, model.score):
            with pytest.raises(ValueError, match="Input X contains NaN: block 0, row 27 "):
                use(rows)
        for use in (model.predict, model.transform):
            # A lazy result is computed by blocks that know no number of their own first row.
            with pytest.raises(
                ValueError, match=r"Input X contains NaN: block 2, .*row 7 of the b"
            ):
                use(lazy).compute()
        with pytest.raises(ValueError, match="Input X contains NaN: block 2, row 27 "):
            model.score(lazy)

    def test_initial_centers(self):
        init = np.array([[0.0], [np.nan]])
        with pytest.raises(ValueError, match="Input init contains NaN or infinity: center 1, colu"):
            KMeans(2, init=init).fit([[1.0], [2.0]])


class TestShapesAndDtypes:
    """What is no 2-D array of real numbers is refused without a pass."""

    @pytest.fixture(autouse=True)
    def no_pass_runs(self):
        with counted_passes() as passes:
            yield
        assert not passes

    @pytest.mark.parametrize("lazily", [False, True])
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (np.ones((4, 2), complex), "Complex data not supported"),
            (np.ones(4), "Expected 2D array, got 1D array instead"),
            (np.ones((4, 2, 3)), r"dim.* 3|got 3D array"),
            (np.ones((4, 0)), r"0 feature\(s\) \(shape=\(4, 0\)\) while a minimum of 1 is requ"),
        ],
        ids=["complex", "1-D", "3-D", "no features"],
    )
    def test_array(self, rows, message, lazily):
        with pytest.raises(ValueError, match=message):
            KMeans(2).fit(da.from_array(rows) if lazily else rows)

    @pytest.mark.parametrize("lazily", [False, True])
    def test_text(self, lazily):
        rows = np.array([["a", "b"], ["c", "d"]])
        with pytest.raises(ValueError, match=r"dtype|could not convert string to float"):
            KMeans(2).fit(da.from_array(rows) if lazily else rows)

    def test_dates(self):
        rows = np.zeros((4, 2), "datetime64[s]")
        with pytest.raises((ValueError, TypeError), match=r"datetime64|DType"):
            KMeans(2).fit(rows)

    def test_no_rows(self):
        message = r"Found array with 0 sample\(s\) \(shape=\(0, 2\)\) while a minimum of 1 is requ"
        with pytest.raises(ValueError, match=message):
            KMeans(2).fit(np.empty((0, 2)))
        with pytest.raises(ValueError, match=message):
            KMeans(2).fit(da.from_array(np.empty((0, 2)), chunks=2))

    def test_text_columns_of_a_frame(self):
        frame = pd.DataFrame({"size": [1.0, 2.0], "name": ["a", "b"]})
        with pytest.raises(ValueError, match="columns that are not numbers: name"):
            KMeans(2).fit(dd.from_pandas(frame, npartitions=1))

    def test_series(self):
        series = dd.from_pandas(pd.Series([1.0, 2.0, 3.0]), npartitions=1)
        with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead"):
            KMeans(2).fit(series)

    def test_complex_initial_centers(self):
        with pytest.raises(ValueError, match=r"[Cc]omplex"):
            KMeans(2, init=np.ones((2, 2), complex)).fit(np.ones((4, 2)))

    def test_zarr_group_names_its_arrays(self, tmp_path):
        group = zarr.open_group(tmp_path / "store.zarr", mode="w")
        group.create_array("pressure", data=np.ones((3, 2)))
        group.create_array("wind", data=np.ones((3, 2)))
        with pytest.raises(
            ValueError, match=r"Zarr group, not an array.*: (pressure, wind|wind, pressure)\."
        ):
            KMeans(2).fit(group)

    def test_xarray_dataset(self):
        dataset = xr.Dataset({"pressure": (("row", "level"), np.ones((3, 2)))})
        with pytest.raises(ValueError, match="Dataset: pass one of its variables"):
            KMeans(2).fit(dataset)

    def test_xarray_of_three_dimensions(self):
        rows = xr.DataArray(np.ones((3, 2, 2)), dims=("y", "x", "band"))
        with pytest.raises(ValueError, match=r"dim.* 3|got 3D array"):
            KMeans(2).fit(rows)

    def test_more_clusters_than_rows(self):
        message = (
            r"n_samples=3 should be >= n_clusters=8\. Ask for at most 3 clusters, or pass more"
        )
        for rows in (np.ones((3, 2)), da.ones((3, 2), chunks=1)):
            with pytest.raises(ValueError, match=message):
                KMeans().fit(rows)

    def test_path(self, tmp_path):
        message = r"X is a path, not rows: pass daskmeans\.open_rows\('.*rows\.zarr'\)"
        path = tmp_path / "rows.zarr"
        for X in (path, str(path)):
            with pytest.raises(RowsError, match=message):
                KMeans().fit(X)

    def test_columns_of_pandas_that_are_not_numbers(self):
        frame = pd.DataFrame(
            {
                "city": ["Oslo", None, "Rome"],
                "x": [1.0, 2.0, 3.0],
                "kind": pd.Categorical(["a", "b", "a"]),
                "when": pd.date_range("2020", periods=3),
                "flag": [True, False, True],
                "n": pd.array([1, None, 3], dtype="Int64"),
                "figures": ["1", "2", "3.5"],
            }
        ).astype({"figures": object})
        for wrong in (["city", "kind", "when"], ["city"], ["kind"], ["when"]):
            kept = [name for name in frame if name in (*wrong, "x", "flag", "n", "figures")]
            message = f"X has columns that are not numbers: {', '.join(wrong)}. Select numeric"
            with pytest.raises(RowsError, match=message):
                KMeans(2).fit(frame[kept])
            with pytest.raises(RowsError, match=message):
                KMeans(2).fit(frame[wrong])

    def test_hdf5_file_names_what_it_holds(self, tmp_path):
        with h5py.File(tmp_path / "rows.h5", "w") as file:
            file["wind"], file["deep/rows"] = np.ones((3, 2)), np.ones((3, 2))
            with pytest.raises(RowsError, match=r"X is an HDF5 file or group.*: deep, wind\."):
                KMeans(2).fit(file)
            with pytest.raises(RowsError, match=r"X is an HDF5 file or group.*: rows\."):
                KMeans(2).fit(file["deep"])

    def test_wrong_length_of_weights(self):
        rows = np.ones((4, 2))
        message = r"sample_weight.shape == \(3,\), expected \(4,\)"
        for weights in (np.ones(3), [1, 1, 1], da.ones(3, chunks=2)):
            for X in (rows, da.from_array(rows, chunks=(3, 2))):
                with pytest.raises(ValueError, match=message):
                    KMeans(2).fit(X, sample_weight=weights)

    def test_weights_of_two_dimensions(self):
        with pytest.raises(ValueError, match="Sample weights must be 1D array or scalar"):
            KMeans(2).fit(np.ones((4, 2)), sample_weight=np.ones((4, 1)))

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((3, 2), r"initial centers \(3, 2\) does not match the number of clusters 2"),
            (
                (2, 5),
                r"initial centers \(2, 5\) does not match the number of features of the data 2",
            ),
        ],
    )
    def test_initial_centers_of_another_shape(self, shape, message):
        for init in (np.ones(shape), da.ones(shape), np.ones(shape).tolist()):
            with pytest.raises(ValueError, match=message):
                KMeans(2, init=init).fit(np.ones((4, 2)))

    def test_initial_centers_of_one_dimension(self):
        with pytest.raises(ValueError, match=r"initial centers|2D array"):
            KMeans(2, init=np.ones(2)).fit(np.ones((4, 2)))

    @pytest.mark.parametrize(
        ("parameter", "value"),
        [
            ("n_clusters", 0),
            ("n_clusters", 2.5),
            ("init", "best"),
            ("n_init", 0),
            ("n_init", "warn"),
            ("max_iter", 0),
            ("tol", -1e-4),
            ("algorithm", "full"),
            ("oversampling_factor", 0.0),
            ("init_rounds", 0),
            ("random_state", "seed"),
        ],
    )
    def test_parameters(self, parameter, value):
        with pytest.raises(
            ValueError, match=f"The '{parameter}' parameter of KMeans must be .* Got .* instead"
        ):
            KMeans(**{parameter: value}).fit(np.ones((10, 2)))


@pytest.mark.parametrize("lazily", [False, True])
class TestWeights:
    """Values of weights are checked by the first pass."""

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (-1.0, "Negative values in data passed to `sample_weight`: -1.0 at block .*, row 27"),
            (np.nan, "NaN or infinity in data passed to `sample_weight`: nan at block .*, row 27"),
            (np.inf, "NaN or infinity in data passed to `sample_weight`: inf at block .*, row 27"),
        ],
    )
    def test_value(self, blobs, value, message, lazily):
        weights = np.ones(len(blobs))
        weights[27] = value
        rows = da.from_array(blobs, chunks=(10, 5)) if lazily else blobs
        weights = da.from_array(weights, chunks=7) if lazily else weights
        with pytest.raises(ValueError, match=message):
            KMeans(7).fit(rows, sample_weight=weights)

    def test_all_zero(self, blobs, lazily):
        rows = da.from_array(blobs, chunks=(10, 5)) if lazily else blobs
        with pytest.raises(ValueError, match="All values of sample_weight are zero"):
            KMeans(7).fit(rows, sample_weight=np.zeros(len(blobs)))

    def test_text(self, blobs, lazily):
        rows = da.from_array(blobs, chunks=(10, 5)) if lazily else blobs
        with pytest.raises(ValueError, match=r"could not convert string|dtype"):
            KMeans(7).fit(rows, sample_weight=["a"] * len(blobs))

    def test_complex(self, blobs, lazily):
        rows = da.from_array(blobs, chunks=(10, 5)) if lazily else blobs
        with pytest.raises(ValueError, match=r"[Cc]omplex"):
            KMeans(7).fit(rows, sample_weight=np.ones(len(blobs), complex))


def test_columns_of_objects_that_are_numbers_are_read():
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "figures": ["1", "2", "3.5"]})
    frame = frame.astype({"figures": object})
    assert KMeans(2).fit(frame).cluster_centers_.shape == (2, 2)


def test_other_errors_of_frames_are_scikit_learns():
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    model = KMeans(2).fit(frame)
    with pytest.raises(ValueError, match="The feature names should match"):
        model.predict(frame.rename(columns={"x": "y"}))


def test_predict_of_a_path():
    model = KMeans(2).fit(np.eye(2))
    for use in (model.predict, model.transform, model.score):
        with pytest.raises(RowsError, match="X is a path, not rows"):
            use("rows.zarr")


def test_weights_in_blocks_of_unknown_sizes_must_pair_with_the_rows(blobs):
    weights = da.ones(len(blobs), chunks=100)
    weights = weights[weights > 0]
    with pytest.raises(ValueError, match=r"4 blocks of unknown sizes and X has 2 blocks: call com"):
        KMeans(7).fit(da.from_array(blobs, chunks=(200, 5)), sample_weight=weights)
    with pytest.raises(ValueError, match=r"Block \d of sample_weight has shape \(\d+,\), expected"):
        KMeans(7).fit(da.from_array(blobs, chunks=(80, 5)), sample_weight=weights)


@pytest.mark.parametrize("weight", [1e-310, 1e-300, 1e300])
def test_weights_that_leave_no_room_for_sums_are_refused(blobs, weight):
    with pytest.raises(ValueError, match=r"largest value of sample_weight is 1e[-+]3\d0, which"):
        KMeans(7).fit(blobs, sample_weight=np.full(len(blobs), weight))


@pytest.mark.parametrize("weight", [1e-90, 1e-12, 1e12, 1e90])
def test_weights_of_any_size_give_the_same_clusters(blobs, weight):
    """Weights may be cell volumes in cubic metres; sums must neither overflow nor vanish."""
    init = blobs[:7]
    expected = KMeans(7, init=init).fit(blobs)
    model = KMeans(7, init=init).fit(blobs, sample_weight=np.full(len(blobs), weight))
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    np.testing.assert_allclose(model.cluster_centers_, expected.cluster_centers_, rtol=1e-12)


class TestModels:
    """Errors of the fitted or not yet fitted model, in scikit-learn's words."""

    def test_not_fitted(self):
        for use in (KMeans().predict, KMeans().transform, KMeans().score):
            with pytest.raises(NotFittedError, match="This KMeans instance is not fitted yet"):
                use(np.ones((3, 2)))

    @pytest.mark.parametrize("lazily", [False, True])
    def test_another_number_of_features(self, blobs, lazily):
        model = KMeans(7, init=blobs[:7]).fit(blobs)
        rows = da.ones((4, 3)) if lazily else np.ones((4, 3))
        for use in (model.predict, model.transform, model.score):
            with pytest.raises(
                ValueError, match="X has 3 features, but KMeans is expecting 5 features as input"
            ):
                use(rows)

    def test_explicit_centers_and_many_restarts(self, blobs):
        message = (
            "Explicit initial center position passed: performing only one init in KMeans instead "
            "of n_init=10"
        )
        for cls in (KMeans, sklearn.cluster.KMeans):
            with pytest.warns(RuntimeWarning, match=message):
                cls(7, init=blobs[:7], n_init=10).fit(blobs)

    def test_centers_of_a_function_are_checked(self, blobs):
        with pytest.raises(ValueError, match=r"The shape of the initial centers \(3, 5\)"):
            KMeans(7, init=lambda X, k, random_state: X[:3]).fit(blobs)


class TestRowsThatChange:
    """Every read of the rows has to give the same ones."""

    @pytest.mark.parametrize("name", ["sync", "threads-3"])
    def test_values_that_leave_their_range(self, run_under, name):
        values = np.random.default_rng(0).normal(size=(50, 2))
        rows = da.from_array(ChangingRows(values, values * 1000), chunks=(50, 2), name=False)
        with (
            run_under(name),
            pytest.raises(ValueError, match="the data changed while they were being clustered"),
        ):
            KMeans(3, init=values[:3], persist=False).fit(rows)

    def test_number_of_rows(self):
        """A filter inside of map_blocks leaves the declared chunks too large."""
        rows = da.random.default_rng(0).normal(size=(60, 2), chunks=(20, 2))
        shorter = rows.map_blocks(lambda block: block[:-1], dtype=rows.dtype)
        with pytest.raises(ValueError, match=r"[Bb]lock \d .*19.*20|[Bb]lock \d .*20.*19"):
            KMeans(3, random_state=0).fit(shorter)

    def test_number_of_features(self):
        rows = da.ones((60, 2), chunks=(20, 2)).map_blocks(lambda block: block[:, :1], dtype=float)
        with pytest.raises(
            ValueError, match=r"Block \d of X has shape \(20, 1\), expected \(20, 2"
        ):
            KMeans(3).fit(rows)


class ChangingRows(CountedRows):
    """Rows that are others from the second read on."""

    def __init__(self, first, later):
        super().__init__(first)
        self.later = later

    def __getitem__(self, index):
        values = self.values if not self.reads else self.later
        super().__getitem__(index)
        return values[index]


class TestRange:
    """Values whose squares leave float64, and values among which others are lost."""

    @pytest.mark.parametrize(
        ("value", "message"),
        [(1e200, "squared distances overflow"), (1e-200, "squared distances underflow")],
    )
    def test_squares_that_overflow_or_underflow(self, value, message):
        with pytest.raises(ValueError, match=message):
            KMeans(2).fit(value * np.arange(10.0).reshape(-1, 1))

    def test_fill_values_that_drown_the_rest(self):
        rows = np.random.default_rng(0).normal(size=(1000, 2))
        rows[17, 1] = 9.96921e36
        with pytest.warns(RuntimeWarning, match="column 1 of X holds extreme values"):
            KMeans(2, random_state=0).fit(rows)


@pytest.mark.parametrize("function", [daskmeans.kmeans_plusplus, daskmeans.kmeans_parallel])
class TestSeedingFunctions:
    """They check what the estimator checks."""

    def test_more_clusters_than_rows(self, function):
        with pytest.raises(ValueError, match=r"n_samples=3 should be >= n_clusters=4\."):
            function(np.ones((3, 2)), 4)

    def test_not_finite(self, function):
        with pytest.raises(ValueError, match="Input X contains NaN: block 0, row 0 "):
            function(np.full((3, 2), np.nan), 2)

    def test_number_of_clusters(self, function):
        with pytest.raises(ValueError, match="n_clusters"):
            function(np.ones((3, 2)), 0)

    def test_random_state(self, function):
        with pytest.raises(ValueError, match=r"random_state|cannot be used to seed"):
            function(np.ones((3, 2)), 2, random_state="seed")


def test_parameters_of_parallel_seeding():
    for options in ({"oversampling_factor": -1.0}, {"init_rounds": 0}):
        (name,) = options
        with pytest.raises(ValueError, match=f"The '{name}' parameter of KMeans must be"):
            daskmeans.kmeans_parallel(np.ones((3, 2)), 2, **options)
