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


@dataclass(frozen=True)
class Work:
    """What a fit is to do from given centers.

    Attributes
    ----------
    max_iter : int
    tol : float
        As scikit-learn means it: a fit stops once the squared center shifts add up to at most `tol`
        times the mean variance of the features. 0 for a fixed number of iterations.
    prune : bool
        Distances that cannot matter may be left out. Peers do what they do by default.
    fits_in_a_row : int
        Short fits are timed together, for one that comes after a rest waits for its threads.
    """

    max_iter: int
    tol: float
    prune: bool
    fits_in_a_row: int = 1


class Contender(Protocol):
    """What a contender's module holds."""

    PACKAGES: tuple[str, ...]  # distributions whose versions stand in the report
    DTYPES: tuple[str, ...]  # what it computes in; it does not take part for others
    # Whether it stops by `Work.tol`. One that does not is given as many iterations as ours made.
    HAS_TOLERANCE: bool

    def prepare(self, rows: NDArray[Any], n_threads: int) -> Any:
        """Bring the rows into the form that `fit` takes. Not timed."""

    def fit(self, prepared: Any, centers: NDArray[Any], work: Work, n_threads: int) -> Fitted:
        """Fit from `centers`. This is timed."""


def load(name: str) -> Contender:
    """Import a contender.

    Raises
    ------
    ImportError
        If it is not installed in this environment.
    """
    return cast(Contender, importlib.import_module(f"contenders.{MODULES[name]}"))
