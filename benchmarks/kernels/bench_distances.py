"""Distances to the rows' own centers, their exact sum, and the ranges of columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from problems import Problem

from daskmeans.kernels.distances import sq_distances_to_own
from daskmeans.kernels.exact_sum import add_terms
from daskmeans.kernels.ranges import column_ranges
from daskmeans.partials import no_cost


def bench_sq_distances_to_own(
    measure: Callable[..., Any], problem: Problem, tell_rate: Callable[[str, float], None]
) -> None:
    labels = np.random.default_rng(0).integers(len(problem.centers), size=len(problem.rows))
    measure(sq_distances_to_own, problem.rows, labels.astype(np.int32), problem.centers)
    tell_rate("B", problem.rows.nbytes)


def bench_add_terms(
    measure: Callable[..., Any], problem: Problem, tell_rate: Callable[[str, float], None]
) -> None:
    terms = np.random.default_rng(0).random(len(problem.rows))
    measure(add_terms, no_cost(), terms)
    tell_rate("term", len(terms))


def bench_column_ranges(
    measure: Callable[..., Any], problem: Problem, tell_rate: Callable[[str, float], None]
) -> None:
    measure(column_ranges, problem.rows)
    tell_rate("B", problem.rows.nbytes)
