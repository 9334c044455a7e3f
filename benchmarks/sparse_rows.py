"""Lloyd iterations on sparse rows, ours and scikit-learn's in turn, in processes of their own.

python benchmarks/sparse_rows.py
python benchmarks/sparse_rows.py --quick

The rows are hashed TF-IDF of real text: the docstrings of the installed packages that Python code
brings along, one document each. Both fit 20 iterations that compute every distance, from the same
rows as initial centers: algorithm="lloyd", which our "auto" comes to for sparse rows. The report is
benchmarks/results/sparse_rows.json and .md.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from machine import describe_machine
from report import RESULTS, machine_line
from workers import environment

# Packages whose docstrings are read: whatever is installed of them.
_PACKAGES = (
    "dask",
    "distributed",
    "matplotlib",
    "networkx",
    "numba",
    "numpy",
    "pandas",
    "scipy",
    "skimage",
    "sklearn",
    "sympy",
    "xarray",
    "zarr",
)
# Shorter ones say too little to be a document.
_LEAST_CHARACTERS = 200
_SEED = 20251125
# Threads that wait for work spin for a while.
_REST_S = 0.3
_OURS, _THEIRS = "daskmeans", "scikit-learn"

# Bits of the hash, clusters, dtype.
CELLS = (
    (14, 20, "float32"),
    (14, 100, "float32"),
    (16, 100, "float32"),
    (16, 100, "float64"),
    (18, 100, "float32"),
    (16, 500, "float32"),
)


def documents(packages: tuple[str, ...]) -> list[str]:
    """Return the distinct docstrings of installed packages, in the order of their files."""
    folder = Path(sysconfig.get_paths()["purelib"])
    found: dict[str, None] = {}
    for package in packages:
        for path in sorted((folder / package).rglob("*.py")):
            found.update(dict.fromkeys(_docstrings(path)))
    return list(found)


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        text = ast.get_docstring(node) if isinstance(node, kinds) else None
        if text is not None and len(text) >= _LEAST_CHARACTERS:
            yield text


def hashed(texts: list[str], bits: int) -> Any:
    """Return TF-IDF of hashed words, a CSR matrix of unit rows, float64."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    vectorizer = HashingVectorizer(
        n_features=2**bits, alternate_sign=False, norm=None, stop_words="english"
    )
    return TfidfTransformer().fit_transform(vectorizer.transform(texts))


def inertia(rows: Any, centers: Any) -> float:
    """Return what the rows cost to centers, in float64 and by the expansion: unit rows allow it."""
    rows, centers = rows.astype(np.float64), np.asarray(centers, dtype=np.float64)
    total = 0.0
    sq_norms = (centers**2).sum(axis=1)
    for start in range(0, rows.shape[0], 4096):
        part = rows[start : start + 4096]
        own = np.asarray(part.multiply(part).sum(axis=1)).ravel()
        total += float((own + (sq_norms - 2 * (part @ centers.T)).min(axis=1)).sum())
    return total


def _serve(name: str, rows_file: str, centers_file: str, max_iter: int, n_threads: int) -> None:
    """Fit once for each line on standard input, and answer with seconds and iterations."""
    import scipy.sparse as sp

    rows, centers = sp.load_npz(rows_file), np.load(centers_file)
    if name == _OURS:
        import dask

        from daskmeans import KMeans

        dask.config.set(scheduler="threads", num_workers=n_threads)
    else:
        from sklearn.cluster import KMeans
    options = {"init": centers, "n_init": 1, "max_iter": max_iter, "tol": 0, "algorithm": "lloyd"}
    KMeans(len(centers), **{**options, "max_iter": 2}).fit(rows)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        model = KMeans(len(centers), **options).fit(rows)
        seconds = time.perf_counter() - start
        np.save(line.strip(), model.cluster_centers_)
        print(json.dumps([seconds, int(model.n_iter_)]), flush=True)


class _Process:
    """The process of one of the two."""

    def __init__(self, name: str, rows: Path, centers: Path, max_iter: int, threads: int) -> None:
        arguments = ["serve", name, str(rows), str(centers), str(max_iter), str(threads)]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(threads),
            text=True,
        )
        self._answer()

    def fit(self, centers: Path) -> tuple[float, int]:
        """Return milliseconds an iteration, and the iterations; the centers go to a file."""
        time.sleep(_REST_S)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{centers}\n")
        self._process.stdin.flush()
        seconds, n_iter = self._answer()
        return 1000 * seconds / n_iter, n_iter

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException(f"a process ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self._process.communicate()


def run_cell(
    texts: list[str], bits: int, k: int, dtype: str, *, pairs: int, max_iter: int, threads: int
) -> dict[str, Any]:
    """Run both on one cell, A B A B."""
    import scipy.sparse as sp

    rows = hashed(texts, bits).astype(dtype)
    chosen = np.sort(np.random.default_rng(_SEED).choice(rows.shape[0], k, replace=False))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sp.save_npz(folder / "rows.npz", rows, compressed=False)
        np.save(folder / "centers.npy", rows[chosen].toarray())
        processes = {
            name: _Process(name, folder / "rows.npz", folder / "centers.npy", max_iter, threads)
            for name in (_OURS, _THEIRS)
        }
        ms: dict[str, list[float]] = {name: [] for name in processes}
        n_iter: dict[str, int] = {}
        try:
            for _ in range(pairs):
                for name, process in processes.items():
                    taken, n_iter[name] = process.fit(folder / f"{name}.npy")
                    ms[name].append(taken)
        finally:
            for process in processes.values():
                process.close()
        found = {name: inertia(rows, np.load(folder / f"{name}.npy")) for name in processes}
    ratios = [theirs / ours for ours, theirs in zip(ms[_OURS], ms[_THEIRS], strict=True)]
    return {
        "rows": rows.shape[0],
        "features": rows.shape[1],
        "values": int(rows.nnz),
        "clusters": k,
        "dtype": dtype,
        "ms": ms,
        "n_iter": n_iter,
        "inertia": found,
        "ratio": [median(ratios), min(ratios), max(ratios)],
    }


def render(result: dict[str, Any]) -> str:
    """Return the table."""
    lines = [
        "Time of an iteration on sparse rows, scikit-learn over ours: hashed TF-IDF of docstrings, "
        f"fits of {result['max_iter']} iterations from the same rows as centers with "
        'algorithm="lloyd", '
        f"{result['threads']} threads; median of {result['pairs']} pairs run in turn (lowest to "
        "highest).",
        "",
        "| rows x features, k | values a row | dtype | ours, ms | scikit-learn / ours | "
        "inertia, ours / theirs |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for cell in result["cells"]:
        middle, low, high = cell["ratio"]
        lines.append(
            f"| {cell['rows']:,} x {cell['features']:,}, {cell['clusters']} "
            f"| {cell['values'] / cell['rows']:.0f} | {cell['dtype']} "
            f"| {median(cell['ms'][_OURS]):.1f} | **{middle:.2f}** ({low:.2f} to {high:.2f}) "
            f"| {cell['inertia'][_OURS] / cell['inertia'][_THEIRS]:.6f} |"
        )
    where = machine_line(result["machine"])
    lines += ["", f"Measured on {result['date']} with {where}; {result['command']}."]
    return "\n".join(lines) + "\n"


@click.group(invoke_without_command=True)
@click.option("--pairs", default=5, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--quick", is_flag=True, help="See that all works: few rows; writes nothing.")
@click.pass_context
def main(context: click.Context, pairs: int, threads: int, quick: bool) -> None:
    """Time Lloyd iterations of ours and of scikit-learn on sparse rows."""
    if context.invoked_subcommand is not None:
        return
    packages, cells, max_iter = _PACKAGES, CELLS, 20
    if quick:
        packages, cells, pairs, max_iter = ("sklearn",), CELLS[:2], 1, 5
    texts = documents(packages)
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "pairs": pairs,
        "threads": threads,
        "max_iter": max_iter,
        "command": "`python benchmarks/sparse_rows.py`",
        "cells": [],
    }
    for bits, k, dtype in cells:
        cell = run_cell(texts, bits, k, dtype, pairs=pairs, max_iter=max_iter, threads=threads)
        result["cells"].append(cell)
        click.echo(f"{bits} bits, k={k}, {dtype}: {cell['ratio'][0]:.2f}", err=True)
        if not quick:
            # After each cell: a run that is stopped leaves what it has measured.
            (RESULTS / "sparse_rows.json").write_text(json.dumps(result, indent=1) + "\n")
            (RESULTS / "sparse_rows.md").write_text(render(result))
    click.echo(render(result))


@main.command(hidden=True)
@click.argument("name")
@click.argument("rows_file")
@click.argument("centers_file")
@click.argument("max_iter", type=int)
@click.argument("n_threads", type=int)
def serve(name: str, rows_file: str, centers_file: str, max_iter: int, n_threads: int) -> None:
    """Be the process of one of the two."""
    _serve(name, rows_file, centers_file, max_iter, n_threads)


if __name__ == "__main__":
    main()
