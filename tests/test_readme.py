"""The README's session gives what it shows, and its commands are the ones that CI runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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


def test_table_is_that_of_the_results():
    """benchmarks/report.py --readme writes it."""
    command = [sys.executable, str(ROOT / "benchmarks" / "report.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_first_screen_holds_picture_commands_and_table():
    first_screen = "\n".join(README.splitlines()[:60])
    assert re.search(r"^!\[.+\]\(.+\.png\)$", first_screen, flags=re.MULTILINE)
    assert all(command in first_screen for command in COMMANDS)
    assert "<!-- benchmark:summary:end -->" in first_screen


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
