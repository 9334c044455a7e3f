"""Fields of any dimensions are clustered lazily, and their labels have the fields' coordinates."""

from __future__ import annotations

import sys

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from daskmeans import KMeans, xarray_rows
from daskmeans.errors import MissingExtraError, RowsError

N_TIME, N_LAT, N_LON = 5, 7, 11


@pytest.fixture
def field():
    """Values by time, latitude and longitude, with land where longitude is below 3."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(N_TIME, N_LAT, N_LON)) + 5 * (np.arange(N_LON) > 6)
    values[:, :, :3] = np.nan
    return xr.DataArray(
        values,
        dims=("time", "lat", "lon"),
        coords={
            "time": np.arange(N_TIME) * 10,
            "lat": np.linspace(-60, 60, N_LAT),
            "lon": np.arange(N_LON) * 2.0,
            "region": (("lat", "lon"), np.arange(N_LAT * N_LON).reshape(N_LAT, N_LON)),
        },
        name="warmth",
        attrs={"units": "K"},
    )


@given(
    chunks=st.fixed_dictionaries(
        {"time": st.integers(1, 5), "lat": st.integers(1, 7), "lon": st.integers(1, 11)}
    ),
    order=st.permutations(["lat", "lon"]),
)
def test_lazy_rows_are_those_in_memory(field, chunks, order):
    here = xarray_rows(field, sample_dims=order, mask_missing=True)
    lazy = xarray_rows(field.chunk(chunks), sample_dims=order, mask_missing=True)
    assert isinstance(lazy.rows, da.Array)
    np.testing.assert_array_equal(lazy.rows.compute(), here.rows)
    labels = np.arange(len(here.rows), dtype=np.int32)
    xr.testing.assert_identical(lazy.labels(labels), here.labels(labels))
    expected = field.stack(cell=order).transpose("cell", "time").dropna("cell")
    np.testing.assert_array_equal(here.rows, expected)


@pytest.mark.parametrize("chunks", [None, {"lat": 2}])
def test_labels_have_the_coordinates(field, chunks):
    data = field if chunks is None else field.chunk(chunks)
    cells = xarray_rows(data, feature_dims="time", mask_missing=True)
    model = KMeans(2, random_state=0).fit(cells.rows)
    found = cells.labels(model.labels_)
    assert (found.dims, found.dtype, found.name, found.attrs) == (
        ("lat", "lon"),
        np.int32,
        "labels",
        {},
    )
    assert set(found.coords) == {"lat", "lon", "region"}
    assert (found.chunks is None) == (chunks is None)
    assert (found.sel(lon=slice(0, 4)) == -1).all()
    # Each side of the field is a cluster.
    west, east = found.sel(lon=slice(6, 12)).values, found.sel(lon=slice(14, None)).values
    assert {*west.ravel()} | {*east.ravel()} == {0, 1}
    assert len({*west.ravel()}) == len({*east.ravel()}) == 1
    xr.testing.assert_identical(cells.labels(model.predict(cells.rows)).compute(), found.compute())


def test_nothing_is_computed_before_it_is_asked_for(field):
    computed = []

    def seen(block):
        computed.append(block.shape)
        return block

    data = field.chunk({"lat": 2}).copy(
        data=da.map_blocks(
            seen, field.chunk({"lat": 2}).data, dtype=float, meta=np.empty((0, 0, 0))
        )
    )
    cells = xarray_rows(data, feature_dims="time", mask_missing=True)
    centers = np.zeros((1, N_TIME))
    model = KMeans(1, init=centers, max_iter=1).fit(np.zeros((3, N_TIME)))
    labels = cells.labels(model.predict(cells.rows))
    cells.weights(np.cos(np.deg2rad(field.lat)))
    assert computed == []
    assert labels.compute().shape == (N_LAT, N_LON)


def test_variables_of_a_dataset_are_features(field):
    data = xr.Dataset({"warmth": field, "height": field.isel(time=0, drop=True) * 2})
    cells = xarray_rows(data, mask_missing=True)
    assert cells.rows.shape == (N_TIME * N_LAT * (N_LON - 3), 2)
    assert cells.labels(np.zeros(len(cells.rows), np.int32)).dims == ("time", "lat", "lon")
    by_place = xarray_rows(data, feature_dims="time")
    assert by_place.rows.shape == (N_LAT * N_LON, 2 * N_TIME)
    np.testing.assert_array_equal(by_place.rows[3].reshape(N_TIME, 2)[:, 0], field[:, 0, 3])
    np.testing.assert_array_equal(by_place.rows[3].reshape(N_TIME, 2)[:, 1], 2 * field[0, 0, 3])


def test_all_dimensions_can_be_samples(field):
    cells = xarray_rows(field, feature_dims=())
    np.testing.assert_array_equal(cells.rows, field.values.reshape(-1, 1))


@pytest.mark.parametrize("masked", [False, True])
def test_weights_of_cells(field, masked):
    by_latitude = np.cos(np.deg2rad(field.lat))
    lazy = xarray_rows(field.chunk({"lat": 3}), feature_dims="time", mask_missing=masked)
    here = xarray_rows(field, feature_dims="time", mask_missing=masked)
    expected = np.repeat(by_latitude.values, N_LON - 3 * masked)
    np.testing.assert_array_equal(here.weights(by_latitude), expected)
    np.testing.assert_array_equal(lazy.weights(by_latitude).compute(), expected)
    if masked:
        found = [
            KMeans(3, random_state=0)
            .fit(cells.rows, sample_weight=cells.weights(by_latitude))
            .cluster_centers_
            for cells in (lazy, here)
        ]
        np.testing.assert_array_equal(*found)
    with pytest.raises(RowsError, match=r"dimensions \{'time': 5\}, and the rows \{'lat': 7"):
        here.weights(field.time)


def test_missing_values_that_are_not_masked_are_found(field):
    cells = xarray_rows(field.chunk({"lat": 2}), feature_dims="time")
    with pytest.raises(RowsError, match=r"contains NaN: block 0, row 0 "):
        KMeans(2).fit(cells.rows)
    assert cells.position(N_LON + 2) == {"lat": -40.0, "lon": 4.0}
    masked = xarray_rows(field, feature_dims="time", mask_missing=True)
    with pytest.raises(RowsError, match="row numbers are not those of cells"):
        masked.position(0)


def test_large_blocks_are_cut(field, monkeypatch):
    """A field that is whole along its rows' first dimension would be one block."""
    monkeypatch.setattr("daskmeans.edges.xarray_rows._BLOCK_BYTES", 2 * N_LON * N_TIME * 8)
    cells = xarray_rows(field.chunk({"time": 1}), feature_dims="time")
    assert cells.rows.chunks[0] == (22, 22, 22, 11)


def test_integers_have_no_missing_values():
    image = xr.DataArray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), dims=("y", "x", "band"))
    cells = xarray_rows(image, feature_dims="band", mask_missing=True)
    assert (cells.rows.dtype, cells.kept) == (np.uint8, None)
    assert cells.labels(np.arange(8)).sel(y=1, x=2) == 6
    assert cells.position(6) == {"y": 1, "x": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"have the dimensions \(time, lat, lon\): say by feature_dims"),
        ({"feature_dims": "depth"}, r"feature_dims \(depth\) have to be .* \(time, lat, lon\)"),
        ({"feature_dims": "time", "sample_dims": "lat"}, r"sample_dims \(lat\) and feature_dims"),
        ({"sample_dims": ("lat", "lat"), "feature_dims": ("time", "lon")}, "each once"),
        ({"sample_dims": ()}, "one of samples at least"),
    ],
)
def test_other_dimensions_are_refused(field, options, message):
    with pytest.raises(RowsError, match=message):
        xarray_rows(field, **options)


def test_what_is_no_field_is_refused(field):
    with pytest.raises(RowsError, match="not ndarray: other arrays go into fit"):
        xarray_rows(field.values)
    with pytest.raises(RowsError, match="not numbers: name"):
        xarray_rows(field.to_dataset().assign(name=("lat", ["a"] * N_LAT)))
    with pytest.raises(RowsError, match="needs real numbers"):
        xarray_rows(field.astype(str), feature_dims="time")
    with pytest.raises(RowsError, match="expected one for each of 77 rows"):
        xarray_rows(field, feature_dims="time").labels(np.zeros(3, np.int32))


def test_without_xarray(field, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingExtraError, match=r"needs xarray.*daskmeans\[xarray\]"):
        xarray_rows(field)


def test_synchronous_scheduler_gives_the_same(field):
    cells = xarray_rows(field.chunk({"lon": 2}), feature_dims="time", mask_missing=True)
    expected = KMeans(3, random_state=0).fit(cells.rows)
    with dask.config.set(scheduler="sync"):
        found = KMeans(3, random_state=0).fit(cells.rows)
        xr.testing.assert_identical(
            cells.labels(found.labels_).compute(), cells.labels(expected.labels_).compute()
        )
