"""The command line: demo, run, fit, stream, predict, info."""

from __future__ import annotations

import click

from daskmeans.edges.cli_fit import fit, predict
from daskmeans.edges.cli_info import info
from daskmeans.edges.cli_run import demo, run
from daskmeans.edges.cli_stream import stream
from daskmeans.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
@click.version_option(__version__, prog_name="daskmeans")
def main(debug: bool) -> None:
    """k-means on Zarr stores, HDF5 files and tables of any size."""


for command in (demo, run, fit, stream, predict, info):
    main.add_command(command)
