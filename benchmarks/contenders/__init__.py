"""The packages that are compared: one small module each, all of one shape.

A module is imported in the process of its contender alone, so that one which is not installed
costs the others nothing.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol, cast

from numpy.typing import NDArray

OURS = "daskmeans"

# Name in the tables -> module in this package.
MODULES = {
    "daskmeans": "daskmeans",
    "scikit-learn": "scikit_learn",
    "scikit-learn-intelex": "scikit_learn_intelex",
    "faiss": "faiss",
    "dask-ml": "dask_ml",
}

PEERS = tuple(name for name in MODULES if name != OURS)


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves behind."""

    centers: NDArray[Any]  # (k, d)
    n_iter: int  # center updates actually made


class Contender(Protocol):
    """What a contender's module holds."""

    PACKAGES: tuple[str, ...]  # distributions whose versions stand in the report
    DTYPES: tuple[str, ...]  # what it computes in; it does not take part for others

    def prepare(self, rows: NDArray[Any], n_threads: int) -> Any:
        """Bring the rows into the form that `fit` takes. Not timed."""

    def fit(self, prepared: Any, centers: NDArray[Any], n_iter: int, n_threads: int) -> Fitted:
        """Run `n_iter` Lloyd iterations from `centers`, with tolerance 0. This is timed."""


def load(name: str) -> Contender:
    """Import a contender.

    Raises
    ------
    ImportError
        If it is not installed in this environment.
    """
    return cast(Contender, importlib.import_module(f"contenders.{MODULES[name]}"))
