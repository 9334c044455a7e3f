"""The command that follows a folder or a store: `daskmeans stream`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from daskmeans.algorithms.minibatch import TimeUnit
from daskmeans.edges.cli_errors import one_line_errors
from daskmeans.edges.cli_options import seed_option
from daskmeans.edges.outputs import MODEL, check_apart, check_output
from daskmeans.edges.stream import StreamStep
from daskmeans.edges.stream import stream as feed
from daskmeans.estimators.minibatch import MiniBatchKMeans


@click.command(short_help="Follow files or a store that come in.")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), required=True, help="File of the model.")
@click.option("-k", "--n-clusters", type=click.IntRange(1), required=True, help="Clusters.")
@click.option(
    "--half-life",
    type=click.FloatRange(0, min_open=True),
    help="Batches or rows, see --unit, after which what was seen counts half; without it nothing "
    "is forgotten.",
)
@click.option(
    "--unit",
    type=click.Choice(["batches", "rows"]),
    default="batches",
    show_default=True,
    help="What --half-life counts.",
)
@click.option(
    "--batch-rows", type=click.IntRange(1), help="Rows of a batch of a store; a chunk without it."
)
@click.option(
    "--follow/--once",
    default=True,
    show_default=True,
    help="Wait for more, or use what is there.",
)
@click.option(
    "--poll",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Seconds between two looks for more.",
)
@click.option(
    "--save-every",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Least seconds between two saves of the model.",
)
@click.option("--skip-bad", is_flag=True, help="Count batches that cannot be used, and go on.")
@seed_option
@one_line_errors
def stream(
    source: Path,
    model: Path,
    n_clusters: int,
    half_life: float | None,
    unit: TimeUnit,
    batch_rows: int | None,
    follow: bool,
    poll: float,
    save_every: float,
    skip_bad: bool,
    seed: int,
) -> None:
    """Follow SOURCE, a folder that files are put into or a Zarr array that grows.

    Runs until Ctrl-C or SIGTERM. The model is saved now and then, with a file MODEL.stream beside
    it, from which the same command goes on: no batch is used twice.

    Example: daskmeans stream incoming/ -k 20 --half-life 50 --model model
    """
    check_apart([model], [source])
    checkpoint = model.with_name(model.name + ".stream")
    # Going on overwrites the model that the checkpoint belongs to.
    check_output(model, MODEL, overwrite=checkpoint.exists())
    estimator = MiniBatchKMeans(
        n_clusters, half_life=half_life, time_unit=unit, compute_labels=False, random_state=seed
    )
    saved = time.monotonic()

    def save_now_and_then(step: StreamStep) -> None:
        nonlocal saved
        if time.monotonic() - saved >= save_every:
            estimator.save(model, overwrite=True)
            saved = time.monotonic()

    def tell(step: StreamStep) -> None:
        click.echo(f"{step.name}: inertia is {step.drift:.3g} times the usual", err=True)

    summary = feed(
        estimator,
        source,
        follow=follow,
        poll_seconds=poll,
        batch_rows=batch_rows,
        on_bad="skip" if skip_bad else "raise",
        callback=save_now_and_then,
        on_drift=tell,
        checkpoint=checkpoint,
        checkpoint_every=save_every,
        progress=sys.stderr.isatty(),
    )
    if not summary.n_batches:
        raise click.ClickException(f"No batch of {source} was used: there is no model to save.")
    estimator.save(model, overwrite=True)
    for error in summary.errors:
        click.echo(f"Skipped: {error}", err=True)
    click.echo(
        f"{summary.n_batches:,} batches, {summary.n_rows:,} rows, {summary.n_skipped:,} skipped "
        f"({summary.reason}): {model}"
    )
