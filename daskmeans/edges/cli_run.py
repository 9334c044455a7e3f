"""The commands that go all the way to pictures: `daskmeans demo` and `daskmeans run`."""

from __future__ import annotations

from pathlib import Path

import click

from daskmeans.edges.cli_errors import one_line_errors
from daskmeans.edges.cli_options import opened_rows, overwrite_option, row_options, seed_option
from daskmeans.edges.cli_scheduler import running_on, scheduler_option
from daskmeans.edges.demo import run_demo, summary
from daskmeans.edges.outputs import check_apart
from daskmeans.edges.progress import progress_bar


@click.command(short_help="Cluster the pixels of two photographs.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option(
    "-k",
    "--n-clusters",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Clusters, each a color.",
)
@overwrite_option
@one_line_errors
def demo(folder: Path | None, n_clusters: int, overwrite: bool) -> None:
    """Cluster the pixels of two photographs into a palette.

    Writes a Zarr store of the pixels, and leaves labels, model and a picture in FOLDER
    (./daskmeans-demo).
    """
    result = run_demo(folder or Path("daskmeans-demo"), n_clusters=n_clusters, overwrite=overwrite)
    click.echo(summary(result))


@click.command(short_help="From a table to clusters and a report.")
@click.argument("store")
@click.option("--k", default="auto", show_default=True, metavar="auto|N", help="Clusters.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for report.html, labels.zarr and model.",
)
@click.option(
    "--k-max", type=click.IntRange(2), help="Most clusters that auto compares; 12 without it."
)
@click.option(
    "--impute",
    type=click.Choice(["mean", "median"]),
    default="mean",
    show_default=True,
    help="What stands for missing values.",
)
@click.option(
    "--outliers",
    type=click.FloatRange(0),
    default=3.0,
    show_default=True,
    help="Drop rows with a value so many standard deviations from the mean; 0 drops none.",
)
@click.option(
    "--standardize/--no-standardize",
    default=True,
    show_default=True,
    help="Divide columns by their standard deviations.",
)
@seed_option
@row_options
@scheduler_option
@overwrite_option
@one_line_errors
def run(
    store: str,
    k: str,
    report: Path,
    k_max: int | None,
    impute: str,
    outliers: float,
    standardize: bool,
    seed: int,
    scheduler: str,
    overwrite: bool,
    **selection: str | None,
) -> None:
    """Prepare the rows of STORE, choose k, fit, and leave a report with labels and model.

    Example: daskmeans run flights.csv --k auto --report out/
    """
    from daskmeans.edges.pipeline import cluster_opened

    if k != "auto" and not k.isdecimal():
        raise click.BadParameter(f"{k!r} is neither auto nor a number.", param_hint="--k")
    rows = opened_rows(store, **selection)
    check_apart([report], [store])
    with running_on(scheduler), progress_bar():
        found = cluster_opened(
            rows,
            k if k == "auto" else int(k),
            title=f"Clusters of {Path(store.rstrip('/')).name}",
            columns=None,
            impute=impute,
            standardize=standardize,
            outliers=outliers or None,
            k_range=None if k_max is None else range(2, k_max + 1),
            n_init=10,
            random_state=seed,
            report=report,
            overwrite=overwrite,
        )
    click.echo(
        f"{found.n_rows:,} rows, {found.n_dropped:,} dropped as outliers, {len(found.centers)} "
        f"clusters ({found.reason}): {report / 'report.html'}"
    )
