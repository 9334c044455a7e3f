"""Labels, distances and other dask arrays into a Zarr store, chunk by chunk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr

from daskmeans.edges.outputs import OutputKind, check_output, put_in_place
from daskmeans.edges.zarr_layout import Layout
from daskmeans.edges.zarr_partial import PartialStore, sole_writer
from daskmeans.edges.zarr_rows import open_node
from daskmeans.errors import RowsError
from daskmeans.passes.reports import compute_counted
from daskmeans.passes.tally import Tally
from daskmeans.typing import Array


def _is_array(path: Path) -> bool:
    try:
        return isinstance(open_node(path.absolute(), str(path)), zarr.Array)
    except RowsError:
        return False


ZARR_ARRAY = OutputKind("a Zarr array", _is_array)


def write_zarr(
    array: da.Array | Array, path: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Compute a dask array chunk by chunk into a Zarr array; nothing is gathered.

    The array appears at `path` once it is whole. A run that fails or is killed keeps what it wrote
    in a hidden folder beside `path`; the same call, in another process too, computes only what is
    missing. The same means an array of the same name and chunks: dask names arrays after what they
    are computed from. Of rows in a local store that is the path and when its metadata were
    written, and not what was written into its chunks since.

    Parameters
    ----------
    array : dask array or ndarray
        Of known chunks; of an ndarray dask chooses them. The Zarr chunks are its own, the largest
        one along each axis where they are irregular; more than 100,000 are put together in shards.
    path : str or path
        A local path.
    overwrite : bool, default=False
        Replace a Zarr array that is there.

    Raises
    ------
    OutputExistsError, OutputError
        See `outputs.check_output`, or if another run writes there: before anything is computed.
        Later if a chunk cannot be written, for instance on a full disk.
    ValueError
        If sizes of chunks are unknown, or rows cannot be read.

    Examples
    --------
    >>> import dask.array as da, tempfile, zarr
    >>> path = tempfile.mkdtemp() + "/labels.zarr"
    >>> write_zarr(da.arange(6, chunks=2), path)
    >>> zarr.open_array(path, mode="r")[:]
    array([0, 1, 2, 3, 4, 5])
    """
    name = os.fspath(path)
    # Labels of rows in memory are an ndarray.
    lazy: da.Array = da.from_array(array) if isinstance(array, np.ndarray) else array
    if np.isnan(lazy.shape).any():
        raise RowsError(
            f"{name} cannot be written from blocks of unknown sizes: call "
            "compute_chunk_sizes() on the rows first."
        )
    target = check_output(path, ZARR_ARRAY, overwrite=overwrite)
    store = PartialStore(target, name, Layout.of(lazy), lazy.name)
    with sole_writer(target, name):
        store.prepare()
        try:
            _write_missing(lazy, store)
            put_in_place(store.folder, path, target, ZARR_ARRAY, overwrite=overwrite)
        except BaseException as error:
            _tell_what_is_kept(error, store)
            raise


def _write_missing(array: da.Array, store: PartialStore) -> None:
    # Each task owns whole files, so none needs a lock.
    blocks = array.rechunk(store.layout.unit)
    written = blocks.map_blocks(
        _write_block,
        store=store,
        opened=store.open(),
        dtype=bool,
        meta=np.empty((0,) * array.ndim, bool),
    ).to_delayed()
    missing = [written[coordinates] for coordinates in store.missing()]
    tally = Tally.of_parts("kmeans-write", len(missing))
    compute_counted(missing, tally)
    if tally is not None:
        tally.finish()
    try:
        complete = not store.missing()
    except (OSError, ValueError) as error:
        raise store.vanished() from error
    if not complete:
        raise store.vanished()


def _write_block(
    values: Array, *, store: PartialStore, opened: zarr.Array[Any], block_id: tuple[int, ...]
) -> None:
    store.write(opened, block_id, values)


def _tell_what_is_kept(error: BaseException, store: PartialStore) -> None:
    """Say in an error's notes how far the writing came; keep no folder that holds nothing."""
    try:
        n_missing = len(store.missing())
    except (OSError, ValueError):
        return
    n_files = sum(1 for _ in store.layout.coordinates())
    if n_missing == n_files:
        store.discard()
        return
    error.add_note(
        f"{n_files - n_missing} of {n_files} chunks of {store.name} are written and kept: "
        "the same call goes on from there."
    )
