"""The commands that make a model and label rows by it: `daskmeans fit` and `daskmeans predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
import dask.array as da
import numpy as np

from daskmeans.edges.cli_errors import one_line_errors
from daskmeans.edges.cli_options import (
    opened_rows,
    overwrite_option,
    row_options,
    seed_option,
    zarr_name,
)
from daskmeans.edges.cli_scheduler import running_on, scheduler_option
from daskmeans.edges.outputs import MODEL, check_apart, check_output
from daskmeans.edges.progress import progress_bar
from daskmeans.edges.zarr_output import ZARR_ARRAY, write_zarr
from daskmeans.estimators.archive import is_there
from daskmeans.estimators.checkpoint import read_checkpoint
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.saving import load
from daskmeans.typing import Array, Metric

_PERSIST: dict[str, bool | Literal["auto"]] = {"auto": "auto", "yes": True, "no": False}


@click.command(short_help="Fit k-means to rows of any size.")
@click.argument("store")
@click.option("-k", "--n-clusters", type=click.IntRange(1), required=True, help="Clusters.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    callback=zarr_name,
    help="Zarr array to write labels to.",
)
@click.option("--model", type=click.Path(path_type=Path), help="File to save the model in.")
@click.option(
    "--init",
    type=click.Choice(["auto", "refined", "k-means++", "k-means||", "random"]),
    default="auto",
    show_default=True,
    metavar="NAME",  # the bars of k-means|| look like those between the names
    help="auto, refined, k-means++, k-means|| or random. auto: refined, that is by clustering a "
    "sample, for many rows, else k-means++.",
)
@click.option("--n-init", type=click.IntRange(1), help="Restarts; all share each pass.")
@click.option(
    "--max-iter",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Most iterations.",
)
@click.option(
    "--tol",
    type=click.FloatRange(0),
    default=1e-4,
    show_default=True,
    help="Stop once the centers move by less than this share of the variance.",
)
@click.option(
    "--rtol",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Stop once an iteration lowers the inertia by less than this share.",
)
@click.option("--max-passes", type=click.IntRange(2), help="Most reads of all rows.")
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    help="Begin no iteration after so many, and keep the centers so far.",
)
@click.option("--checkpoint", help="File or URL that the fit can go on from, should it be ended.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from --checkpoint if it is there, with the options that the fit began with; "
    "--max-seconds counts anew.",
)
@click.option(
    "--persist",
    type=click.Choice(list(_PERSIST)),
    default="auto",
    show_default=True,
    help="Keep rows in memory: auto does if they fit in half of what is free.",
)
@click.option(
    "--metric",
    type=click.Choice(["euclidean", "cosine"]),
    default="euclidean",
    show_default=True,
    help="cosine: rows count by their directions.",
)
@seed_option
@row_options
@scheduler_option
@overwrite_option
@one_line_errors
def fit(
    store: str,
    n_clusters: int,
    labels: Path | None,
    model: Path | None,
    init: str,
    n_init: int | None,
    max_iter: int,
    tol: float,
    rtol: float,
    max_passes: int | None,
    max_seconds: float | None,
    checkpoint: str | None,
    resume: bool,
    persist: str,
    metric: Metric,
    seed: int,
    scheduler: str,
    overwrite: bool,
    **selection: str | None,
) -> None:
    """Fit k-means to the rows of STORE: Zarr, HDF5, .npy, Parquet, CSV or NetCDF.

    Example: daskmeans fit rows.zarr -k 50 --labels labels.zarr --model model
    """
    if labels is None and model is None:
        raise click.UsageError("Nothing to keep: give --labels, --model or both.")
    if resume and checkpoint is None:
        raise click.UsageError("Nothing to go on from: give --resume a --checkpoint.")
    resumed = _unfinished(checkpoint, n_clusters) if checkpoint is not None and resume else None
    rows = opened_rows(store, **selection)
    outputs = {path: kind for path, kind in ((labels, ZARR_ARRAY), (model, MODEL)) if path}
    check_apart([path for path in (labels, model) if path], [store])
    for path, kind in outputs.items():
        check_output(path, kind, overwrite=overwrite)
    estimator = KMeans(
        n_clusters,
        init=init,
        n_init=n_init or "auto",
        max_iter=max_iter,
        tol=tol,
        rtol=rtol,
        max_passes=max_passes,
        max_seconds=max_seconds,
        persist=_PERSIST[persist],
        metric=metric,
        random_state=seed,
    )
    with running_on(scheduler), progress_bar():
        if resumed is not None:
            estimator = KMeans.resume(resumed, rows, max_seconds=max_seconds)
        else:
            estimator.fit(rows, checkpoint=checkpoint)
        # The model first: should the disk be full, the labels can be made again from it.
        if model is not None:
            estimator.save(model, overwrite=overwrite)
        if labels is not None:
            write_zarr(_of_known_chunks(estimator.labels_), labels, overwrite=overwrite)
    click.echo(
        f"{estimator.labels_.shape[0]:,} rows, {len(estimator.cluster_centers_)} clusters: "
        f"{estimator.n_iter_} iterations, {estimator.n_passes_} passes, inertia "
        f"{estimator.inertia_:.10g} ({estimator.stop_reason_})"
    )


def _unfinished(checkpoint: str, n_clusters: int) -> str | None:
    """Return the checkpoint if it is there: of a fit with as many clusters."""
    if not is_there(checkpoint):
        return None
    found = read_checkpoint(checkpoint).parameters.get("n_clusters")
    if found != n_clusters:
        raise click.ClickException(
            f"{checkpoint} is of a fit with {found} clusters, and {n_clusters} are asked for: give "
            "another --checkpoint, or the same number."
        )
    return checkpoint


@click.command(short_help="Label rows by a saved model.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("store")
@click.argument("output", type=click.Path(path_type=Path), callback=zarr_name)
@row_options
@scheduler_option
@overwrite_option
@one_line_errors
def predict(
    model: Path,
    store: str,
    output: Path,
    scheduler: str,
    overwrite: bool,
    **selection: str | None,
) -> None:
    """Label the rows of STORE, opened as by `fit`, by a saved MODEL, into the Zarr array OUTPUT.

    Example: daskmeans predict model new.zarr new-labels.zarr
    """
    estimator = load(model)
    rows = opened_rows(store, **selection)
    check_apart([output], [model, store])
    check_output(output, ZARR_ARRAY, overwrite=overwrite)
    with running_on(scheduler), progress_bar():
        labels = _of_known_chunks(estimator.predict(rows))
        write_zarr(labels, output, overwrite=overwrite)
    click.echo(f"{labels.shape[0]:,} labels in {output}")


def _of_known_chunks(labels: Array | da.Array) -> Array | da.Array:
    """Return labels with known chunks."""
    if isinstance(labels, np.ndarray):  # of a memory map
        return labels
    # Of a table, whose rows nobody has counted; counting them labels them, once more.
    return labels.compute_chunk_sizes() if np.isnan(labels.shape[0]) else labels
