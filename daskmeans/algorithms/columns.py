"""What is to be known of columns before they are clustered, in one pass: moments and medians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from daskmeans.algorithms.survey import SAMPLE_MIN_ROWS, Run, SurveyParameters, key_limit, sample_of
from daskmeans.blocks.block import Block
from daskmeans.errors import RowsError
from daskmeans.kernels.exact_sum import DIGITS, exact
from daskmeans.kernels.moments import LARGEST, LINEAR, N_SUMS, SQUARE, WEIGHT, add_moments
from daskmeans.partials import KeyedRows, all_carried
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array

# Makes the median absolute deviation that of a normal distribution's standard deviation.
_MAD_TO_STD = 1.4826022185056018


@dataclass(frozen=True)
class Limits:
    """Where the values of each column end and its outliers begin.

    Attributes
    ----------
    low, high : ndarrays of shape (d,), float64
    drop : bool
        Rows with an outlier count for nothing; else outliers count as the limit.
    """

    low: Array
    high: Array
    drop: bool

    def kept(self, values: Array) -> Array:
        """Return which rows stay, of shape (r,), bool. A missing value is no outlier."""
        if not self.drop:
            return np.ones(len(values), bool)
        outside = (values < self.low) | (values > self.high)
        return np.asarray(~outside.any(axis=1))


@dataclass(frozen=True)
class ColumnsParameters:
    """What a block has to know for the pass."""

    survey: SurveyParameters
    limits: Limits | None


@dataclass(frozen=True)
class Columns:
    """The columns of some rows.

    Attributes
    ----------
    n_rows : int
    counts : ndarray of shape (d,), int64
        Values that are there.
    low, high : ndarrays of shape (d,), float64
    mean, std : ndarrays of shape (d,), float64
        Weighted, of the values that are there, each rounded once; NaN in columns without any.
    median, robust_std : ndarrays of shape (d,), float64
        Of a sample of 10,000 rows, drawn by their weights: the median, and 1.4826 times the median
        distance from it.
    """

    n_rows: int
    counts: Array
    low: Array
    high: Array
    mean: Array
    std: Array
    median: Array
    robust_std: Array

    def limits(self, deviations: float, robust: bool, drop: bool) -> Limits:
        """Return where outliers begin: so many deviations from the mean, or from the median."""
        use_robust = (self.robust_std > 0) & robust
        middle = np.where(use_robust, self.median, self.mean)
        reach = deviations * np.where(use_robust, self.robust_std, self.std)
        # A constant column has no outliers, whatever its mean was rounded to; an empty one neither.
        limited = self.std > 0
        low = np.where(limited, middle - reach, -np.inf)
        return Limits(low, np.where(limited, middle + reach, np.inf), drop)


@dataclass(frozen=True)
class Moments:
    """What is known of each column, missing values left out.

    Attributes
    ----------
    counts : ndarray of shape (d,), int64
    low, high : ndarrays of shape (d,), float64
    sums : ndarray of shape (d, N_SUMS, DIGITS), int64
        See `kernels.moments`.
    block_sizes : tuple of (block number, rows)
    sample : KeyedRows
    """

    counts: Array
    low: Array
    high: Array
    sums: Array
    block_sizes: tuple[tuple[int, int], ...]
    sample: KeyedRows

    @classmethod
    def combine(cls, partials: Sequence[Moments]) -> Moments:
        sums = np.sum([all_carried(partial.sums) for partial in partials], axis=0)
        return cls(
            np.sum([partial.counts for partial in partials], axis=0),
            np.min([partial.low for partial in partials], axis=0),
            np.max([partial.high for partial in partials], axis=0),
            all_carried(sums),
            tuple(sorted(pair for partial in partials for pair in partial.block_sizes)),
            KeyedRows.combine([partial.sample for partial in partials]),
        )


def moments_chunk(block: Block, parameters: ColumnsParameters) -> Moments:
    """Yield the moments of a block's columns, and the part of the sample that is in it."""
    if parameters.limits is not None:
        block = _within(block, parameters.limits)
    d = block.rows.shape[1]
    counts, sums = np.zeros(d, np.int64), np.zeros((d, N_SUMS, DIGITS), np.int64)
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    for part, rows, weights in block.tiles():
        # A block of one row with a weight of its own is not one weight for all.
        given = np.append(weights, 0.0) if block.weights is not None and len(rows) == 1 else weights
        bad_row = add_moments(rows, given, counts, low, high, sums)
        if bad_row >= 0:
            raise _too_large(block, part.start + bad_row, parameters.survey.feature_names)
    sizes = ((block.number, len(block)),)
    return Moments(counts, low, high, sums, sizes, sample_of(block, parameters.survey))


def _within(block: Block, limits: Limits) -> Block:
    """Return a block without its outliers."""
    assert isinstance(block.rows, np.ndarray)
    values = block.rows.astype(np.float64)
    if not limits.drop:
        return replace(block, rows=np.clip(values, limits.low, limits.high))
    # Without weight, and not without a place: draws belong to the numbers of rows.
    return replace(block, weights=block.row_weights() * limits.kept(values))


def _too_large(block: Block, row: int, names: tuple[str, ...] | None) -> RowsError:
    values = np.asarray(block.rows[row], dtype=np.float64)
    column = int(np.flatnonzero(np.abs(values) >= LARGEST)[0])
    name = f" ({names[column]!r})" if names is not None else ""
    return RowsError(
        f"X has {values[column]} in block {block.number}, row {row} of the block, column "
        f"{column}{name}: no column with such values has a variance. Make it missing, or drop the "
        "column."
    )


def survey_columns(run: Run, seed: int, limits: Limits | None = None) -> Columns:
    """Make the pass. Block sizes that were unknown are known after it.

    Parameters
    ----------
    run : function (Pass) -> Partial
    seed : int
        64 bits that key the sample.
    limits : Limits, optional
        Leave out outliers.

    Raises
    ------
    RowsError
        If there are no rows or weights, or a value is infinite.
    """
    source = run.source
    limit = key_limit(SAMPLE_MIN_ROWS, None if source.sizes is None else source.n_rows)
    parameters = SurveyParameters(seed, SAMPLE_MIN_ROWS, limit, True, source.feature_names)
    found = run(Pass("kmeans-columns", moments_chunk, ColumnsParameters(parameters, limits)))
    if source.sizes is None:
        run.learn_sizes(tuple(size for _, size in found.block_sizes))
    n_rows = sum(size for _, size in found.block_sizes)
    if not n_rows:
        raise RowsError("X has no rows: there is nothing to learn from.")
    # The sample holds rows of weight 0 only if there are no others.
    if source.weights is not None and limits is None and not found.sample.weights.any():
        raise RowsError("All values of sample_weight are zero: at least one must be positive.")
    weighted = source.weights is not None or (limits is not None and limits.drop)
    moments = [
        _moments(int(count), sums, weighted)
        for count, sums in zip(found.counts, found.sums, strict=True)
    ]
    sample = found.sample.rows[:SAMPLE_MIN_ROWS].astype(np.float64)
    median, robust_std = np.full((2, len(moments)), np.nan)
    for j, column in enumerate(sample.T):
        there = column[~np.isnan(column)]
        if len(there):
            median[j] = np.median(there)
            robust_std[j] = _MAD_TO_STD * np.median(np.abs(there - median[j]))
    mean, std = np.array(moments).T
    return Columns(n_rows, found.counts, found.low, found.high, mean, std, median, robust_std)


def _moments(count: int, sums: Array, weighted: bool) -> tuple[float, float]:
    """Return mean and standard deviation of one column from its exact sums."""
    if not count:
        return np.nan, np.nan
    total = exact(sums[WEIGHT]) if weighted else count
    mean = (exact(sums[LINEAR]) - exact(sums[LINEAR + 1])) / total
    variance = (exact(sums[SQUARE]) - exact(sums[SQUARE + 1])) / total - mean**2
    return float(mean), float(np.sqrt(float(variance)))
