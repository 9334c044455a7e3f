"""What a run of `peers.py` found, and what follows from it. Kept as JSON; knows no table."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from contenders import OURS
from data import Cell
from limits import Limits


@dataclass(frozen=True)
class Ratio:
    """Time of a peer over ours, over pairs that were run in turn."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """What one contender did on one cell. Only `problem` is set if it could not take part."""

    problem: str | None = None
    n_iter: int = 0
    inertia: float = math.nan  # of its final centers, by `costs.inertia`
    first_call_s: float = math.nan
    seconds: list[float] = field(default_factory=list)  # of a fit, each from one run
    ours_seconds: list[float] = field(default_factory=list)  # of our fit before each; empty in ours

    @property
    def ms(self) -> float:
        return median(self.seconds) * 1000

    @property
    def ms_per_iteration(self) -> float:
        return self.ms / self.n_iter


@dataclass(frozen=True)
class CellResult:
    """All contenders on one cell."""

    cell: Cell
    whole_fits: bool  # compared by the time of a fit, otherwise by that of an iteration
    limits: Limits
    outcomes: dict[str, Outcome]

    @property
    def peers(self) -> dict[str, Outcome]:
        """The outcomes of those peers that took part."""
        return {
            name: outcome
            for name, outcome in self.outcomes.items()
            if name != OURS and outcome.problem is None
        }

    def ratio(self, peer: str) -> Ratio:
        outcome, ours = self.outcomes[peer], self.outcomes[OURS]
        # By iteration, scikit-learn and faiss may stop before the others.
        scale = 1 if self.whole_fits else ours.n_iter / outcome.n_iter
        ratios = [
            scale * theirs_s / ours_s
            for theirs_s, ours_s in zip(outcome.seconds, outcome.ours_seconds, strict=True)
        ]
        return Ratio(median(ratios), min(ratios), max(ratios))

    def fastest_peer(self) -> str | None:
        return min(self.peers, key=lambda peer: self.ratio(peer).median, default=None)

    def limit_ms(self) -> float:
        """Shortest time of a step on this hardware that computes every distance."""
        return max(self._product_ms(), self._read_ms())

    def limited_by(self) -> str:
        return "product" if self._product_ms() >= self._read_ms() else "memory"

    def share_of_limit(self, contender: str) -> float:
        return self.limit_ms() / self.outcomes[contender].ms_per_iteration

    def _product_ms(self) -> float:
        return self.limits.product_ms(self.cell.n_rows, self.cell.n_features, self.cell.n_clusters)

    def _read_ms(self) -> float:
        return self.limits.read_ms(self.cell.n_bytes)


@dataclass(frozen=True)
class PeersResult:
    """A whole run."""

    date: str
    command: str
    machine: dict[str, Any]
    n_threads: int
    n_pairs: int
    max_iter: int
    tol: float  # 0: exactly max_iter iterations, every distance computed
    contenders: dict[str, dict[str, Any]]  # name -> problem, or versions, import_s and blas
    cells: list[CellResult]
    fits_in_a_row: int = 1

    def write(self, path: Path) -> None:
        content = asdict(self)
        for cell in content["cells"]:
            cell["outcomes"] = {
                name: {"problem": outcome["problem"]} if outcome["problem"] else outcome
                for name, outcome in cell["outcomes"].items()
            }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> PeersResult:
        content = json.loads(path.read_text())
        content["cells"] = [
            CellResult(
                Cell(**cell["cell"]),
                cell["whole_fits"],
                Limits(**cell["limits"]),
                {name: Outcome(**outcome) for name, outcome in cell["outcomes"].items()},
            )
            for cell in content["cells"]
        ]
        return cls(**content)


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))
