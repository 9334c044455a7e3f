"""The process that one contender lives in: requests on standard input, answers on standard output.

Needs no more than NumPy and the contender, so that a peer may live in an environment of its own.
One request and one answer are a line of JSON each. `workers.py` is the other end.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import contenders
import machine


class Session:
    """One contender, the rows that it holds, and what is done with them on request."""

    def __init__(self, contender_name: str, n_threads: int) -> None:
        start = time.perf_counter()
        self._contender = contenders.load(contender_name)
        self._import_s = time.perf_counter() - start
        self._n_threads = n_threads
        self._prepared: Any = None
        self._centers: NDArray[Any]
        self._work: contenders.Work

    def describe(self) -> dict[str, Any]:
        return {
            "dtypes": self._contender.DTYPES,
            "has_tolerance": self._contender.HAS_TOLERANCE,
            "import_s": self._import_s,
            "versions": machine.versions(self._contender.PACKAGES),
        }

    def load(self, rows: str, centers: str, work: dict[str, Any]) -> dict[str, Any]:
        """Read the rows and call the contender once, which compiles and starts what it needs to."""
        self._prepared = self._contender.prepare(np.load(rows), self._n_threads)
        self._centers = np.load(centers)
        self._work = contenders.Work(**work)
        first_call_s, fitted = self._timed_fit(1)
        return {
            "first_call_s": first_call_s,
            "n_iter": int(fitted.n_iter),
            "blas": machine.blas_kernels(),
        }

    def run(self, save_centers: str) -> dict[str, Any]:
        seconds, fitted = self._timed_fit(self._work.fits_in_a_row)
        np.save(save_centers, np.asarray(fitted.centers))
        return {"seconds": seconds, "n_iter": int(fitted.n_iter)}

    def unload(self) -> None:
        self._prepared = None
        gc.collect()

    def _timed_fit(self, n_fits: int) -> tuple[float, contenders.Fitted]:
        # Copies: nothing that a fit does to its argument can reach the next one.
        copies = [self._centers.copy() for _ in range(n_fits)]
        gc.collect()
        start = time.perf_counter()
        for centers in copies:
            fitted = self._contender.fit(self._prepared, centers, self._work, self._n_threads)
        return (time.perf_counter() - start) / n_fits, fitted


def _serve(contender_name: str, n_threads: int) -> None:
    # Answers keep the pipe to themselves: what a library prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(result: Any = None, error: str | None = None, missing: str | None = None) -> None:
        line = {"result": result, "error": error, "missing": missing}
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    try:
        session = Session(contender_name, n_threads)
    except ImportError as error:
        answer(missing=str(error))
        return
    answer(session.describe())

    requests: dict[str, Callable[..., Any]] = {
        "load": session.load,
        "run": session.run,
        "unload": session.unload,
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(requests[request.pop("do")](**request))
        except Exception as error:
            answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
