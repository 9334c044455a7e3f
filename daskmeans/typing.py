"""Names for the arrays that every layer passes around, with shape and dtype in words."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Centers", "Labels", "Metric", "Rows", "Weights"]

Array: TypeAlias = NDArray[Any]
"""Any NumPy array; shape and dtype are told where it is used."""

Rows: TypeAlias = NDArray[Any]
"""(r, d) rows of one block, in the dtype that they are stored in: floating or integer."""

Weights: TypeAlias = NDArray[np.float64]
"""(r,) non-negative weights of those rows. Weight 2 counts as the row given twice."""

Centers: TypeAlias = NDArray[np.floating[Any]]
"""(k, d) cluster centers, float32 or float64."""

Labels: TypeAlias = NDArray[np.int32]
"""(r,) index of the center that each row belongs to, 0 to k - 1."""

Metric: TypeAlias = Literal["euclidean", "cosine"]
"""How far a row is from a center: by their difference, or by the angle between them. For "cosine"
rows and centers have length 1, and half of their squared distance is 1 less the angle's cosine."""
