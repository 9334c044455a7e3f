"""environment.yml asks for what pyproject.toml asks for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

# Where conda-forge's name is another one.
CONDA_NAMES = {"build": "python-build", "matplotlib": "matplotlib-base"}


def expanded(requirements, extras):
    """Requirements with the project's own extras, such as daskmeans[plot], spelled out."""
    for text in requirements:
        requirement = Requirement(text)
        if requirement.name == "daskmeans":
            for extra in requirement.extras:
                yield from expanded(extras[extra], extras)
        else:
            yield requirement


def conda_specs(requirement):
    """One requirement in conda's words: name and version of each package."""
    name = canonicalize_name(requirement.name)
    yield CONDA_NAMES.get(name, name), str(requirement.specifier)
    # conda knows no extras. Its dask brings what dask's other extras need, and distributed is
    # released along with dask, under the same number.
    if name == "dask" and "distributed" in requirement.extras:
        yield "distributed", str(requirement.specifier)
    if name == "pyspark":
        # Java, in versions that Spark 4 runs on. pip has none: it is the machine's there.
        yield "openjdk", str(Requirement("openjdk>=17,<22").specifier)
        if "connect" in requirement.extras:
            for each in ("googleapis-common-protos", "grpcio", "grpcio-status", "zstandard"):
                yield each, ""


def test_environment_equals_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {("python", project["requires-python"]), ("pip", "")}
    for requirement in expanded([*project["dependencies"], *extras["test"]], extras):
        wanted.update(conda_specs(requirement))

    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    # pip's own packages come as a mapping at the end.
    *by_conda, by_pip = environment["dependencies"]
    listed = [Requirement(text) for text in [*by_conda, *by_pip["pip"]]]
    found = {(requirement.name, str(requirement.specifier)) for requirement in listed}

    assert found == wanted
    assert len(listed) == len(found), "a package is listed twice"
