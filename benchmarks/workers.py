"""The processes that contenders live in, as their parent sees them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contenders import Work

_HERE = Path(__file__).resolve().parent

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

# These hold OpenBLAS to a kernel that is older than the processor.
_KERNEL_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def environment(n_threads: int) -> dict[str, str]:
    """Environment of a process that is measured: its threads, and this checkout on its path."""
    variables = {name: value for name, value in os.environ.items() if name not in _KERNEL_VARIABLES}
    variables.update(dict.fromkeys(_THREAD_VARIABLES, str(n_threads)))
    # This checkout's package is measured, not another one that happens to be installed.
    checkout = str(_HERE.parent)
    path = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    variables["PYTHONPATH"] = os.pathsep.join([checkout, *(p for p in path if p != checkout)])
    return variables


class ContenderMissing(Exception):
    """The contender is not installed for the interpreter that it was to run with."""


class ContenderFailed(Exception):
    """The contender raised an error, or its process ended."""

    def __init__(self, contender: str, reason: str) -> None:
        super().__init__(f"{contender}: {reason}")
        self.contender = contender
        self.reason = reason


class Worker:
    """Process of one contender. It does one thing at a time, when it is asked to.

    Raises
    ------
    ContenderMissing
        If the contender cannot be imported.
    ContenderFailed
        From every method, if the contender does.
    """

    def __init__(self, contender: str, python: str, n_threads: int) -> None:
        self._contender = contender
        self._process = subprocess.Popen(
            [python, str(_HERE / "worker.py"), contender, str(n_threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(n_threads),
            text=True,
        )
        self.description: dict[str, Any] = self._answer()

    def load(self, rows: Path, centers: Path, work: Work) -> dict[str, Any]:
        """Have the worker read the arrays and make its first call."""
        return self._ask(do="load", rows=str(rows), centers=str(centers), work=asdict(work))

    def run(self, save_centers: Path) -> dict[str, Any]:
        """Have the worker fit once: seconds, iterations; the final centers go to a file."""
        return self._ask(do="run", save_centers=str(save_centers))

    def unload(self) -> None:
        """Have the worker let go of the rows."""
        self._ask(do="unload")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()  # closes its standard input, whereupon it ends

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer = json.loads(line)
        if answer["missing"]:
            self.close()
            raise ContenderMissing(answer["missing"])
        if answer["error"]:
            raise ContenderFailed(self._contender, answer["error"])
        return answer["result"]

    def _ended(self) -> ContenderFailed:
        return ContenderFailed(
            self._contender, f"its process ended with code {self._process.wait()}"
        )
