"""A fit between two iterations: all that another process needs to go on with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np

from daskmeans.algorithms.restarts import RestartState
from daskmeans.algorithms.survey import Run, Surveyed
from daskmeans.blocks.block import working_dtype
from daskmeans.blocks.source import RowSource
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import stored_arrays
from daskmeans.partials import PartialT
from daskmeans.passes.plan import Pass


@dataclass(frozen=True)
class LloydState:
    """Lloyd's iterations after a whole one.

    Attributes
    ----------
    restarts : tuple of RestartState
    limit : float or None
        Center shift at which a restart stops; None before the first iteration.
    n_passes, bytes_read : int
        Of the fit so far, see `passes.runner.Runner`.
    finished : bool
        No iteration is left to be made.
    """

    restarts: tuple[RestartState, ...]
    limit: float | None
    n_passes: int
    bytes_read: int
    finished: bool


@dataclass(frozen=True)
class RowsIdentity:
    """By what rows are known again, in any chunking and wherever they are stored.

    Attributes
    ----------
    n_rows, n_features : int
    dtype : str
        In which rows are computed with.
    weighted : bool
    feature_names : tuple of str, or None
    digest : str
        Of the ranges of the columns and of the sample: a row that is not in the sample may have
        changed unseen.
    """

    n_rows: int
    n_features: int
    dtype: str
    weighted: bool
    feature_names: tuple[str, ...] | None
    digest: str

    @classmethod
    def of(cls, source: RowSource, surveyed: Surveyed) -> RowsIdentity:
        digest = hashlib.sha256()
        quantisation, weights = surveyed.quantisation, surveyed.sample_weights
        for array in (
            quantisation.shift,
            quantisation.scale,
            np.array([quantisation.weight_exponent], np.float64),
            *stored_arrays(surveyed.sample),
            surveyed.sample_numbers,
            np.empty(0) if weights is None else weights,
        ):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return cls(
            surveyed.n_rows,
            surveyed.n_features,
            working_dtype(source.dtype).name,
            surveyed.weighted,
            source.feature_names,
            digest.hexdigest(),
        )

    def check_same(self, other: RowsIdentity) -> None:
        """Raise if other rows are not these.

        Raises
        ------
        RowsError
        """
        for each in fields(self):
            saved, given = getattr(self, each.name), getattr(other, each.name)
            if saved != given:
                what = (
                    "their values or weights differ"
                    if each.name == "digest"
                    else f"{each.name} is {given!r}, and was {saved!r}"
                )
                raise RowsError(
                    f"X and sample_weight are not the rows of the checkpoint: {what}. "
                    "Resume with the rows that the fit began with, or fit anew."
                )


@dataclass(frozen=True)
class FitState:
    """A whole fit after an iteration. Seeding is over, so no random state is part of it.

    Attributes
    ----------
    rows : RowsIdentity
    seed : int
        64 bits that key the sample, see `survey.survey`.
    from_sample : bool
        The sample was large enough to seed from.
    lloyd : LloydState
    """

    rows: RowsIdentity
    seed: int
    from_sample: bool
    lloyd: LloydState


class Continued:
    """Runs passes, and counts those before a checkpoint as its own.

    Parameters
    ----------
    run : function (Pass) -> Partial
        What it has run before is left out of the count: the check that rows are the same.
    earlier : LloydState
    """

    def __init__(self, run: Run, earlier: LloydState) -> None:
        self._run = run
        self._more_passes = earlier.n_passes - run.n_passes
        self._more_bytes = earlier.bytes_read - run.bytes_read

    @property
    def source(self) -> RowSource:
        return self._run.source

    @property
    def row_state_bytes(self) -> int:
        return self._run.row_state_bytes

    @property
    def n_passes(self) -> int:
        return self._run.n_passes + self._more_passes

    @property
    def bytes_read(self) -> int:
        return self._run.bytes_read + self._more_bytes

    def __call__(self, step: Pass[PartialT]) -> PartialT:
        return self._run(step)

    def learn_sizes(self, sizes: tuple[int, ...]) -> None:
        self._run.learn_sizes(sizes)

    def learn_bytes(self, n_bytes: int) -> None:
        self._run.learn_bytes(n_bytes)
