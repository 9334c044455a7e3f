"""The README's session gives what it shows, and its commands are the ones that CI runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sessions import failures_of, sessions_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SESSIONS = sessions_of(README)
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    python3 ")]


def steps(command):
    """What a command line runs in its virtual environment, after making it."""
    make, *rest = command.split(" && ")
    assert make == "python3 -m venv .venv"
    assert all(step.startswith(".venv/bin/") for step in rest)
    return [step.removeprefix(".venv/bin/") for step in rest]


def test_sessions_give_what_they_show(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SESSIONS
    for number, session in enumerate(SESSIONS):
        assert failures_of(session, f"session {number}") == ""


def test_first_session_is_at_most_ten_lines():
    assert len(SESSIONS[0].splitlines()) <= 10


def test_first_screen_holds_the_session():
    first_screen = "\n".join(README.splitlines()[:30])
    assert SESSIONS[0] in first_screen


def test_there_are_two_commands_and_each_is_one_line():
    demo, tests = COMMANDS
    assert steps(demo) == ["pip install '.[plot]'", "daskmeans demo"]
    assert steps(tests) == ["pip install '.[test]'", "python -m pytest"]


def test_test_command_is_what_ci_runs():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    ran = [
        line.replace("--quiet ", "").replace('"', "'").removeprefix("python -m pip").strip()
        for line in script.splitlines()
    ]
    install, test = steps(COMMANDS[1])
    assert ran.index(install.removeprefix("pip").strip()) < ran.index(test)
    assert ran[-1] == test


@pytest.mark.parametrize("place", ["start", "end"])
def test_markers_of_the_benchmark_table(place):
    """benchmarks/report.py writes between them."""
    assert README.count(f"<!-- benchmark:peers:{place} -->") == 1
