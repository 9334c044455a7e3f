"""A type checker passes a user's correct program, and finds the mistakes of a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

import daskmeans

PROGRAMS = Path(__file__).parent / "typing"

# Strict, as a user may have it. The package itself is checked by `mypy` without arguments.
CONFIGURATION = """
[mypy]
strict = true
python_version = 3.11
[mypy-daskmeans.*]
follow_imports = silent
[mypy-sklearn.*]
ignore_missing_imports = true
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What mypy says of both programs: (name of the file, line, code), and its whole output."""
    folder = tmp_path_factory.mktemp("mypy")
    (folder / "mypy.ini").write_text(CONFIGURATION)
    programs = [str(PROGRAMS / "user.py"), str(PROGRAMS / "wrong.py")]
    with pytest.MonkeyPatch.context() as patch:
        # The package that the tests import, installed or not.
        patch.setenv("MYPYPATH", str(Path(daskmeans.__file__).parents[1]))
        patch.chdir(folder)
        output, trouble, _ = api.run(
            ["--config-file", "mypy.ini", "--cache-dir", "cache", *programs]
        )
    assert not trouble
    pattern = r"(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$"
    lines = re.findall(pattern, output, flags=re.MULTILINE)
    return {(name, int(line), code) for name, line, code in lines}, output


def test_nothing_is_wrong_in_the_users_program(found):
    errors, output = found
    assert [error for error in errors if error[0] == "user.py"] == [], output


def test_each_mistake_is_found_where_it_is(found):
    errors, output = found
    source = (PROGRAMS / "wrong.py").read_text().splitlines()
    expected = {
        ("wrong.py", number, line.rpartition("# error: ")[2])
        for number, line in enumerate(source, 1)
        if line.startswith("    ") and "# error: " in line
    }
    assert len(expected) >= 15
    assert {error for error in errors if error[0] == "wrong.py"} == expected, output


def test_package_says_that_it_is_typed():
    assert (Path(daskmeans.__file__).parent / "py.typed").exists()
