"""Fits in turn, A B A B: ours and one peer after the other on one cell."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import costs
from contenders import OURS, Work
from data import Cell
from limits import measure_in_child
from results import CellResult, Outcome
from workers import ContenderFailed, ContenderMissing, Worker

# Threads of OpenMP and OpenBLAS spin for up to 200 ms after their work, on cores that the next
# contender needs.
_REST_S = 0.3


@dataclass(frozen=True)
class Plan:
    """What is the same for all cells."""

    peers: tuple[str, ...]
    n_threads: int
    n_pairs: int
    work: Work


class Crew:
    """The contenders' processes, each started when it is first needed and kept."""

    def __init__(self, pythons: dict[str, str], n_threads: int) -> None:
        self.about: dict[str, dict[str, Any]] = {}
        self._pythons = pythons
        self._n_threads = n_threads
        self._workers: dict[str, Worker] = {}

    def worker(self, name: str) -> Worker:
        """The process of a contender. Raises what starting it raises."""
        if name not in self._workers:
            python = self._pythons.get(name, sys.executable)
            try:
                worker = Worker(name, python, self._n_threads)
            except ContenderMissing:
                self.about[name] = {"problem": "not installed"}
                raise
            except ContenderFailed as error:
                self.about[name] = {"problem": f"failed: {error.reason}"}
                raise
            self._workers[name] = worker
            self.about[name] = {"problem": None, "blas": [], **worker.description}
        return self._workers[name]

    def discard(self, name: str) -> None:
        """End a process: the next one to ask for this contender gets a new one."""
        if name in self._workers:
            self._workers.pop(name).close()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exception: object) -> None:
        for name in list(self._workers):
            self.discard(name)


def run_cell(cell: Cell, crew: Crew, plan: Plan) -> CellResult:
    """Run ours against every peer on one cell.

    Raises
    ------
    ContenderMissing, ContenderFailed
        If ours is or does. A peer's failure becomes its outcome.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _CellRun(cell, crew, plan, Path(folder)).result()


class _CellRun:
    """One cell. At any time two processes at most hold its rows, and one of them works."""

    def __init__(self, cell: Cell, crew: Crew, plan: Plan, folder: Path) -> None:
        self._cell = cell
        self._crew = crew
        self._plan = plan
        self._rows = cell.rows()
        self._rows_file = folder / "rows.npy"
        self._centers_file = folder / "centers.npy"
        self._final_file = folder / "final.npy"
        np.save(self._rows_file, self._rows)
        np.save(self._centers_file, cell.initial_centers(self._rows))

    def result(self) -> CellResult:
        limits = measure_in_child(self._rows_file, self._plan.n_threads)
        loaded = self._load(OURS, self._plan.work)
        self._ours_n_iter = loaded["n_iter"]
        outcomes = {peer: self._outcome(peer) for peer in self._plan.peers}

        seconds = [s for outcome in outcomes.values() for s in outcome.ours_seconds]
        last, n_iter = self._fit(OURS)
        ours = Outcome(
            n_iter=n_iter,
            inertia=self._inertia(),
            first_call_s=loaded["first_call_s"],
            seconds=[*seconds, last],
        )
        self._crew.worker(OURS).unload()
        whole_fits = self._plan.work.tol > 0
        return CellResult(self._cell, whole_fits, limits, {OURS: ours, **outcomes})

    def _outcome(self, peer: str) -> Outcome:
        try:
            dtypes = self._crew.worker(peer).description["dtypes"]
            if self._cell.dtype not in dtypes:
                return Outcome(problem=f"{' and '.join(dtypes)} only")
            return self._pairs_with(peer)
        except ContenderMissing:
            return Outcome(problem="not installed")
        except ContenderFailed as error:
            if error.contender == OURS:
                raise
            self._crew.discard(peer)
            return Outcome(problem=f"failed: {error.reason}")

    def _pairs_with(self, peer: str) -> Outcome:
        work = self._plan.work
        if not self._crew.worker(peer).description["has_tolerance"]:
            work = replace(work, max_iter=self._ours_n_iter, tol=0.0)
        first_call_s = self._load(peer, work)["first_call_s"]
        ours_seconds, seconds = [], []
        for _ in range(self._plan.n_pairs):
            ours_seconds.append(self._fit(OURS)[0])
            theirs_s, n_iter = self._fit(peer)
            seconds.append(theirs_s)
        self._crew.worker(peer).unload()
        return Outcome(
            n_iter=n_iter,
            inertia=self._inertia(),
            first_call_s=first_call_s,
            seconds=seconds,
            ours_seconds=ours_seconds,
        )

    def _load(self, name: str, work: Work) -> dict[str, Any]:
        loaded = self._crew.worker(name).load(self._rows_file, self._centers_file, work)
        self._crew.about[name]["blas"] = loaded["blas"]
        return loaded

    def _fit(self, name: str) -> tuple[float, int]:
        time.sleep(_REST_S)
        run = self._crew.worker(name).run(self._final_file)
        return run["seconds"], run["n_iter"]

    def _inertia(self) -> float:
        """Inertia of the centers that the last fit left."""
        return costs.inertia(self._rows, np.load(self._final_file))
