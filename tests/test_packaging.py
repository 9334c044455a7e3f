"""What is built works where only what was built is: every module, the types, the commands."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import daskmeans

ROOT = Path(__file__).parents[1]

SMOKE_TEST = """
import numpy as np

import daskmeans
from daskmeans.datasets import make_blobs

print(daskmeans.__file__)
rows = make_blobs(1_000, 3, centers=4, overlap=1e-6, chunks=250)
model = daskmeans.KMeans(4, random_state=0).fit(rows)
assert np.bincount(model.labels_.compute()).min() > 200
for name in daskmeans.__all__:
    getattr(daskmeans, name)
# Without an import of their own.
assert np.isclose(daskmeans.metrics.inertia(rows, model), model.inertia_)
daskmeans.plots, daskmeans.preprocessing.Preprocessor, daskmeans.datasets
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution, and the wheel that is built from it and not from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    # Without isolation: the test needs no network, and hatchling is here.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Folder with the installed wheel alone; what it depends on is that of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(built[1])], check=True)
    return folder


def run_elsewhere(command, installed, folder):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_wheel_holds_the_package_and_nothing_else(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "daskmeans").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "daskmeans/py.typed" in package
    assert {name for name in names if ".dist-info/" not in name} == package


def test_wheel_tells_the_version_of_the_package(built):
    wheel = zipfile.ZipFile(built[1])
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    assert metadata["Version"] == daskmeans.__version__
    assert metadata["License-Expression"] == "BSD-3-Clause"


def test_source_distribution_holds_sources_and_tests(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "environment.yml",
        "pyproject.toml",
        "tests/conftest.py",
        "tests/test_packaging.py",
    } <= names


def test_installed_wheel_fits(installed, tmp_path):
    output = run_elsewhere([sys.executable, "-c", SMOKE_TEST], installed, tmp_path)
    assert Path(output.strip()).is_relative_to(installed)


def test_installed_command_runs(installed, tmp_path):
    command = str(installed / "bin" / "daskmeans")
    assert "predict" in run_elsewhere([sys.executable, command, "--help"], installed, tmp_path)


def test_changelog_begins_with_this_version():
    """Whose number stands once, in daskmeans/version.py."""
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    newest = next(line for line in lines if line.startswith("## "))
    assert newest.startswith(f"## {daskmeans.__version__.partition('.dev')[0]}")
