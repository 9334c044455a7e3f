"""A dataset of an HDF5 file by its name, or the only one that can be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daskmeans.blocks.hdf5 import HDF5Dataset, open_file
from daskmeans.edges.named_arrays import chosen_array
from daskmeans.errors import RowsError


def open_hdf5(path: str, name: str | None, *, any_dimensions: bool = False) -> HDF5Dataset:
    """Open a dataset. The file stays open for as long as the result is in use.

    Parameters
    ----------
    path : str
    name : str or None
        None takes the only dataset of numbers with two dimensions.
    any_dimensions : bool, default=False
        Datasets of more than two dimensions can be meant too.

    Raises
    ------
    RowsError
        If the file cannot be read, has no such dataset, or not exactly one that can be meant.
    MissingExtraError
        If h5py is not installed.
    """
    # Absolute, since the workers of a cluster run in folders of their own.
    location = str(Path(path).absolute())
    try:
        opened = open_file(location)
    except FileNotFoundError as error:
        raise RowsError(f"There is nothing at {path}: give the path of an HDF5 file.") from error
    except OSError as error:
        raise RowsError(
            f"{path} cannot be read as HDF5: {error}. If another program writes to it, let that "
            "one close it first."
        ) from error
    datasets: dict[str, Any] = {}

    def collect(found: str, node: Any) -> None:
        # A group has no shape, an empty dataset the shape None.
        if getattr(node, "shape", None) is not None:
            datasets[f"/{found}"] = node

    opened.file.visititems(collect)
    key = None if name is None else "/" + name.strip("/")
    dataset = datasets[chosen_array(datasets, key, path=path, any_dimensions=any_dimensions)]
    return HDF5Dataset(
        location, dataset.name, dataset.shape, dataset.dtype, dataset.chunks
    ).kept_open()
