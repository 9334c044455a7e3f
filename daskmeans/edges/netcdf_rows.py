"""Variables as xarray decodes them: of NetCDF files, and of packed or masked Zarr arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskmeans.blocks.stores import unchunked_unit
from daskmeans.edges.named_arrays import chosen_array
from daskmeans.errors import RowsError, missing_extra

if TYPE_CHECKING:
    import xarray

_HDF5_MAGIC = b"\x89HDF"


def _open_dataset(source: Any, **options: Any) -> xarray.Dataset:
    try:
        import xarray
    except ImportError as error:
        raise missing_extra("xarray", "xarray", "Reading NetCDF or a packed array") from error
    # Times stay the numbers that are stored, for k-means takes no dates. Nothing is cached: what
    # xarray keeps of a variable that was read would be all of it.
    return xarray.open_dataset(
        source, chunks=None, cache=False, decode_times=False, decode_timedelta=False, **options
    )


def open_netcdf(path: str, name: str | None, *, any_dimensions: bool = False) -> xarray.DataArray:
    """Open a variable of a NetCDF file, not cut into chunks yet.

    Parameters
    ----------
    path : str
    name : str or None
        None takes the only variable of numbers with two dimensions.
    any_dimensions : bool, default=False
        Variables of more than two dimensions can be meant too.

    Raises
    ------
    RowsError
        If the file cannot be read, has no such variable, or not exactly one that can be meant.
    MissingExtraError
        If xarray is not installed, or for NetCDF-4 neither h5netcdf nor netCDF4.
    """
    location = os.path.abspath(path)
    if not Path(location).is_file():
        raise RowsError(f"There is nothing at {path}: give the path of a NetCDF file.")
    try:
        dataset = _open_dataset(location)
    except (OSError, ValueError, TypeError) as error:
        with open(location, "rb") as file:
            is_hdf5 = file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC
        if is_hdf5 and not _reads_netcdf4():
            raise missing_extra("h5netcdf", "xarray", f"Reading {path}, NetCDF-4,") from error
        raise RowsError(f"{path} cannot be read as NetCDF: {error}") from error
    variables = dict(dataset.data_vars.items()) if name is None else dict(dataset.variables.items())
    named = {str(key): variable for key, variable in variables.items()}
    return dataset[chosen_array(named, name, path=path, any_dimensions=any_dimensions)]


def _reads_netcdf4() -> bool:
    from xarray.backends import list_engines

    return not {"h5netcdf", "netcdf4"}.isdisjoint(list_engines())


def open_packed(
    store: Any, path: str, *, zarr_format: int, storage_options: dict[str, Any] | None
) -> xarray.DataArray:
    """Open a Zarr array whose numbers stand for others, not cut into chunks yet.

    Parameters
    ----------
    store : zarr store, path or URL
        The group or one above it.
    path : str
        The array inside the store.
    zarr_format : int
    storage_options : dict or None
    """
    group, _, name = path.rpartition("/")
    dataset = _open_dataset(
        store,
        engine="zarr",
        group=group or None,
        consolidated=False,
        zarr_format=zarr_format,
        storage_options=storage_options,
    )
    return dataset[name]


def chunked(variable: xarray.DataArray, axis: int) -> xarray.DataArray:
    """Cut a variable along one axis, in whole storage chunks."""
    encoding = variable.encoding
    storage = encoding.get("shards") or encoding.get("chunks") or encoding.get("chunksizes")
    unit = int(storage[axis]) if storage else unchunked_unit(variable, axis)
    return variable.chunk(
        {name: unit if number == axis else -1 for number, name in enumerate(variable.dims)}
    )
