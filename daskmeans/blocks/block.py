"""One block of rows as a task sees it: numbered, checked, in a dtype that kernels take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from daskmeans.errors import RowsError
from daskmeans.kernels.csr import AnyRows, CSRRows, empty_like, is_sparse, side_by_side
from daskmeans.kernels.directions import divide_by_lengths
from daskmeans.typing import Weights

# Rows that have to be widened are widened about this many bytes at a time.
TILE_BYTES = 1 << 20
_ONE = np.ones(1)
_EXACT_IN_FLOAT32 = frozenset({"f2", "f4", "i1", "i2", "u1", "u2", "b1"})


@cache
def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that kernels read rows in: float32 where that is exact, else float64."""
    return np.dtype(np.float32 if dtype.str[1:] in _EXACT_IN_FLOAT32 else np.float64)


def check_dtype(dtype: np.dtype[Any], argument: str = "X") -> None:
    """Raise for a dtype that does not hold real numbers.

    Raises
    ------
    ValueError
        For complex numbers, text, dates and objects.
    """
    if dtype.kind == "c":
        raise RowsError(
            f"Complex data not supported: {argument} has dtype {dtype}. "
            "Pass real and imaginary parts as separate features."
        )
    if dtype.kind not in "fiub":
        raise RowsError(
            f"{argument} has dtype {dtype}, and k-means needs numbers: "
            "select or convert to numeric columns first."
        )


@dataclass(frozen=True)
class Block:
    """Consecutive rows and their weights, or those of several blocks that were joined.

    Attributes
    ----------
    number : int
        Position among the blocks; of joined ones that of the first.
    start : int or None
        Global number of the first row; None where nobody asks for it.
    rows : ndarray or CSRRows of shape (r, d)
        In the dtype that they are stored in.
    weights : ndarray of shape (r,), float64, or None
        None means 1 for every row.
    joined : tuple of int
        Numbers of the blocks that were joined, in the order of the rows. Empty for a block as it
        was read.
    """

    number: int
    start: int | None
    rows: AnyRows
    weights: Weights | None
    joined: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def first_row(self) -> int:
        """Global number of the first row, where it is known."""
        if self.start is None:
            raise ValueError(f"The rows before block {self.number} have not been counted.")
        return self.start

    def row_weights(self) -> Weights:
        """Return a weight for each row."""
        return np.ones(len(self.rows)) if self.weights is None else self.weights

    def tiles(self) -> Iterator[tuple[slice, Any, Weights]]:
        """Yield (row range, rows as float32 or float64 in C order, weights (r,) or (1,)).

        The block at once where its rows are such already, else widened a tile at a time; sparse
        rows at once, and as such.
        """
        r, d = self.rows.shape
        dtype = working_dtype(self.rows.dtype)
        if isinstance(self.rows, CSRRows):
            if r:
                weights = _ONE if self.weights is None else self.weights
                yield slice(0, r), self.rows.astype(dtype), weights
            return
        ready = self.rows.dtype == dtype and self.rows.flags.c_contiguous
        step = max(1, r if ready else TILE_BYTES // (d * dtype.itemsize))
        for start in range(0, r, step):
            part = slice(start, min(start + step, r))
            rows = np.ascontiguousarray(self.rows[part], dtype=dtype)
            yield part, rows, _ONE if self.weights is None else self.weights[part]

    def where(self, row: int, feature_names: Sequence[str] | None = None) -> str:
        """Say in words where row number `row` of the block is, and its first bad column."""
        values = np.asarray(self.rows[row], dtype=np.float64)
        column = int(np.flatnonzero(~np.isfinite(values))[0])
        name = f" ({feature_names[column]!r})" if feature_names is not None else ""
        position = f"row {row} of the block"
        if self.start is not None:
            position = f"row {self.start + row} ({position})"
        return f"block {self.number}, {position}, column {column}{name}"


def not_finite(block: Block, row: int, feature_names: Sequence[str] | None = None) -> RowsError:
    """Make the error for a row with NaN or infinity."""
    values = np.asarray(block.rows[row], dtype=np.float64)
    what = "NaN" if np.isnan(values).any() else f"infinity or a value too large for {values.dtype}"
    return RowsError(
        f"Input X contains {what}: {block.where(row, feature_names)}. "
        "k-means needs finite values: fill or drop such rows first."
    )


def for_each_tile(block: Block, work: Callable[[Any, slice], int]) -> None:
    """Let a kernel work on the tiles of a block.

    Parameters
    ----------
    block : Block
    work : function (rows, row range) -> int
        Returns the first row of the tile that is not finite, or -1.

    Raises
    ------
    RowsError
        If a row is not finite.
    """
    for part, rows, _ in block.tiles():
        bad_row = work(rows, part)
        if bad_row >= 0:
            raise not_finite(block, part.start + bad_row)


def as_rows(part: Any) -> AnyRows:
    """Return what was read as an array, or as sparse rows if it is sparse."""
    if isinstance(part, CSRRows):
        return part
    return CSRRows.of(part) if is_sparse(part) and part.ndim == 2 else np.asarray(part)


def no_direction(block: Block, row: int) -> RowsError:
    """Make the error for a row of zeros, where rows count by their directions."""
    place = f"row {row} of block {block.number}"
    if block.start is not None:
        place = f"row {block.start + row} ({place})"
    return RowsError(
        f"All values of {place} are zero: it has no direction, and cosine distances to it are not "
        "defined, whatever its weight. Leave out such rows, or use another metric."
    )


def divided(block: Block) -> Block:
    """Return a block with each row divided by its length, in the dtype that kernels read.

    Rows that are not finite stay as they are: the pass that checks rows tells of them.

    Raises
    ------
    RowsError
        If a row is zero.
    """
    directions = empty_like(block.rows, working_dtype(block.rows.dtype))
    for part, rows, _ in block.tiles():
        zero = divide_by_lengths(rows, directions[part])
        if zero >= 0:
            raise no_direction(block, part.start + zero)
    return replace(block, rows=directions)


def make_block(
    number: int,
    start: int | None,
    parts: Sequence[Any],
    weights: Any,
    n_features: int,
    n_rows: int | None = None,
    *,
    divide: bool = False,
) -> Block:
    """Join what was read for a block, and check what can be wrong with it.

    Parameters
    ----------
    number, start : int
        See `Block`.
    parts : sequence of array-likes of shape (r, d_i)
        The block's rows, split along the features. Sparse ones stay sparse.
    weights : array-like of shape (r,) or None
    n_features : int
        Expected sum of the d_i.
    n_rows : int, optional
        Expected r.
    divide : bool
        Divide each row by its length.

    Raises
    ------
    ValueError
        If the parts are not rows of `n_features` numbers, or the weights are not one finite
        non-negative number for each; if a row that is to be divided by its length is zero.
    """
    if any(np.ma.is_masked(part) for part in parts):
        raise RowsError(
            f"Block {number} of X has masked values. k-means needs a value everywhere: fill or "
            "drop such rows first."
        )
    rows = side_by_side([as_rows(part) for part in parts])
    expected = (len(rows) if n_rows is None else n_rows, n_features) if rows.ndim else None
    if rows.shape != expected:
        wanted = f"({'rows' if n_rows is None else n_rows}, {n_features})"
        raise RowsError(
            f"Block {number} of X has shape {rows.shape}, expected {wanted}: "
            "the array's blocks do not match its declared shape."
        )
    check_dtype(rows.dtype)
    if not isinstance(rows, CSRRows) and not rows.dtype.isnative:
        rows = rows.astype(rows.dtype.newbyteorder("="))
    if weights is not None:
        weights = np.asarray(weights)
        check_dtype(weights.dtype, "sample_weight")
        weights = np.ascontiguousarray(weights, dtype=np.float64)
        if weights.shape != (len(rows),):
            raise RowsError(
                f"Block {number} of sample_weight has shape {weights.shape}, "
                f"expected ({len(rows)},) as its rows."
            )
        bad = ~(np.isfinite(weights) & (weights >= 0))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            kind = "Negative values" if weights[row] < 0 else "NaN or infinity"
            raise RowsError(
                f"{kind} in data passed to `sample_weight`: {weights[row]} at block {number}, "
                f"row {row if start is None else start + row}. "
                "Weights must be finite and not negative."
            )
    block = Block(number, start, rows, weights)
    return divided(block) if divide else block
