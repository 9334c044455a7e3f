"""A Lloyd iteration of ours against that of each peer, run in turn in processes of their own.

python benchmarks/peers.py
python benchmarks/peers.py --work whole-fit
python benchmarks/peers.py --work large-k --contenders faiss
python benchmarks/peers.py --work small --contenders scikit-learn
python benchmarks/peers.py --cells 'blobs-*' --contenders scikit-learn --dtype float64
python benchmarks/peers.py --quick
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from datetime import date
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

import click

from contenders import MODULES, OURS, PEERS, Work
from data import GRID, LARGE_K, SMALL, Cell
from machine import describe_machine
from pairs import Crew, Plan, run_cell
from report import RESULTS, render_peers, write_peers
from results import CellResult, PeersResult
from workers import ContenderFailed, ContenderMissing

_QUICK_PAIRS = 2

_WORK = {
    "iterations": Work(max_iter=20, tol=0.0, prune=False),
    "whole-fit": Work(max_iter=300, tol=1e-4, prune=True),
    # As many clusters as an index of vectors has lists.
    "large-k": Work(max_iter=3, tol=0.0, prune=False),
    # Where what a fit does besides computing counts.
    "small": Work(max_iter=300, tol=1e-4, prune=True, fits_in_a_row=20),
}
_GRIDS = {"large-k": LARGE_K, "small": SMALL}


@click.command()
@click.option(
    "--cells",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Cells whose names match, like 'blobs-*' or '*-2M-4-8'; may be repeated. Default: all.",
)
@click.option(
    "--contenders",
    "peers",
    multiple=True,
    type=click.Choice(PEERS),
    help="A peer to run against; may be repeated. Default: all.",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(["float32", "float64"]),
    default=["float32"],
    show_default=True,
    help="May be repeated: a full report has both.",
)
@click.option("--pairs", default=5, show_default=True, type=click.IntRange(5))
@click.option(
    "--work",
    type=click.Choice(list(_WORK)),
    default="iterations",
    show_default=True,
    help="20 iterations that compute every distance; or fits that stop by scikit-learn's default "
    "tolerance and may leave distances out; or 3 iterations of 16,384 clusters; or such fits of "
    "10,000 rows, 20 in a row.",
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="NAME=INTERPRETER",
    help="Interpreter for a contender that lives in another environment; may be repeated.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    show_default="benchmarks/results",
    help="Folder for the report's .json, .md and .png, which are replaced.",
)
@click.option("--quick", is_flag=True, help="See that all works: small arrays; writes nothing.")
def main(
    patterns: tuple[str, ...],
    peers: tuple[str, ...],
    dtypes: tuple[str, ...],
    pairs: int,
    work: str,
    threads: int,
    pythons: tuple[str, ...],
    output: Path,
    quick: bool,
) -> None:
    """Time Lloyd iterations of ours and of each peer, A B A B, on every cell of the grid."""
    interpreters = _interpreters(pythons)
    cells = [cell.with_dtype(dtype) for dtype in dtypes for cell in _selected(patterns, work)]
    if quick:
        cells = [cell.shrunk() for cell in cells]
        pairs = _QUICK_PAIRS
    chosen = _WORK[work]
    plan = Plan(peers or PEERS, threads, pairs, chosen)
    name = "peers" if work == "iterations" else f"peers-{work}"
    results: list[CellResult] = []

    with Crew(interpreters, threads) as crew:
        try:
            for cell in cells:
                results.append(_reported(run_cell(cell, crew, plan)))
                result = _result(results, crew, plan)
                if not quick:
                    # After each cell: a run that is stopped leaves what it has measured.
                    write_peers(result, output, name)
        except ContenderMissing as error:
            raise click.ClickException(f"{OURS} is not installed: {error}") from None
        except ContenderFailed as error:
            raise click.ClickException(str(error)) from None
    if quick:
        click.echo(render_peers(result))
    else:
        click.echo(f"Wrote {name}.json, {name}.md and {name}.png in {output}.")


def _result(cells: list[CellResult], crew: Crew, plan: Plan) -> PeersResult:
    return PeersResult(
        date=date.today().isoformat(),
        command=_shown_command(),
        machine=describe_machine(),
        n_threads=plan.n_threads,
        n_pairs=plan.n_pairs,
        max_iter=plan.work.max_iter,
        tol=plan.work.tol,
        fits_in_a_row=plan.work.fits_in_a_row,
        contenders={name: crew.about[name] for name in (OURS, *plan.peers)},
        cells=cells,
    )


def _selected(patterns: tuple[str, ...], work: str) -> list[Cell]:
    grid = _GRIDS.get(work, GRID)
    cells = [
        cell
        for cell in grid
        if not patterns or any(fnmatchcase(cell.name, pattern) for pattern in patterns)
    ]
    if not cells:
        names = ", ".join(cell.name for cell in grid)
        raise click.BadParameter(f"no cell matches; there are {names}.", param_hint="--cells")
    # Said before an hour's work and not after it.
    if find_spec("matplotlib") is None:
        raise click.ClickException("the plot of the ratios needs matplotlib: install it.")
    if any(cell.data in ("pixels", "patches") for cell in cells) and find_spec("PIL") is None:
        raise click.ClickException(
            "the sample images need Pillow: install it, or choose other cells by --cells."
        )
    return cells


def _interpreters(pythons: tuple[str, ...]) -> dict[str, str]:
    interpreters = {}
    for value in pythons:
        name, equals, interpreter = value.partition("=")
        found = shutil.which(interpreter)
        if name not in MODULES or not equals or found is None:
            raise click.BadParameter(
                f"{value!r} must be NAME=INTERPRETER with one of {', '.join(MODULES)} and a "
                "program that exists.",
                param_hint="--python",
            )
        interpreters[name] = found
    return interpreters


def _reported(result: CellResult) -> CellResult:
    """Tell on standard error how a cell went, and pass it on."""
    ratios = [f"{peer} {result.ratio(peer).median:.2f}" for peer in result.peers]
    line = f"{result.cell.name} {result.cell.dtype}: {', '.join(ratios) or 'no peer took part'}"
    click.echo(line, err=True)
    return result


def _shown_command() -> str:
    """The command as given, without this machine's folders."""
    arguments = [re.sub(r"[^=\s]*/[^=\s]*", "...", argument) for argument in sys.argv[1:]]
    return shlex.join(["python", "benchmarks/peers.py", *arguments])


if __name__ == "__main__":
    main()
