"""Why the iterations of a fit ended, in the words in which `stop_reason_` tells it."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

StopReason: TypeAlias = Literal[
    "center shift zero",
    "tolerance",
    "relative tolerance",
    "no improvement",
    "max_iter",
    "max_passes",
    "max_seconds",
    "callback",
    "interrupted",
    "fell behind",
]

CENTER_SHIFT_ZERO: Final = "center shift zero"
TOLERANCE: Final = "tolerance"
RELATIVE_TOLERANCE: Final = "relative tolerance"
NO_IMPROVEMENT: Final = "no improvement"
MAX_ITER: Final = "max_iter"
MAX_PASSES: Final = "max_passes"
MAX_SECONDS: Final = "max_seconds"
CALLBACK: Final = "callback"
INTERRUPTED: Final = "interrupted"
# Of a restart that others were better than.
FELL_BEHIND: Final = "fell behind"


def is_converged(reason: str) -> bool:
    """Tell whether nothing, or little enough, changed any more."""
    return reason in (CENTER_SHIFT_ZERO, TOLERANCE, RELATIVE_TOLERANCE, NO_IMPROVEMENT)
