"""Rows and their nearest centers: labels, sums, distances, and what all of them cost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from dask.tokenize import normalize_token

from daskmeans.algorithms.drift import Drift
from daskmeans.algorithms.heads import PrincipalAxes
from daskmeans.algorithms.survey import Quantisation, Run, RunPass
from daskmeans.blocks.block import Block, for_each_tile, not_finite
from daskmeans.blocks.row_state import RowState, StateKey, forget, remembered
from daskmeans.errors import RowsError
from daskmeans.kernels.assign import PackedCenters, label_block, pack_centers
from daskmeans.kernels.costs import add_costs
from daskmeans.kernels.csr import AnyRows, CSRRows
from daskmeans.kernels.csr_assign import lloyd_sparse
from daskmeans.kernels.csr_layout import LayoutForSparse
from daskmeans.kernels.csr_sums import MovedRows, SumsOrRows
from daskmeans.kernels.distances import sq_distances_to_own
from daskmeans.kernels.heads import Heads, lloyd_block_by_heads
from daskmeans.kernels.lloyd import (
    CLEAN,
    MOST_DISTANCES,
    NOT_FINITE,
    Bounds,
    lloyd_block,
    no_sums,
    sums_width,
)
from daskmeans.partials import Costs, no_cost
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array, Labels


@dataclass(frozen=True)
class CenterSet:
    """Centers as they travel to the blocks, laid out for the kinds of rows that come.

    Attributes
    ----------
    centers : ndarray of shape (k, d), float64
    shift : ndarray of shape (d,), float64
    drift : Drift or None
        Where rows keep bounds on their distances to the centers.
    axes : PrincipalAxes or None
        Where rows and centers are compared by their heads first.
    """

    centers: Array
    shift: Array
    drift: Drift | None = None
    axes: PrincipalAxes | None = None
    _layouts: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def make(
        cls,
        centers: Array,
        shift: Array,
        drift: Drift | None = None,
        axes: PrincipalAxes | None = None,
    ) -> CenterSet:
        return cls(np.ascontiguousarray(centers, dtype=np.float64), shift, drift, axes)

    def __reduce__(self) -> tuple[Any, ...]:
        # What travels to another process is the centers; it lays them out itself.
        return type(self).make, (self.centers, self.shift, self.drift, self.axes)

    def __dask_tokenize__(self) -> Any:
        return normalize_token(("CenterSet", self.centers, self.shift, self.drift))

    def packed_for(self, rows: AnyRows) -> Any:
        """Return the layout for rows as they were read, made when the first of their kind come."""
        if isinstance(rows, CSRRows):
            layout: LayoutForSparse = self._laid_out(
                "sparse", lambda: LayoutForSparse(self.centers)
            )
            return layout.finished()
        dtype = rows.dtype
        return self._laid_out(
            dtype.char, lambda: _packed(self.centers, self.shift, dtype, self.drift)
        )

    def packed_heads(self, axes: PrincipalAxes) -> PackedCenters:
        """Return the layout of the centers' heads."""
        found: PackedCenters = self._laid_out("heads", lambda: axes.heads_of_centers(self.centers))
        return found

    def _laid_out(self, kind: str, make: Callable[[], Any]) -> Any:
        # Threads that come at the same time wait for one of them to make it.
        with self._lock:
            if kind not in self._layouts:
                self._layouts[kind] = make()
            return self._layouts[kind]

    def label(self, block: Block) -> Labels:
        """Return the labels of a block's rows.

        Raises
        ------
        ValueError
            If a row is not finite.
        """
        labels = np.empty(len(block), np.int32)
        for_each_tile(
            block, lambda rows, part: label_block(rows, self.packed_for(rows), labels[part])
        )
        return labels

    def label_and_measure(self, block: Block) -> tuple[Labels, Array]:
        """Return labels and squared distances to the nearest center, both of shape (r,)."""
        labels = self.label(block)
        return labels, self.measure(block, labels)

    def measure(self, block: Block, labels: Labels) -> Array:
        """Return the squared distance of each row to the center of its label, shape (r,)."""
        sq_distances = np.empty(len(block))
        for part, rows, _ in block.tiles():
            sq_distances[part] = sq_distances_to_own(rows, labels[part], self.centers)
        return sq_distances


def _packed(
    centers: Array, shift: Array, dtype: np.dtype[Any], drift: Drift | None
) -> PackedCenters:
    if drift is None:
        return pack_centers(centers, shift, dtype)
    return pack_centers(centers, shift, dtype, drift.order, drift.width)


@dataclass(frozen=True)
class Assignment:
    """One assignment of all rows to a set of centers, in a row of such.

    Attributes
    ----------
    centers : CenterSet
    step : int
        Number of the assignment, from 1.
    state : StateKey or None
        Where the rows' labels and bounds are kept for the next assignment; None: nowhere.
    previous : ndarray of shape (k, d), float64, or None
        The centers of assignment `step - 1`, by which labels that were lost are made again.
    still : bool
        They are these centers, too.
    """

    centers: CenterSet
    step: int = 1
    state: StateKey | None = None
    previous: Array | None = None
    still: bool = False


class Assigned(NamedTuple):
    """What an assignment of a block's rows yields.

    Attributes
    ----------
    sums : ndarray of shape (k, s), int64, or MovedRows
        Quantised sums of the clusters, less those of assignment `step - 1` where there was one.
    labels : ndarray of shape (r,), int32
    n_changed : int
        Rows whose label is new.
    n_distances : int
        Distances between a row and a center that were measured.
    """

    sums: SumsOrRows
    labels: Labels
    n_changed: int
    n_distances: int


def assign(block: Block, assignment: Assignment, quantisation: Quantisation) -> Assigned:
    """Label a block's rows and sum them, from what is remembered of them where something is.

    Raises
    ------
    ValueError
        If a row is not finite, or outside of the ranges that the first pass found.
    """
    centers = assignment.centers
    if assignment.state is None:
        state = RowState.unknown(len(block))
    else:
        state = remembered(assignment.state, block.number, len(block), block.joined)
    counted = assignment.step > 1 and assignment.state is not None
    n_distances = 0
    if counted and state.step != assignment.step - 1:
        # Lost, or left halfway: labels depend on the centers alone, so those of the pass before
        # can be had again.
        assert assignment.previous is not None
        before = CenterSet.make(assignment.previous, centers.shift)
        state.labels[:] = before.label(block)
        state.bounded_since = 0
        n_distances = len(block) * len(centers.centers)
    elif counted and assignment.still:
        state.step = assignment.step
        shape = len(centers.centers), sums_width(block.rows.shape[1])
        return Assigned(MovedRows(shape), state.labels, 0, 0)
    # Until all is written, this is nobody's state.
    state.step = 0
    if isinstance(block.rows, CSRRows):
        sums, n_changed = _sparse_step(block, centers, quantisation, state, counted)
        state.step = assignment.step
        n_distances += len(block) * len(centers.centers)
        return Assigned(sums, state.labels, n_changed, n_distances)
    drift = centers.drift
    state.make_room(0 if drift is None else len(drift.by_group))
    looks = drift is not None and state.bounded_since == drift.since and state.rest == 0
    heads = None
    axes = centers.axes
    if axes is not None and state.rest == 0:
        # Of the same rows in as many axes they are the same.
        if state.heads is None or state.heads.shape[1] != axes.size:
            state.heads = axes.heads_of(block)
            n_distances += len(block) * axes.size
        heads = Heads(state.heads, centers.packed_heads(axes), axes.error)
    state.rest = max(0, state.rest - 1)
    sums, n_changed, measured = _lloyd_step(
        block, centers, quantisation, state, counted, looks, heads
    )
    if looks or heads is not None:
        # Bounds that leave most to be measured cost more than they save: look less often.
        useless = measured > MOST_DISTANCES * len(block) * len(centers.centers)
        state.patience = min(2 * state.patience + 1, _LONGEST_REST) if useless else 0
        state.rest = state.patience
    state.bounded_since = 0 if drift is None else drift.since
    state.step = assignment.step
    return Assigned(sums, state.labels, n_changed, n_distances + measured)


_LONGEST_REST = 7  # passes


def _lloyd_step(
    block: Block,
    centers: CenterSet,
    quantisation: Quantisation,
    state: RowState,
    counted: bool,
    looks: bool,
    heads: Heads | None,
) -> tuple[Array, int, int]:
    """Run the kernel over the tiles of a block: sums, changed labels, distances measured."""
    sums = no_sums(len(centers.centers), len(quantisation.shift))
    drift = centers.drift
    bounds = None
    if drift is not None:
        bounds = Bounds(state.margin, state.lower, drift.by_label, drift.by_group)
    step: Callable[..., tuple[int, int, int, int]] = lloyd_block
    if heads is not None:
        step = partial(lloyd_block_by_heads, heads=heads)
    n_changed = n_distances = 0
    for part, rows, weights in block.tiles():
        weights = np.ldexp(weights, -quantisation.weight_exponent)
        status, row, changed, measured = step(
            rows,
            weights,
            centers.packed_for(rows),
            quantisation.shift,
            quantisation.scale,
            sums,
            state.labels,
            first=part.start,
            counted=counted,
            bounds=bounds,
            bounded=looks,
        )
        if status == NOT_FINITE:
            raise not_finite(block, part.start + row)
        if status != CLEAN:
            raise changed_rows(block)
        n_changed += changed
        n_distances += measured
    return sums, n_changed, n_distances


def _sparse_step(
    block: Block,
    centers: CenterSet,
    quantisation: Quantisation,
    state: RowState,
    counted: bool,
) -> tuple[SumsOrRows, int]:
    """Label the sparse rows of a block: sums, and changed labels."""
    sums: SumsOrRows = MovedRows((len(centers.centers), len(quantisation.shift)))
    n_changed = 0
    # At once, if there are any.
    for part, rows, weights in block.tiles():
        status, row, n_changed, sums = lloyd_sparse(
            rows,
            np.ldexp(weights, -quantisation.weight_exponent),
            centers.packed_for(rows),
            quantisation.scale,
            state.labels[part],
            counted=counted,
        )
        if status == NOT_FINITE:
            raise not_finite(block, row)
        if status != CLEAN:
            raise changed_rows(block)
    return sums, n_changed


def changed_rows(block: Block) -> RowsError:
    """Make the error for rows that are not those of the first pass."""
    return RowsError(
        f"Block {block.number} of X holds values outside of the range that the first pass found: "
        "the data changed while they were being clustered. Every read has to give the same rows."
    )


@dataclass(frozen=True)
class CostParameters:
    """What a block has to know to measure its cost.

    Attributes
    ----------
    assignments : tuple of Assignment
        Each the last of its row: what was remembered is forgotten.
    quantisation : Quantisation or None
        None where nothing is remembered.
    keep_labels : bool
        Return the labels by each set of centers.
    """

    assignments: tuple[Assignment, ...]
    quantisation: Quantisation | None
    keep_labels: bool


def cost_chunk(block: Block, parameters: CostParameters) -> Costs:
    """Sum the weighted squared distances of a block's rows to their nearest centers, exactly."""
    digits, counts, kept = [], [], []
    for number, assignment in enumerate(parameters.assignments):
        centers = assignment.centers
        if assignment.state is None or parameters.quantisation is None:
            labels = centers.label(block)
        else:
            labels = assign(block, assignment, parameters.quantisation).labels
        total, sizes = no_cost(), np.zeros(len(centers.centers), np.int64)
        for part, rows, weights in block.tiles():
            add_costs(rows, weights, labels[part], centers.centers, total, sizes)
        digits.append(total)
        counts.append(sizes)
        if parameters.keep_labels:
            kept.append((number, block.number, labels))
    for assignment in parameters.assignments:
        if assignment.state is not None:
            forget(assignment.state.fit, block.number)
    return Costs(tuple(digits), tuple(counts), tuple(kept))


def measure(
    run: RunPass,
    assignments: list[Assignment],
    quantisation: Quantisation | None = None,
    *,
    keep_labels: bool,
) -> Costs:
    """Return the cost of the rows for each set of centers, in one pass."""
    parameters = CostParameters(tuple(assignments), quantisation, keep_labels)
    return run(Pass("kmeans-cost", cost_chunk, parameters, by_row_number=keep_labels))


def measure_centers(run: Run, shift: Array, centers: Array, *, keep_labels: bool) -> Costs:
    """Return the cost of the rows for one set of centers that nothing is remembered of."""
    centers_set = CenterSet.make(centers, shift)
    return measure(run, [Assignment(centers_set)], keep_labels=keep_labels)


def model_shift(centers: Array) -> Array:
    """Return a shift for rows that only a model is known of: the mean center, exact in float32."""
    mean = np.asarray(centers, dtype=np.float64).mean(axis=0)
    with np.errstate(over="ignore"):
        narrow = mean.astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(narrow), narrow, mean)
