"""Render results as Markdown, and their summary into the README.

python benchmarks/report.py            # results/peers*.json -> results/peers*.md and .png
python benchmarks/report.py --readme   # the same, and the table of README.md
python benchmarks/report.py --check    # is that table the one of results/*.json?
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from contenders import OURS
from data import short_count
from plots import plot_ratios
from readme_table import machines, readme_rows
from results import CellResult, PeersResult, geometric_mean

RESULTS = Path(__file__).resolve().parent / "results"
_README = RESULTS.parent.parent / "README.md"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a table whose first column is left-aligned and whose others are right-aligned."""
    rules = ["---", *["---:"] * (len(header) - 1)]
    lines = [f"| {' | '.join(cells)} |" for cells in [header, rules, *rows]]
    return "\n".join(lines) + "\n"


def write_result(name: str, result: dict[str, Any], markdown: str) -> None:
    """Write `results/NAME.json` and `results/NAME.md`, in place of older ones."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(markdown)


def machine_line(machine: dict[str, Any]) -> str:
    return (
        f"{machine['processor']} ({machine['vectors']}, {machine['n_cores']} cores), "
        f"{machine['memory_gib']} GiB, {machine['system']}"
    )


def render_peers(result: PeersResult) -> str:
    """The whole report of a run against the peers."""
    title = "Whole fits" if result.tol > 0 else "A Lloyd iteration"
    parts = [
        f"# {title}, against peers\n",
        f"{result.date}, {machine_line(result.machine)}. Written by `{result.command}`.\n",
        _contenders_table(result),
    ]
    for dtype in _dtypes(result):
        parts += [f"## {dtype}\n", _ratio_caption(result, dtype), _ratio_table(result, dtype)]
        parts += [_details_caption(result), _details_table(result, dtype)]
    return "\n".join(parts)


def readme_block(folder: Path) -> str:
    """The README's table of ratios, with its caption."""
    header = ["work", "peer", "peer's time / ours", "measured"]
    where = "; ".join(machine_line(machine) for machine in machines(folder))
    return "\n".join(
        [
            "More than 1 means that ours is faster: geometric means over data sets, medians over "
            "runs (lowest to highest).\n",
            markdown_table(header, readme_rows(folder)),
            f"2 threads, float32 where nothing else is said, {where}. "
            "Written by `python benchmarks/report.py --readme`.\n",
        ]
    )


def write_peers(result: PeersResult, folder: Path, name: str) -> None:
    """Write the report of a run against the peers: JSON, Markdown, and a plot of the ratios."""
    result.write(folder / f"{name}.json")
    (folder / f"{name}.md").write_text(render_peers(result))
    plot_ratios(result, folder / f"{name}.png")


def replace_between_markers(text: str, name: str, block: str) -> str:
    """Put `block` between the markers of a benchmark.

    Raises
    ------
    ValueError
        If the text does not hold both markers, in their order.
    """
    start, end = (f"<!-- benchmark:{name}:{place} -->" for place in ("start", "end"))
    before, found_start, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise ValueError(f"there is no {start} with {end} after it")
    return f"{before}{start}\n{block}{end}{after}"


def _contenders_table(result: PeersResult) -> str:
    rows = []
    for name, about in result.contenders.items():
        if about["problem"] is not None:
            rows.append([name, about["problem"], "", ""])
            continue
        versions = [f"{package} {version}" for package, version in about["versions"].items()]
        kernels = [
            f"{blas['library']} {blas['version']} {blas['kernel']} x {blas['n_threads']}"
            for blas in about["blas"]
        ]
        rows.append([name, ", ".join(versions), ", ".join(kernels), f"{about['import_s']:.2f}"])
    header = ["contender", "versions", "BLAS, kernel x threads after a call", "import s"]
    return markdown_table(header, rows)


def _ratio_caption(result: PeersResult, dtype: str) -> str:
    if result.tol > 0:
        in_a_row = f" {result.fits_in_a_row} in a row," if result.fits_in_a_row > 1 else ""
        return (
            "Time of a whole fit, peer over ours: more than 1 means that ours is faster. Fits from "
            f"the same centers to scikit-learn's tolerance {result.tol:g},{in_a_row} {dtype}, "
            f"{result.n_threads} threads; median of {result.n_pairs} pairs run in turn (lowest to "
            "highest). Peers without such a tolerance made as many iterations as ours.\n"
        )
    return (
        f"Time of an iteration, peer over ours: more than 1 means that ours is faster. Fits of "
        f"{result.max_iter} iterations from the same centers, {dtype}, {result.n_threads} threads; "
        f"median of {result.n_pairs} pairs run in turn (lowest to highest).\n"
    )


def _ratio_table(result: PeersResult, dtype: str) -> str:
    cells = [cell for cell in result.cells if cell.cell.dtype == dtype]
    peers = [name for name in result.contenders if name != OURS]
    second = "iterations" if result.tol > 0 else "of the limit"
    header = ["data: rows x features, k", "ours, ms", second, *peers, "fastest peer"]
    rows = []
    for cell in cells:
        outcome = cell.outcomes[OURS]
        if cell.whole_fits:
            ours, share = f"{outcome.ms:.{1 if outcome.ms < 100 else 0}f}", str(outcome.n_iter)
        else:
            ours = f"{outcome.ms_per_iteration:.1f}"
            share = f"{cell.share_of_limit(OURS):.0%} ({cell.limited_by()})"
        ratios = [_ratio_text(cell, peer) for peer in peers]
        fastest = cell.fastest_peer()
        ratio = "" if fastest is None else f"{cell.ratio(fastest).median:.2f}"
        rows.append([_cell_text(cell), ours, share, *ratios, ratio])
    rows += _mean_rows(cells, peers)
    return markdown_table(header, rows)


def _mean_rows(cells: list[CellResult], peers: list[str]) -> list[list[str]]:
    """Geometric means: of each kind of data that has several cells, and of all."""
    kinds = dict.fromkeys(cell.cell.data for cell in cells)
    groups = {kind: [cell for cell in cells if cell.cell.data == kind] for kind in kinds}
    if len(groups) > 1:
        groups["all"] = cells
    rows = []
    for kind, group in groups.items():
        if len(group) < 2:
            continue
        means = [
            _mean_text([cell.ratio(peer).median for cell in group if peer in cell.peers], group)
            for peer in peers
        ]
        fastest = [(cell, peer) for cell in group if (peer := cell.fastest_peer()) is not None]
        of_fastest = _mean_text([cell.ratio(peer).median for cell, peer in fastest], group)
        rows.append([f"geometric mean, {kind}", "", "", *means, of_fastest])
    return rows


def _mean_text(ratios: list[float], cells: list[CellResult]) -> str:
    if not ratios:
        return ""
    missing = "" if len(ratios) == len(cells) else f" ({len(ratios)} of {len(cells)} cells)"
    return f"**{geometric_mean(ratios):.2f}**{missing}"


def _ratio_text(cell: CellResult, peer: str) -> str:
    problem = cell.outcomes[peer].problem
    if problem is not None:
        return problem
    ratio = cell.ratio(peer)
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _details_caption(result: PeersResult) -> str:
    of_all = " if every distance were computed" if result.tol > 0 else ""
    return (
        f"The limit{of_all} is the longer of two times: of the matrix product of rows and centers "
        "at the rate measured for that cell, and of reading the rows once. Times of an iteration "
        "hold their share of what a fit does besides. Inertia is that of the final centers, "
        "computed in float64 by one function for all. The first call compiles what it needs to.\n"
    )


def _details_table(result: PeersResult, dtype: str) -> str:
    header = [
        "data: rows x features, k",
        "contender",
        "ms an iteration",
        "of the limit",
        "iterations",
        "inertia",
        "first call s",
    ]
    rows = []
    for cell in result.cells:
        if cell.cell.dtype != dtype:
            continue
        limit = f"{cell.limits.gemm_gflops:.0f} GF/s, {cell.limits.read_gb_per_s:.1f} GB/s"
        rows.append([_cell_text(cell), f"limit: {limit}", f"{cell.limit_ms():.2f}", "", "", "", ""])
        for name in cell.outcomes:
            rows.append(["", name, *_outcome_texts(cell, name)])
    return markdown_table(header, rows)


def _outcome_texts(cell: CellResult, name: str) -> list[str]:
    outcome = cell.outcomes[name]
    if outcome.problem is not None:
        return [outcome.problem, "", "", "", ""]
    if name == OURS:
        inertia = f"{outcome.inertia:.6g}"
    else:
        inertia = f"{outcome.inertia / cell.outcomes[OURS].inertia - 1:+.4%}"
    return [
        f"{outcome.ms_per_iteration:.2f}",
        f"{cell.share_of_limit(name):.0%}",
        str(outcome.n_iter),
        inertia,
        f"{outcome.first_call_s:.2f}",
    ]


def _cell_text(result: CellResult) -> str:
    cell = result.cell
    return f"{cell.data}: {short_count(cell.n_rows)} x {cell.n_features}, {cell.n_clusters}"


def _dtypes(result: PeersResult) -> list[str]:
    return list(dict.fromkeys(cell.cell.dtype for cell in result.cells))


@click.command()
@click.option("--readme", is_flag=True, help="Write the table of README.md too.")
@click.option("--check", is_flag=True, help="Write nothing; fail if README.md has another table.")
def main(readme: bool, check: bool) -> None:
    """Render the results against peers as Markdown."""
    for name in ("peers", "peers-whole-fit"):
        source = RESULTS / f"{name}.json"
        if not source.exists():
            raise click.ClickException(
                f"there is no results/{name}.json: run benchmarks/peers.py first, with and without "
                "--work whole-fit."
            )
        if not check:
            write_peers(PeersResult.read(source), RESULTS, name)
    if not (readme or check):
        return
    before = _README.read_text()
    try:
        after = replace_between_markers(before, "summary", readme_block(RESULTS))
    except ValueError as error:
        raise click.ClickException(f"README.md: {error}") from None
    if check and after != before:
        raise click.ClickException("README.md has another table: run report.py --readme.")
    _README.write_text(after)


if __name__ == "__main__":
    main()
