"""The first pass over any input: count, column ranges, the check for NaN, and a row-keyed sample.

What the later passes need of the data as a whole comes from here: the shift vector, and the powers
of two that turn rows into integers whose sums cannot overflow.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from daskmeans.algorithms.draws import SAMPLE_DRAW, clocks_of
from daskmeans.blocks.block import Block, not_finite
from daskmeans.blocks.source import RowSource
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import AnyRows, CSRRows
from daskmeans.kernels.lloyd import sums_bytes, sums_width
from daskmeans.kernels.random_draws import uniform_keys
from daskmeans.kernels.ranges import column_ranges
from daskmeans.partials import KeyedRows, PartialT, Ranges, Survey
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array, Metric

SAMPLE_ROWS_A_CLUSTER = 1000
SAMPLE_MIN_ROWS = 10_000
SAMPLE_BYTES = 256 << 20

_MOST_VALUES = 1000

# Rows of the sample that tell the usual spread of a column.
_SPREAD_ROWS = 1000

# A quantised number stays below 2**50 (rounding by addition holds to 2**51), a sum below 2**61.
_NUMBER_BITS, _SUM_BITS = 50, 61


class RunPass(Protocol):
    """Whatever runs a pass over some rows."""

    def __call__(self, step: Pass[PartialT]) -> PartialT: ...


class Run(RunPass, Protocol):
    """Whatever runs passes over a row source."""

    @property
    def source(self) -> RowSource: ...

    @property
    def row_state_bytes(self) -> int: ...

    @property
    def n_passes(self) -> int: ...

    @property
    def bytes_read(self) -> int: ...

    def learn_sizes(self, sizes: tuple[int, ...]) -> None: ...

    def learn_bytes(self, n_bytes: int) -> None: ...


@dataclass(frozen=True)
class SurveyParameters:
    """What a block has to know for the survey.

    Attributes
    ----------
    seed : int
        64 bits that key the sample.
    sample_rows : int
    key_limit : int
        Rows whose key is above it are not kept: far more than `sample_rows` are expected below.
    keep_rows : bool
        Bring the sample's rows along. Rows in this process are looked up instead.
    feature_names : tuple of str, or None
    """

    seed: int
    sample_rows: int
    key_limit: int
    keep_rows: bool
    feature_names: tuple[str, ...] | None


def survey_chunk(block: Block, parameters: SurveyParameters) -> Survey:
    """Survey one block."""
    return Survey(ranges_chunk(block, parameters.feature_names), sample_of(block, parameters))


def ranges_chunk(block: Block, feature_names: tuple[str, ...] | None) -> Ranges:
    """Return the row count and the ranges of one block.

    Raises
    ------
    ValueError
        If a row is not finite.
    """
    r, d = block.rows.shape
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    for part, rows, _ in block.tiles():
        tile_low, tile_high, bad_row = column_ranges(rows)
        if bad_row >= 0:
            raise not_finite(block, part.start + bad_row, feature_names)
        low, high = np.minimum(low, tile_low), np.maximum(high, tile_high)
    largest = 1.0 if block.weights is None else float(block.weights.max(initial=0.0))
    return Ranges(
        r,
        low,
        high,
        largest,
        ((block.number, r),),
        isinstance(block.rows, CSRRows),
        block.rows.nbytes,
    )


def sample_of(block: Block, parameters: SurveyParameters) -> KeyedRows:
    """Return the block's rows with the smallest keys: one more than the sample is to hold."""
    r, seed = len(block), parameters.seed
    keys: Array
    if block.weights is None:
        keys = np.empty(r, np.uint64)
        uniform_keys(np.uint64(seed), np.uint64(SAMPLE_DRAW), np.uint64(block.first_row), keys)
        chosen = np.flatnonzero(keys <= np.uint64(parameters.key_limit))
        weights = np.ones(len(chosen))
    else:
        keys = clocks_of(block, seed, SAMPLE_DRAW, block.weights)
        chosen = np.arange(r)
        weights = block.weights
    return KeyedRows.smallest(
        parameters.sample_rows + 1,
        keys[chosen],
        block.first_row + chosen,
        block.rows[chosen] if parameters.keep_rows else block.rows[chosen, :0],
        weights,
    )


def counting_chunk(block: Block, parameters: None) -> Ranges:
    """Count the rows of one block."""
    empty = np.empty(0)
    return Ranges(len(block), empty, empty, 0.0, ((block.number, len(block)),))


def block_sizes(run: Run) -> tuple[int, ...]:
    """Return the rows of each block by a pass that only counts.

    For weights that are to be cut along blocks of unknown sizes: nothing else needs it.
    """
    counted = run(Pass("kmeans-count", counting_chunk, None))
    return tuple(size for _, size in counted.block_sizes)


@dataclass(frozen=True)
class Quantisation:
    """How rows become integers.

    Attributes
    ----------
    shift, scale : ndarrays of shape (s,), float64
        See `kernels.quantised_sums.add_rows`.
    weight_exponent : int
        Weights are divided by 2 to this power, which leaves none above 1.
    """

    shift: Array
    scale: Array
    weight_exponent: int

    @cached_property
    def inverse(self) -> Array:
        """Powers of two by which integers are multiplied to be numbers again, (s,) float64.

        Zero where the scale is. Products with them are exact, as quotients by the scale are.
        """
        inverse = np.zeros(len(self.scale))
        np.divide(1.0, self.scale, out=inverse, where=self.scale > 0)
        return inverse


@dataclass(frozen=True)
class Surveyed:
    """The data as a whole.

    Attributes
    ----------
    n_rows, n_features : int
    shift : ndarray of shape (d,), float64
        Close to the mean, exact in float32: subtracted from rows before they are multiplied or
        summed. From the sample, so that no chunking shows in it. Zero for sparse rows, whose zeros
        have to stay zeros.
    reach : ndarray of shape (d,), float64
        Largest distance of a value from the shift.
    quantisation : Quantisation
    sample : ndarray or CSRRows of shape (m, d)
        Rows in the order of their numbers: all of them if they are few.
    sample_numbers : ndarray of shape (m,), int64
    sample_weights : ndarray of shape (m,), float64, or None
        What each row of the sample stands for; None without sample weights.
    first_drawn : int
        Position in the sample of the row drawn first.
    weighted : bool
    metric : {"euclidean", "cosine"}
        For "cosine" the rows have length 1, and so do centers.
    sparse : bool
        Rows are sparse, in some block at least.
    """

    n_rows: int
    n_features: int
    shift: Array
    reach: Array
    quantisation: Quantisation
    sample: AnyRows
    sample_numbers: Array
    sample_weights: Array | None
    first_drawn: int
    weighted: bool
    metric: Metric = "euclidean"
    sparse: bool = False

    def chosen(self, places: Array) -> Surveyed:
        """Return the survey with these rows of its sample alone, the first one as drawn first."""
        weights = self.sample_weights
        return replace(
            self,
            sample=self.sample[places],
            sample_numbers=self.sample_numbers[places],
            sample_weights=None if weights is None else weights[places],
            first_drawn=0,
        )


def sample_size(n_clusters: int, n_features: int, itemsize: int, *, sparse: bool = False) -> int:
    """Return how many rows a sample for seeding holds: about 1,000 a cluster within 256 MB.

    Sparse rows are taken to have 1,000 values at most, each with its column.
    """
    row_bytes = n_features * itemsize
    if sparse:
        row_bytes = min(n_features, _MOST_VALUES) * (itemsize + 4)
    affordable = SAMPLE_BYTES // max(1, row_bytes)
    wanted = max(SAMPLE_MIN_ROWS, SAMPLE_ROWS_A_CLUSTER * n_clusters)
    return max(min(wanted, affordable), 2 * n_clusters)


def survey(run: Run, n_clusters: int, seed: int, *, seeding: bool = True) -> Surveyed:
    """Make the first pass over the rows. Block sizes that were unknown are known after it.

    Parameters
    ----------
    run : function (Pass) -> Partial
    n_clusters : int
    seed : int
        64 bits that key the sample.
    seeding : bool
        The sample is to be large enough to draw initial centers from.

    Raises
    ------
    ValueError
        If a row is not finite, there are fewer rows than clusters or no positive weight, or the
        values are too large or too small for squared distances.
    """
    return SharedSurvey.make(run, n_clusters, seed, seeding=seeding).for_clusters(n_clusters)


@dataclass(frozen=True)
class SharedSurvey:
    """One first pass for several numbers of clusters.

    For each it tells, to the bit, what a survey for that number alone would: a smaller sample is
    the part of a larger one that was drawn first.

    Attributes
    ----------
    source : RowSource
    found : Survey
    seeding : bool
    sample_rows : int
        Of the largest sample.
    largest : Surveyed
        With that sample.
    """

    source: RowSource
    found: Survey
    seeding: bool
    sample_rows: int
    largest: Surveyed

    @classmethod
    def make(cls, run: Run, most_clusters: int, seed: int, *, seeding: bool = True) -> SharedSurvey:
        """Make the pass for at most so many clusters; parameters and errors as for `survey`."""
        m = _rows_to_sample(run.source, most_clusters, seeding)
        found = _find(run, most_clusters, m, seed)
        largest = _understood(found, m, run.source)
        _check_resolution(largest, found.sample, run.source.feature_names)
        return cls(run.source, found, seeding, m, largest)

    def for_clusters(self, n_clusters: int) -> Surveyed:
        """Return the survey for a number of clusters, with the sample that it asks for."""
        m = _rows_to_sample(self.source, n_clusters, self.seeding)
        if m == self.sample_rows:
            return self.largest
        return _understood(self.found, m, self.source)

    @property
    def rows_are_equal(self) -> bool:
        """Whether there is only one distinct row."""
        return bool((self.found.ranges.low == self.found.ranges.high).all())


def _rows_to_sample(source: RowSource, n_clusters: int, seeding: bool) -> int:
    if not seeding:
        return SAMPLE_MIN_ROWS
    return sample_size(
        n_clusters, source.n_features, source.block_dtype.itemsize, sparse=source.sparse
    )


def _find(run: Run, n_clusters: int, m: int, seed: int) -> Survey:
    """Run the pass, for a sample of m rows."""
    source = run.source
    if source.sizes is not None:
        _check_row_count(source.n_rows, n_clusters, source.n_features)
    limit = key_limit(m, None if source.sizes is None else source.n_rows)
    parameters = SurveyParameters(seed, m, limit, not source.in_memory, source.feature_names)
    # Iterations are to follow, whose partials had better fit before anything is read.
    to_come = sums_bytes(n_clusters, source.n_features)
    found = run(Pass("kmeans-survey", survey_chunk, parameters, partial_bytes=to_come))
    if source.sizes is None:
        _check_row_count(found.ranges.n_rows, n_clusters, source.n_features)
        run.learn_sizes(tuple(size for _, size in found.ranges.block_sizes))
    if source.sparse and source.n_bytes is None:
        run.learn_bytes(found.ranges.n_bytes)
    if len(found.sample.keys) < min(m + 1, found.ranges.n_rows):
        # Out of luck, about once in 10**15 fits: keep every row's key.
        everything = replace(parameters, key_limit=2**64 - 1)
        found = run(Pass("kmeans-survey", survey_chunk, everything))
    return found


def _check_row_count(n_rows: int, n_clusters: int, n_features: int) -> None:
    """Raise if there are no rows, or fewer than clusters, in scikit-learn's words."""
    if n_rows == 0:
        raise RowsError(
            f"Found array with 0 sample(s) (shape=(0, {n_features})) while a minimum of 1 is "
            "required by KMeans."
        )
    if n_rows < n_clusters:
        raise RowsError(
            f"n_samples={n_rows} should be >= n_clusters={n_clusters}. Ask for at most {n_rows} "
            "clusters, or pass more rows: a first batch, too, needs one for each cluster."
        )


def key_limit(m: int, n_rows: int | None) -> int:
    """Key below which at least m + 1 of n_rows uniform keys lie, but for 8 standard deviations."""
    if n_rows is None or n_rows <= m + 1:
        return 2**64 - 1
    expected = m + 1 + 8 * np.sqrt(m + 1) + 64
    return min(2**64 - 1, int(expected / n_rows * 2.0**64))


def _understood(found: Survey, m: int, source: RowSource) -> Surveyed:
    ranges, drawn = found.ranges, found.sample
    d, weighted, names = len(ranges.low), source.weights is not None, source.feature_names
    _check_weight(ranges)
    sample_weights = _stands_for(drawn, m, ranges.n_rows) if weighted else None
    order = np.argsort(drawn.row_numbers[:m])
    numbers = drawn.row_numbers[:m][order]
    if not source.in_memory:
        sample = drawn.rows[:m][order]
    elif len(numbers) == ranges.n_rows:
        sample = source.whole_array()
    else:
        sample = source.whole_array()[numbers]
    # Of the rows drawn first, whatever the number of clusters: fits of several numbers share
    # quantised sums. A float32 shift is exact in every working dtype, so float32 and float64 rows
    # that hold the same numbers are shifted alike.
    shift = np.zeros(d)
    if not ranges.sparse:
        mean = _mean(sample if m <= SAMPLE_MIN_ROWS else sample[order < SAMPLE_MIN_ROWS])
        with np.errstate(over="ignore"):
            narrow = mean.astype(np.float32).astype(np.float64)
        shift = np.where(np.isfinite(narrow), narrow, mean)
    return Surveyed(
        n_rows=ranges.n_rows,
        n_features=d,
        shift=shift,
        reach=_reach(ranges, shift),
        quantisation=ranges_quantisation(ranges, shift, weighted=weighted, names=names),
        sample=sample,
        sample_numbers=numbers,
        sample_weights=None if sample_weights is None else sample_weights[order],
        first_drawn=int(np.argmin(order)),
        weighted=weighted,
        metric=source.metric,
        sparse=ranges.sparse,
    )


def ranges_quantisation(
    ranges: Ranges, shift: Array, *, weighted: bool, names: tuple[str, ...] | None
) -> Quantisation:
    """Return how rows of these ranges become integers, once `shift` was subtracted from them.

    Raises
    ------
    RowsError
        If no weight is positive, or squared distances would overflow or underflow.
    """
    _check_weight(ranges)
    reach = _reach(ranges, shift)
    _check_reach(reach, names)
    scale = quantising_scale(reach, ranges.n_rows)
    padded_shift = np.zeros(len(scale))
    padded_shift[: len(shift)] = shift
    exponent = _weight_exponent(ranges.max_weight) if weighted else 0
    return Quantisation(padded_shift, scale, exponent)


def _reach(ranges: Ranges, shift: Array) -> Array:
    """Return the largest distance of a value of each column from the shift."""
    return np.maximum(np.abs(ranges.low - shift), np.abs(ranges.high - shift))


def _check_weight(ranges: Ranges) -> None:
    if ranges.max_weight == 0:
        raise RowsError("All values of sample_weight are zero: at least one must be positive.")


def _mean(sample: AnyRows) -> Array:
    """Return the column means, summed in float64 and in an order that no dtype changes."""
    parts = (
        sample[i : i + 4096].astype(np.float64, order="C") for i in range(0, len(sample), 4096)
    )
    # Row by row, like `sum`, which takes three times as long for few columns.
    total: Array = np.sum([np.einsum("ij->j", part) for part in parts], axis=0)
    return total / len(sample)


def _stands_for(drawn: KeyedRows, m: int, n_rows: int) -> Array:
    """Return the weight that each row of a weighted sample stands for.

    With exponential clocks of rate w and the next clock t beyond the sample, a row is in the
    sample with probability 1 - exp(-w t), and stands for w over that (Horvitz and Thompson 1952).
    """
    weights = drawn.weights[:m]
    if n_rows <= m or not np.isfinite(drawn.keys[m]):
        return weights
    inclusion = -np.expm1(-weights * drawn.keys[m])
    return np.divide(weights, inclusion, out=np.zeros_like(weights), where=inclusion > 0)


def _column(names: tuple[str, ...] | None, j: int) -> str:
    return f"column {j}" + (f" ({names[j]!r})" if names is not None else "")


def _check_reach(reach: Array, names: tuple[str, ...] | None) -> None:
    j = int(np.argmax(reach))
    if not reach[j] < 1e150:
        raise RowsError(
            f"X holds values as far as {reach[j]:.3g} from the mean of {_column(names, j)}: "
            "squared distances overflow. Rescale the column, or drop its fill values."
        )
    if 0 < reach[j] < 1e-150:
        raise RowsError(
            f"No value of X is farther than {reach[j]:.3g} from the mean of its column: squared "
            "distances underflow. Rescale the data."
        )


def _weight_exponent(max_weight: float) -> int:
    """Return the smallest e with max_weight <= 2**e."""
    if not 1e-100 < max_weight < 1e100:
        raise RowsError(
            f"The largest value of sample_weight is {max_weight:.3g}, which leaves no room for "
            "sums of squared distances in float64. Divide the weights by it."
        )
    mantissa, exponent = np.frexp(max_weight)
    return int(exponent) - (mantissa == 0.5)


def quantising_scale(reach: Array, n_rows: int) -> Array:
    """Return the powers of two that quantise features, squared norm and weights up to 1."""
    d = len(reach)
    bits = min(_NUMBER_BITS, _SUM_BITS - int(np.ceil(np.log2(max(n_rows, 1)))))
    largest = np.zeros(sums_width(d))
    largest[:d] = reach
    largest[-2] = (reach**2).sum()
    largest[-1] = 1.0
    _, exponents = np.frexp(largest)  # largest < 2**exponent
    scale = np.exp2(np.minimum(bits - exponents, 1000).astype(np.float64))
    scale[d:-2] = 0.0
    return scale


def _check_resolution(surveyed: Surveyed, drawn: KeyedRows, names: tuple[str, ...] | None) -> None:
    """Warn where a column's range is so wide that its usual values are rounded coarsely."""
    if surveyed.sparse:
        return  # the usual values of a column are zeros, which are exact
    scale = surveyed.quantisation.scale[: surveyed.n_features]
    # One row more was drawn than the sample holds.
    n_rows = min(_SPREAD_ROWS, len(surveyed.sample))
    first = np.searchsorted(surveyed.sample_numbers, np.sort(drawn.row_numbers[:n_rows]))
    # Sorted column by column, each in one piece: for 768 columns np.percentile takes ten times as
    # long, as long as half an iteration.
    ordered = np.sort(np.ascontiguousarray(surveyed.sample[first].T), axis=1)
    lower, upper = ordered[:, (n_rows - 1) // 4], ordered[:, -(-3 * (n_rows - 1) // 4)]
    spread = upper.astype(np.float64) - lower
    coarse = np.flatnonzero((spread > 0) & (1 / scale > 1e-6 * spread))
    if coarse.size:
        j = int(coarse[0])
        warnings.warn(
            f"{_column(names, j)} of X holds extreme values: its usual spread is {spread[j]:.3g}, "
            f"and centers are exact to {1 / scale[j]:.3g} only. Are these fill values? "
            "Drop or clip them.",
            RuntimeWarning,
            stacklevel=2,
        )
