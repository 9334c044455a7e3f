"""Labels, distances and other dask arrays into a Zarr store."""

from __future__ import annotations

import os
from pathlib import Path

import dask.array as da
import numpy as np
import zarr

from daskmeans.edges.outputs import OutputKind, written_beside
from daskmeans.edges.zarr_rows import open_node
from daskmeans.errors import RowsError


def _is_array(path: Path) -> bool:
    try:
        return isinstance(open_node(path.absolute(), str(path)), zarr.Array)
    except RowsError:
        return False


ZARR_ARRAY = OutputKind("a Zarr array", _is_array)


def write_zarr(array: da.Array, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Compute a dask array chunk by chunk into a Zarr array; nothing is gathered.

    Parameters
    ----------
    array : dask array
        Of known chunks. The Zarr chunks are its own, the largest one along each axis where they
        are irregular.
    path : str or path
        A local path. The array appears there once it is complete.
    overwrite : bool, default=False
        Replace a Zarr array that is there.

    Raises
    ------
    OutputExistsError, OutputError
        See `outputs.check_output`; before anything is computed.
    ValueError
        If sizes of chunks are unknown.
    """
    if np.isnan(array.shape).any():
        raise RowsError(
            f"{os.fspath(path)} cannot be written from blocks of unknown sizes: call "
            "compute_chunk_sizes() on the rows first."
        )
    chunks = tuple(max(1, *sizes) for sizes in array.chunks)
    with written_beside(path, ZARR_ARRAY, overwrite=overwrite) as partial:
        target = zarr.create_array(
            store=str(partial), shape=array.shape, chunks=chunks, dtype=array.dtype
        )
        # Each task owns whole Zarr chunks, so none needs a lock.
        array.rechunk(chunks).store(target, lock=False)
