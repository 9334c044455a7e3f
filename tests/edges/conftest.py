"""Rows in a Zarr store, and the command line as a user has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

import daskmeans
from daskmeans.edges.cli import main


@pytest.fixture
def rows():
    """Rows (523, 3) around four points."""
    generator = np.random.default_rng(3)
    middles = generator.uniform(-10, 10, (4, 3))
    return middles[generator.integers(4, size=523)] + generator.normal(size=(523, 3))


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """Work in an empty folder, by relative paths as users do."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(in_folder, rows):
    """Name of a Zarr store of the rows, in chunks of 100."""
    zarr.create_array(in_folder / "rows.zarr", data=rows, chunks=(100, 3))
    return "rows.zarr"


@pytest.fixture
def field(in_folder):
    """Name of a Zarr group with arrays of two and three dimensions."""
    group = zarr.open_group(in_folder / "field.zarr", mode="w")
    group.create_array("wind", data=np.ones((7, 2)))
    group.create_group("deep").create_array("cube", data=np.ones((3, 5, 7)))
    (in_folder / "field.zarr" / "notes.txt").touch()
    return "field.zarr"


@pytest.fixture
def damaged(in_folder, rows):
    """Name of a Zarr store of the rows whose fourth chunk is not what its codec wrote."""
    zarr.create_array(in_folder / "damaged.zarr", data=rows, chunks=(100, 3))
    (in_folder / "damaged.zarr" / "c" / "3" / "0").write_bytes(b"not compressed data")
    return "damaged.zarr"


@pytest.fixture
def run():
    """Run a command that has to succeed; its output."""

    def run(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def fails():
    """Run a command that has to fail as users should see it: one line, exit code 1; the line."""

    def fails(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: ")
        return line

    return fails


@pytest.fixture
def start():
    """Start a command in a process of its own."""
    processes = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "daskmeans", *map(str, arguments)],
            # The folder is another one than the tests', from where the package need not be found.
            env={**os.environ, "PYTHONPATH": str(Path(daskmeans.__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
