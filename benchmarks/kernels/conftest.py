"""Fixtures of the micro-benchmarks: a problem of each shape, and a rate for the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from problems import N_BYTES, SHAPES, Problem


@pytest.fixture(
    params=[*((shape, "float32") for shape in SHAPES), ((32, 100), "float64")],
    ids=lambda param: f"{param[0][0]}-{param[0][1]}-{param[1]}",
)
def problem(request: pytest.FixtureRequest) -> Problem:
    (n_features, n_clusters), dtype = request.param
    generator = np.random.default_rng(0)
    n_rows = N_BYTES // (n_features * np.dtype(dtype).itemsize)
    centers = 0.8 * generator.standard_normal((n_clusters, n_features)) / np.sqrt(n_features)
    rows = generator.standard_normal((n_rows, n_features)) / np.sqrt(n_features)
    rows += centers[generator.integers(n_clusters, size=n_rows)]
    return Problem(rows.astype(dtype), centers)


@pytest.fixture
def measure(benchmark: Any) -> Callable[..., Any]:
    """Function that benchmarks a call, after one that compiles and is not counted."""

    def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        function(*arguments, **options)
        return benchmark(function, *arguments, **options)

    return run


@pytest.fixture
def tell_rate(benchmark: Any) -> Callable[[str, float], None]:
    """Function (unit, count a call) that adds the rate of the fastest call to the report."""

    def tell(unit: str, count: float) -> None:
        # There are no figures where benchmarking is off.
        if benchmark.stats is not None:
            benchmark.extra_info[f"G{unit}/s"] = round(count / benchmark.stats["min"] / 1e9, 2)

    return tell
