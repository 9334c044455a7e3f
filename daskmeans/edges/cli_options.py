"""Options that several commands share: which rows of a store are meant, seeds and outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from daskmeans.blocks.inputs import ArrayLike
from daskmeans.edges.sources import open_rows

_ROW_OPTIONS = (
    click.option("--name", help="Array of a group, dataset or variable of a file."),
    click.option("--columns", help="Columns of Parquet or CSV, separated by commas."),
    click.option("--feature-axis", help="Axis of the features, of more than two: number or name."),
)

# Endings by which somebody may ask for labels in another format than they are written in.
_OTHER_FORMATS = (".csv", ".h5", ".hdf5", ".nc", ".npy", ".npz", ".parquet", ".txt", ".zip")

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="The same number draws the same seeds.",
)


def row_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that `opened_rows` takes."""
    for option in reversed(_ROW_OPTIONS):
        command = option(command)
    return command


def opened_rows(
    store: str, *, name: str | None, columns: str | None, feature_axis: str | None
) -> ArrayLike:
    """Open rows by what the options said.

    Raises
    ------
    RowsError
        As `open_rows`.
    """
    axis: int | str | None = feature_axis
    if feature_axis is not None and feature_axis.removeprefix("-").isdecimal():
        axis = int(feature_axis)
    names = columns.split(",") if columns is not None else None
    return open_rows(store, name, columns=names, feature_axis=axis)


def zarr_name(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a name that says that labels be written in another format than they are."""
    if path is not None and path.suffix.lower() in _OTHER_FORMATS:
        raise click.BadParameter(
            f"labels are written as a Zarr array, not {path.suffix}: give a name such as "
            f"{path.with_suffix('.zarr').name}."
        )
    return path
