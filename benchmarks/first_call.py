"""First impressions, each in a fresh process: the import, and the first fit, cold and warm.

    python benchmarks/first_call.py

Cold means that nothing is compiled yet: DASKMEANS_CACHE_DIR names an empty folder. Warm is the
next process with the same folder. Seconds are taken inside the process, without its own start.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import date
from statistics import median
from typing import Any

import click

from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result
from workers import environment

_IMPORT_OURS = "import daskmeans"
_IMPORT_PEERS = "import sklearn.cluster, dask.array"

# One for the kernels of few features and one for those that call BLAS.
_SHAPES = ((10_000, 10, 8), (10_000, 128, 64))

_IMPORT_CODE = """\
import time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""

_FIT_CODE = """\
import time
import numpy as np
from {module} import KMeans
rows = np.random.default_rng(0).random(({n_rows}, {n_features}), dtype=np.float32)
model = KMeans({n_clusters}, n_init=1, random_state=0)
start = time.perf_counter()
model.fit(rows)
print(time.perf_counter() - start)
"""

Seconds = dict[str, list[float]]


def _seconds(code: str, variables: dict[str, str]) -> float:
    child = subprocess.run(
        [sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, check=True, text=True
    )
    return float(child.stdout)


def _time_imports(n_repeats: int, variables: dict[str, str]) -> Seconds:
    found: Seconds = {_IMPORT_OURS: [], _IMPORT_PEERS: []}
    # The first round reads files from disk and compiles bytecode: it does not count.
    for repeat in range(n_repeats + 1):
        for statement, seconds in found.items():
            second = _seconds(_IMPORT_CODE.format(statement=statement), variables)
            if repeat > 0:
                seconds.append(second)
    return found


def _time_first_fits(
    shape: tuple[int, int, int], n_repeats: int, variables: dict[str, str]
) -> Seconds:
    n_rows, n_features, n_clusters = shape
    sizes = {"n_rows": n_rows, "n_features": n_features, "n_clusters": n_clusters}
    ours = _FIT_CODE.format(module="daskmeans", **sizes)
    scikit_learn = _FIT_CODE.format(module="sklearn.cluster", **sizes)
    found: Seconds = {"cold": [], "warm": [], "scikit-learn": []}
    for _ in range(n_repeats):
        with tempfile.TemporaryDirectory() as folder:
            with_cache = {**variables, "DASKMEANS_CACHE_DIR": folder}
            found["cold"].append(_seconds(ours, with_cache))
            found["warm"].append(_seconds(ours, with_cache))
        found["scikit-learn"].append(_seconds(scikit_learn, variables))
    return found


def _render(result: dict[str, Any]) -> str:
    imports = result["imports"]
    ratios = [
        ours / theirs
        for ours, theirs in zip(imports[_IMPORT_OURS], imports[_IMPORT_PEERS], strict=True)
    ]
    import_rows = [[f"`{statement}`", _spread(found)] for statement, found in imports.items()]
    import_rows.append(["ratio", _spread(ratios)])
    fit_rows = [
        [shape, *(_spread(found[kind]) for kind in ("cold", "warm", "scikit-learn"))]
        for shape, found in result["first_fits"].items()
    ]
    return "\n".join(
        [
            "# First impressions\n",
            f"{result['date']}, {machine_line(result['machine'])}, {result['n_threads']} threads. "
            "Written by `python benchmarks/first_call.py`. Seconds in fresh processes run in "
            f"turn: median of {result['n_repeats']} (lowest to highest).\n",
            markdown_table(["import", "s"], import_rows),
            "First fit of a process, imports not counted, float32, `n_init=1`:\n",
            markdown_table(
                ["rows x features, k", "nothing compiled", "compiled before", "scikit-learn"],
                fit_rows,
            ),
        ]
    )


def _spread(numbers: list[float]) -> str:
    return f"{median(numbers):.2f} ({min(numbers):.2f} to {max(numbers):.2f})"


@click.command()
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
def main(repeats: int, threads: int) -> None:
    """Write results/first_call.json and results/first_call.md."""
    variables = environment(threads)
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "versions": versions(["daskmeans", "scikit-learn", "dask", "numba", "numpy"]),
        "n_threads": threads,
        "n_repeats": repeats,
        "imports": _time_imports(repeats, variables),
        "first_fits": {
            "{} x {}, {}".format(*shape): _time_first_fits(shape, repeats, variables)
            for shape in _SHAPES
        },
    }
    text = _render(result)
    write_result("first_call", result, text)
    click.echo(text)


if __name__ == "__main__":
    main()
