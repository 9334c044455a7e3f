"""Rows by path: the one function that opens every format, which decides on the format alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any

import dask
import numpy as np

from daskmeans.blocks.inputs import ArrayLike
from daskmeans.edges.feature_axis import check_rows_of, flattened, row_axis
from daskmeans.edges.zarr_folders import is_zarr
from daskmeans.errors import RowsError

# The modules of the formats are imported once a path asks for them: the packages that they need
# take longer to load than all of this package, or are not installed.

_TABLES = ("Parquet", "CSV")
# By the endings of names.
FORMATS = {
    ".npy": "NumPy",
    ".npz": "NumPy archive",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".parquet": "Parquet",
    ".parq": "Parquet",
    ".pq": "Parquet",
    ".csv": "CSV",
    ".nc": "NetCDF",
    ".zarr": "Zarr",
    ".zip": "Zarr",
}


def open_rows(
    path: str | os.PathLike[str] | Any,
    name: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    feature_axis: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> ArrayLike:
    """Open rows for `KMeans.fit`, `predict` and the other methods, without reading them.

    Parameters
    ----------
    path : str, path or Zarr store object
        By its ending:

        - Zarr, format 2 or 3: a folder (``rows.zarr``), a zip archive (``rows.zip``), a URL of any
          file system that fsspec knows (``s3://bucket/rows.zarr``), or a store object.
          ``store.zarr/group/array`` is an array in a group.
        - HDF5: ``file.h5`` or ``file.hdf5``, ``file.h5::/group/dataset``. A file of any other
          ending is read as HDF5 too where ``::`` follows it.
        - NumPy: ``rows.npy``, mapped into memory.
        - Parquet: a file (``.parquet``, ``.parq``, ``.pq``), a folder of them, a pattern
          (``part-*.parquet``) or a URL of these.
        - CSV: a file (``.csv``), a pattern or a URL. Its first line names the columns.
        - NetCDF: ``field.nc``.
    name : str, optional
        The array in a Zarr group, the dataset of an HDF5 file, or the variable of a NetCDF file.
        The latter two need none if only one can be meant.
    columns : sequence of str, optional
        Columns of Parquet and CSV, in this order. By default all integers and floats, in the order
        of the file: flags, text, dates and categories are left out.
    feature_axis : int or str, optional
        Of an array with any number of dimensions, the number or the name of the axis that holds
        the features. The others become rows, in C order. Needed for more than two dimensions.
    storage_options : mapping, optional
        What fsspec passes to the file system of a URL, for instance ``{"anon": True}``.

    Returns
    -------
    rows : zarr.Array, HDF5Dataset, numpy.memmap, dask DataFrame, xarray.DataArray or dask array
        What the format is read by; a dask array if `feature_axis` moved axes.

    Raises
    ------
    RowsError
        If there is nothing, or nothing that k-means can take. The text names what there is.
    MissingExtraError
        If the format needs a package that is not installed.

    Notes
    -----
    Only metadata are read, and of CSV the first lines, for the columns' types.

    An HDF5 file stays open as long as the rows do, for all threads of the process, and HDF5 lets
    nobody write to an open file: ``del rows`` closes it.

    NetCDF variables, and Zarr arrays that xarray wrote with a scale, an offset or a fill value,
    are opened by xarray: missing values are NaN, and packed numbers unpacked.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from daskmeans import KMeans, open_rows
    >>> path = tempfile.mkdtemp() + "/image.npy"
    >>> np.save(path, np.arange(24.0).reshape(3, 4, 2))
    >>> pixels = open_rows(path, feature_axis=-1)
    >>> pixels.shape
    (12, 2)
    >>> KMeans(2, random_state=0).fit(pixels).cluster_centers_.shape
    (2, 2)
    """
    if not isinstance(path, (str, os.PathLike)):
        if hasattr(path, "shape") or dask.is_dask_collection(path):
            raise RowsError(
                f"X is a {type(path).__name__}, which fit and predict take as it is: open_rows "
                "opens paths, URLs and Zarr stores."
            )
        _refuse("a Zarr store object", columns=columns, storage_options=storage_options)
        return _zarr_rows(path, name, feature_axis, None)
    text = os.fspath(path)
    if name is None and "::" in text and "://" not in text:
        text, _, name = text.rpartition("::")
        kind = "HDF5"
    else:
        kind = _format_of(text)
    if "://" not in text:
        _refuse(f"{text}, which is no URL", storage_options=storage_options)
    elif kind not in ("Zarr", *_TABLES):
        raise RowsError(
            f"{text} is a URL, and {kind} is read from local files only: download it first, or "
            "convert it to Zarr."
        )
    if kind in _TABLES:
        _refuse(f"{text}, which is {kind}", name=name, feature_axis=feature_axis)
        return _table(kind, text, columns, storage_options)
    _refuse(f"{text}, which is {kind}", columns=columns)
    if kind == "Zarr":
        return _zarr_rows(text, name, feature_axis, storage_options)
    if kind == "HDF5":
        return _hdf5_rows(text, name, feature_axis)
    if kind == "NetCDF":
        return _netcdf_rows(text, name, feature_axis)
    _refuse(f"{text}, which is {kind}", name=name)
    return _numpy_rows(text, feature_axis)


def _format_of(text: str) -> str:
    """Return the format by the ending of the path, and that of a folder by what is in it."""
    local = "://" not in text
    if local and Path(text).is_dir():
        path = Path(text)
        holds_parquet = any(FORMATS.get(file.suffix) == "Parquet" for file in path.iterdir())
        return "Parquet" if holds_parquet and not is_zarr(path) else "Zarr"
    kind = FORMATS.get(Path(text.rstrip("/")).suffix.lower(), "Zarr")
    if kind == "NumPy archive":
        raise RowsError(
            f"{text} is an archive of arrays, which cannot be read in parts: save the array of "
            "rows by numpy.save as .npy, or as Zarr."
        )
    if local and kind not in ("Zarr", *_TABLES) and not Path(text).exists():
        raise RowsError(f"There is nothing at {text}: give the path of a {kind} file.")
    if local and kind == "Zarr" and has_magic(text) and not Path(text).exists():
        raise RowsError(
            f"{text} is a pattern of several files, which are read of Parquet and CSV only: its "
            "ending has to be .parquet or .csv."
        )
    if local and Path(text).is_file() and Path(text).suffix.lower() not in FORMATS:
        raise RowsError(
            f"{text} is a file of a format that cannot be told by its ending: "
            f"{', '.join(FORMATS)} can be. Follow it by ::/dataset if it is HDF5."
        )
    return kind


def _refuse(path: str, **options: Any) -> None:
    """Raise for an option that the format has no use for."""
    for option, value in options.items():
        if value is not None:
            raise RowsError(f"{option}={value!r} does not apply to {path}: leave it out.")


def _label(path: str, name: str | None) -> str:
    return path if name is None else f"{path}::{name}"


def _zarr_rows(
    store: Any,
    name: str | None,
    feature_axis: int | str | None,
    storage_options: Mapping[str, Any] | None,
) -> ArrayLike:
    import zarr

    from daskmeans.edges.zarr_rows import dimension_names, open_zarr

    array = open_zarr(store, name, storage_options)
    where = store if isinstance(store, str) else str(array)
    where = f"{where.rstrip('/')}/{name}" if name and isinstance(store, str) else where
    if not isinstance(array, zarr.Array):
        return _variable_rows(array, feature_axis, where)
    axis = check_rows_of(array, feature_axis, where=where, dimensions=dimension_names(array))
    return flattened(array, axis)


def _hdf5_rows(path: str, name: str | None, feature_axis: int | str | None) -> ArrayLike:
    from daskmeans.edges.hdf5_rows import open_hdf5

    if Path(path).is_dir():
        raise RowsError(
            f"{path} is a folder, and :: asks for a dataset of an HDF5 file. An array of a Zarr "
            f"group is {path.rstrip('/')}/name."
        )
    dataset = open_hdf5(path, name, any_dimensions=feature_axis is not None)
    axis = check_rows_of(dataset, feature_axis, where=_label(path, dataset.name))
    return flattened(dataset, axis)


def _netcdf_rows(path: str, name: str | None, feature_axis: int | str | None) -> ArrayLike:
    from daskmeans.edges.netcdf_rows import open_netcdf

    variable = open_netcdf(path, name, any_dimensions=feature_axis is not None)
    return _variable_rows(variable, feature_axis, f"the variable {variable.name} of {path}")


def _variable_rows(variable: Any, feature_axis: int | str | None, where: str) -> ArrayLike:
    from daskmeans.edges.netcdf_rows import chunked

    dimensions = [str(name) for name in variable.dims]
    axis = check_rows_of(variable, feature_axis, where=where, dimensions=dimensions)
    return flattened(chunked(variable, row_axis(axis)), axis)


def _numpy_rows(path: str, feature_axis: int | str | None) -> ArrayLike:
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        # NumPy takes a file without its signature for a pickle, and advises to load that.
        reason = str(error) if _begins_like_numpy(path) else "it is not what numpy.save writes"
        raise RowsError(
            f"{path} cannot be mapped into memory: {reason}. Save the rows by numpy.save, as an "
            "array of numbers."
        ) from error
    return flattened(array, check_rows_of(array, feature_axis, where=path))


def _begins_like_numpy(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX


def _table(
    kind: str,
    path: str,
    columns: Sequence[str] | None,
    storage_options: Mapping[str, Any] | None,
) -> ArrayLike:
    from daskmeans.edges.tables import open_csv, open_parquet

    # Absolute, since the workers of a cluster run in folders of their own.
    location = path if "://" in path else str(Path(path).absolute())
    return (open_csv if kind == "CSV" else open_parquet)(location, columns, storage_options)
