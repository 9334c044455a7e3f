"""Labels of all rows, every distance computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from problems import Problem

from daskmeans.kernels.assign import label_block, pack_centers


def bench_label_block(
    measure: Callable[..., Any], problem: Problem, tell_rate: Callable[[str, float], None]
) -> None:
    packed = pack_centers(problem.centers, problem.shift, problem.rows.dtype)
    labels = np.empty(len(problem.rows), np.int32)
    measure(label_block, problem.rows, packed, labels)
    tell_rate("F", 2 * problem.n_products)


def bench_pack_centers(measure: Callable[..., Any], problem: Problem) -> None:
    measure(pack_centers, problem.centers, problem.shift, problem.rows.dtype)
