"""Lloyd steps over one block: the first, a later one, and one whose bounds leave most out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from problems import Problem

from daskmeans.algorithms.drift import Drift
from daskmeans.kernels.assign import pack_centers
from daskmeans.kernels.lloyd import CLEAN, Bounds, lloyd_block, sum_block

_ONE = np.ones(1)


def bench_first_step(
    measure: Callable[..., Any], problem: Problem, tell_rate: Callable[[str, float], None]
) -> None:
    packed = pack_centers(problem.centers, problem.shift, problem.rows.dtype)
    labels = np.empty(len(problem.rows), np.int32)
    measure(
        lloyd_block, problem.rows, _ONE, packed, *problem.quantisation, problem.no_sums(), labels
    )
    tell_rate("F", 2 * problem.n_products)


def bench_step_that_changes_no_label(
    measure: Callable[..., Any], problem: Problem, tell_rate: Callable[[str, float], None]
) -> None:
    packed = pack_centers(problem.centers, problem.shift, problem.rows.dtype)
    labels = np.empty(len(problem.rows), np.int32)
    arguments = (problem.rows, _ONE, packed, *problem.quantisation, problem.no_sums(), labels)
    lloyd_block(*arguments)
    measure(lloyd_block, *arguments, counted=True)
    tell_rate("F", 2 * problem.n_products)


def bench_step_with_bounds(benchmark: Any, problem: Problem) -> None:
    """Centers have moved a seventh of the rows' spread since the bounds were made."""
    drift = Drift.start(problem.centers, 1)
    packed = pack_centers(
        problem.centers, problem.shift, problem.rows.dtype, drift.order, drift.width
    )
    n_rows = len(problem.rows)
    labels = np.empty(n_rows, np.int32)
    margin = np.empty(n_rows, np.float32)
    lower = np.empty((len(drift.by_group), n_rows), np.float32)
    sums = problem.no_sums()

    def step(packed: Any, drift: Drift, *, counted: bool) -> float:
        status, _, _, n_distances = lloyd_block(
            problem.rows,
            _ONE,
            packed,
            *problem.quantisation,
            sums,
            labels,
            counted=counted,
            bounds=Bounds(margin, lower, drift.by_label, drift.by_group),
            bounded=counted,
        )
        assert status == CLEAN
        return n_distances / (n_rows * len(problem.centers))

    step(packed, drift, counted=False)
    direction = np.random.default_rng(1).standard_normal(problem.centers.shape)
    moved = problem.centers + 0.15 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    after = drift.after(problem.centers, moved)
    packed = pack_centers(moved, problem.shift, problem.rows.dtype, drift.order, drift.width)
    kept = labels.copy(), margin.copy(), lower.copy()

    def start_over() -> tuple[tuple[Any, ...], dict[str, Any]]:
        labels[:], margin[:], lower[:] = kept
        return (packed, after), {"counted": True}

    share = benchmark.pedantic(step, setup=start_over, rounds=50, warmup_rounds=1)
    benchmark.extra_info["distances computed"] = round(share, 3)


def bench_sum_block(
    measure: Callable[..., Any], problem: Problem, tell_rate: Callable[[str, float], None]
) -> None:
    shift, scale = problem.quantisation
    measure(sum_block, problem.rows, _ONE, shift, scale, problem.no_sums()[:1])
    tell_rate("B", problem.rows.nbytes)
