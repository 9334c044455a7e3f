"""Rows of an xarray object of any dimensions, and labels of rows back in these dimensions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from daskmeans.errors import RowsError, missing_extra
from daskmeans.preprocessing.put_back import put_back
from daskmeans.typing import Array

if TYPE_CHECKING:
    import xarray

# Blocks of rows that hold more are cut along their first dimension.
_BLOCK_BYTES = 128 << 20
# Dimension of the variables of a Dataset among the features.
_VARIABLES = "variable"


def xarray_rows(
    data: xarray.DataArray | xarray.Dataset,
    *,
    sample_dims: Hashable | Iterable[Hashable] | None = None,
    feature_dims: Hashable | Iterable[Hashable] | None = None,
    mask_missing: bool = False,
) -> XarrayRows:
    """Make rows of a DataArray or a Dataset of any dimensions. What is made of dask stays lazy.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Of numbers. The variables of a Dataset are features, beside `feature_dims`; one that lacks
        a dimension is repeated along it.
    sample_dims : name or sequence of names, optional
        Dimensions that become rows, in C order of the names as given. By default all but
        `feature_dims`.
    feature_dims : name or sequence of names, optional
        Dimensions whose values are the features of a row. By default all but `sample_dims`; of
        neither given, a Dataset has its variables alone, and a DataArray has to be told.
    mask_missing : bool, default=False
        Leave out rows with NaN, for instance land in a field of the sea; their label is -1. How
        many are left is then known once they are read.

    Returns
    -------
    XarrayRows
        Its `rows` go into `fit`, `predict` and the other methods, and its `labels` puts labels
        back.

    Raises
    ------
    RowsError
        If the dimensions are not those of the data, or a variable holds no numbers.
    MissingExtraError
        If xarray is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from daskmeans import KMeans, xarray_rows
    >>> warmth = np.array([[[1.0, 9.0], [1.2, np.nan]], [[0.0, 8.0], [0.2, np.nan]]])
    >>> field = xr.DataArray(
    ...     warmth, dims=("time", "lat", "lon"), coords={"lat": [50.0, 51.0], "lon": [0.0, 1.0]}
    ... )
    >>> cells = xarray_rows(field, feature_dims="time", mask_missing=True)
    >>> cells.rows.tolist()
    [[1.0, 0.0], [9.0, 8.0], [1.2, 0.2]]
    >>> model = KMeans(2, init=[[1.0, 0.0], [9.0, 8.0]]).fit(cells.rows)
    >>> zones = cells.labels(model.labels_)
    >>> zones.sel(lat=51.0).values.tolist()
    [0, -1]
    """
    try:
        import xarray
    except ImportError as error:
        raise missing_extra("xarray", "xarray", "Making rows of xarray objects") from error
    features: tuple[Hashable, ...] = ()
    if isinstance(data, xarray.Dataset):
        array, features = _joined(data), (_VARIABLES,)
        known = tuple(name for name in array.dims if name != _VARIABLES)
        if sample_dims is None and feature_dims is None:
            sample_dims = known
    elif isinstance(data, xarray.DataArray):
        array, known = data, tuple(data.dims)
    else:
        raise RowsError(
            f"xarray_rows takes a DataArray or a Dataset, not {type(data).__name__}: other arrays "
            "go into fit and predict as they are."
        )
    if np.dtype(array.dtype).kind not in "fiub":
        raise RowsError(
            f"The {type(data).__name__} has dtype {array.dtype}, and k-means needs real numbers: "
            "convert it by astype."
        )
    samples, chosen = _split(known, sample_dims, feature_dims)
    template = array.isel(dict.fromkeys((*chosen, *features), 0), drop=True).transpose(*samples)
    arranged = array.transpose(*samples, *chosen, *features)
    rows = _as_rows(arranged.data, len(samples))
    if not mask_missing or rows.dtype.kind != "f":
        return XarrayRows(rows, None, template)
    if not isinstance(rows, da.Array):
        kept = _has_all(rows)
        return XarrayRows(rows[kept], kept, template)
    kept = da.map_blocks(
        _has_all, rows, drop_axis=1, dtype=bool, meta=np.empty(0, bool), token="kmeans-kept"
    )
    return XarrayRows(_selected(rows, kept), kept, template)


@dataclass(frozen=True)
class XarrayRows:
    """Rows out of an xarray object, and the way back; made by `xarray_rows`.

    Attributes
    ----------
    rows : ndarray or dask array of shape (n, d)
        Of all cells, or of those without NaN.
    kept : ndarray or dask array of shape (n_cells,), bool, or None
        Which cells are among the rows; None for all.
    """

    rows: Any
    kept: Any
    _template: xarray.DataArray

    def labels(self, labels: Any, *, name: str = "labels") -> xarray.DataArray:
        """Put labels, or other numbers that are one a row, back into the data's dimensions.

        Parameters
        ----------
        labels : ndarray or dask array of shape (n,), int
            Of `rows`, for instance `labels_` or what `predict` gives.
        name : str, default="labels"

        Returns
        -------
        xarray.DataArray
            With the sample dimensions and their coordinates; -1 in cells that were left out. Lazy
            if labels are.

        Raises
        ------
        RowsError
            If there is not one label a row.
        """
        kept = self.kept
        if kept is not None:
            if isinstance(kept, da.Array) and not isinstance(labels, da.Array):
                kept = kept.compute()
            labels = put_back(labels, kept)
        shape = self._template.shape
        if labels.ndim != 1 or labels.shape[0] != math.prod(shape):
            raise RowsError(
                f"labels of shape {labels.shape}, expected one for each of {math.prod(shape)} rows."
            )
        return self._template.copy(data=labels.reshape(shape)).rename(name).drop_attrs()

    def weights(self, weights: xarray.DataArray) -> Any:
        """Return weights of cells as `sample_weight` of the rows.

        Parameters
        ----------
        weights : xarray.DataArray
            With some of the sample dimensions, for instance the cosine of the latitude; it is
            repeated along the others.

        Returns
        -------
        ndarray or dask array of shape (n,)
            Lazy if the rows are.

        Raises
        ------
        RowsError
            If it has another dimension, or another size of one.
        """
        sizes = dict(self._template.sizes)
        if any(sizes.get(name) != size for name, size in weights.sizes.items()):
            raise RowsError(
                f"weights have the dimensions {dict(weights.sizes)}, and the rows {sizes}: only "
                "these can be among them, of the same sizes."
            )
        missing = [name for name in sizes if name not in weights.dims]
        arranged = weights.expand_dims(missing).transpose(*sizes).data
        shape = self._template.shape
        if not isinstance(self.rows, da.Array):
            repeated = np.broadcast_to(arranged, shape).reshape(-1)
            return repeated if self.kept is None else repeated[self.kept]
        chunks = (self.rows if self.kept is None else self.kept).chunks[0]
        flat = da.broadcast_to(da.asarray(arranged), shape).reshape(-1).rechunk((chunks,))
        return flat if self.kept is None else _selected(flat, self.kept)

    def position(self, row: int) -> dict[Hashable, Any]:
        """Return where a row is, by the number that an error gives it.

        Parameters
        ----------
        row : int

        Returns
        -------
        dict
            For each sample dimension its coordinate, or where there is none the position along it.

        Raises
        ------
        RowsError
            If rows were left out: their numbers are known once all are read.
        """
        if self.kept is not None:
            raise RowsError(
                "Rows with NaN were left out, so row numbers are not those of cells: ask rows that "
                "were made with mask_missing=False."
            )
        template = self._template
        found = np.unravel_index(row, template.shape)
        return {
            name: template[name].values[place] if name in template.coords else int(place)
            for name, place in zip(template.dims, found, strict=True)
        }


def _joined(data: xarray.Dataset) -> xarray.DataArray:
    """Return the variables of a Dataset as one array."""
    unfit = [str(name) for name, each in data.data_vars.items() if each.dtype.kind not in "fiub"]
    if unfit or not data.data_vars:
        raise RowsError(
            f"The Dataset has variables that are not numbers: {', '.join(unfit)}. Select others: "
            "dataset[['name', ...]]."
            if unfit
            else "The Dataset has no variables."
        )
    if _VARIABLES in data.dims:
        raise RowsError(f"The Dataset has a dimension {_VARIABLES!r}: rename it.")
    return data.to_array(_VARIABLES)


def _names(given: Any) -> tuple[Hashable, ...]:
    return (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)


def _split(
    known: tuple[Hashable, ...], sample_dims: Any, feature_dims: Any
) -> tuple[tuple[Hashable, ...], tuple[Hashable, ...]]:
    """Return the dimensions of samples and of features."""
    if sample_dims is None and feature_dims is None:
        raise RowsError(
            f"The data have the dimensions {_told(known)}: say by feature_dims or sample_dims "
            "which of them hold the features of a row."
        )
    features = None if feature_dims is None else _names(feature_dims)
    if sample_dims is None:
        samples = tuple(name for name in known if name not in (features or ()))
    else:
        samples = _names(sample_dims)
    if features is None:
        features = tuple(name for name in known if name not in samples)
    if sorted(map(str, (*samples, *features))) != sorted(map(str, known)) or not samples:
        raise RowsError(
            f"sample_dims {_told(samples)} and feature_dims {_told(features)} have to be the "
            f"dimensions of the data, {_told(known)}, each once, and one of samples at least."
        )
    return samples, features


def _told(names: Iterable[Hashable]) -> str:
    return "(" + ", ".join(map(str, names)) + ")"


def _as_rows(array: Any, n_sample_dims: int) -> Any:
    """Return an array, dimensions of samples first, as rows."""
    shape = (math.prod(array.shape[:n_sample_dims]), math.prod(array.shape[n_sample_dims:]))
    if not isinstance(array, da.Array):
        return np.asarray(array).reshape(shape)
    # Rows of a block are a run of rows: whole beyond the first dimension.
    whole = dict.fromkeys(range(1, array.ndim), -1)
    one = math.prod(array.shape[1:]) * array.dtype.itemsize
    first = max(array.chunks[0], default=0)
    if first * one > _BLOCK_BYTES:
        first = max(1, _BLOCK_BYTES // max(1, one))
        whole[0] = min(first, array.shape[0])
    return array.rechunk(whole).reshape(shape)


def _has_all(rows: Array) -> Array:
    """Tell which rows have no NaN."""
    return np.asarray(~np.isnan(rows).any(axis=1))


def _selected(array: da.Array, kept: da.Array) -> da.Array:
    """Leave out rows, block by block; how many are left is not known before."""
    return da.map_blocks(
        _kept_of,
        array,
        kept if array.ndim == 1 else kept[:, None],
        chunks=((np.nan,) * array.numblocks[0], *array.chunks[1:]),
        dtype=array.dtype,
        meta=np.empty((0,) * array.ndim, array.dtype),
        token="kmeans-selected",
    )


def _kept_of(block: Array, kept: Array) -> Array:
    selected: Array = block[kept.reshape(-1)]
    return selected
