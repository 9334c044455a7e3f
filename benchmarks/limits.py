"""What the hardware can do: rate of the matrix product, and of reading an array from memory.

python benchmarks/limits.py --threads 2
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from workers import environment

# Large enough for the product's full rate, small enough to take a tenth of a second.
_GEMM_SIZE = 2048
_REPEATS = 7
_DEFAULT_BYTES = 1 << 28


@dataclass(frozen=True)
class Limits:
    """Rates of this machine, the best of a few attempts each."""

    gemm_gflops: float
    read_gb_per_s: float

    def product_ms(self, n_rows: int, n_features: int, n_clusters: int) -> float:
        """Time of the matrix product of the rows with the centers."""
        return 2 * n_rows * n_features * n_clusters / self.gemm_gflops / 1e6

    def read_ms(self, n_bytes: int) -> float:
        """Time of reading the rows once."""
        return n_bytes / self.read_gb_per_s / 1e6


def measure_limits(rows: NDArray[Any], n_threads: int) -> Limits:
    """Measure in this process, reading `rows` themselves, in their dtype."""
    return Limits(_gemm_gflops(rows.dtype, n_threads), _read_gb_per_s(rows, n_threads))


def measure_in_child(rows_file: Path, n_threads: int) -> Limits:
    """Measure in a process with the environment of the contenders."""
    child = subprocess.run(
        [sys.executable, __file__, "--threads", str(n_threads), "--rows", str(rows_file)],
        env=environment(n_threads),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return Limits(**json.loads(child.stdout))


def _gemm_gflops(dtype: np.dtype[Any], n_threads: int) -> float:
    left, right = np.random.default_rng(0).random((2, _GEMM_SIZE, _GEMM_SIZE)).astype(dtype)
    product = np.empty_like(left)
    with threadpool_limits(n_threads, user_api="blas"):
        seconds = _shortest_s(lambda: np.dot(left, right, out=product))
    return 2 * _GEMM_SIZE**3 / seconds / 1e9


def _read_gb_per_s(rows: NDArray[Any], n_threads: int) -> float:
    # The dot product of an array with itself reads each number once and does next to nothing with
    # it. Threads of our own, as BLAS does not divide it in every version.
    parts = np.array_split(rows.ravel(), n_threads)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        seconds = _shortest_s(lambda: list(pool.map(lambda part: np.dot(part, part), parts)))
    return rows.nbytes / seconds / 1e9


def _shortest_s(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@click.command()
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option(
    "--dtype", default="float32", show_default=True, type=click.Choice(["float32", "float64"])
)
@click.option(
    "--rows",
    "rows_file",
    type=click.Path(exists=True, path_type=Path),
    help="Array in a .npy file to read, instead of 256 MiB of random numbers.",
)
def main(threads: int, dtype: str, rows_file: Path | None) -> None:
    """Print GF/s of the matrix product and GB/s of reading, as JSON."""
    wanted = environment(threads)
    if wanted != dict(os.environ):
        # Libraries read these variables when they are loaded: begin again with the right ones.
        os.execve(sys.executable, [sys.executable, *sys.argv], wanted)
    if rows_file is not None:
        rows = np.load(rows_file)
    else:
        n_numbers = _DEFAULT_BYTES // np.dtype(dtype).itemsize
        rows = np.random.default_rng(0).random(n_numbers, dtype=np.dtype(dtype).type)
    click.echo(json.dumps(asdict(measure_limits(rows, threads))))


if __name__ == "__main__":
    main()
