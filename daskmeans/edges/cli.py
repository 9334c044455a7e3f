"""The command line: demo, run, fit, stream, predict, info."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click
import dask
import dask.array as da
import numpy as np

from daskmeans.blocks.inputs import ArrayLike, row_source
from daskmeans.edges.cli_errors import one_line_errors
from daskmeans.edges.cli_stream import stream
from daskmeans.edges.demo import run_demo, summary
from daskmeans.edges.outputs import MODEL, check_apart, check_output
from daskmeans.edges.progress import progress_bar
from daskmeans.edges.row_options import opened_rows, row_options, seed_option
from daskmeans.edges.zarr_output import ZARR_ARRAY, write_zarr
from daskmeans.estimators.archive import is_there
from daskmeans.estimators.checkpoint import read_checkpoint
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.saving import is_model, load
from daskmeans.typing import Array, Metric
from daskmeans.version import __version__

_SCHEDULERS = ("threads", "processes", "sync")
_CONNECT_SECONDS = 10
_OTHER_FORMATS = (".csv", ".h5", ".hdf5", ".nc", ".npy", ".npz", ".parquet", ".txt", ".zip")
_PERSIST: dict[str, bool | Literal["auto"]] = {"auto": "auto", "yes": True, "no": False}

_overwrite = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
_scheduler = click.option(
    "--scheduler",
    default="threads",
    show_default=True,
    metavar="NAME|ADDRESS",
    help="threads, processes, sync, or the address tcp://... or tls://... of a dask scheduler.",
)


def _zarr_path(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> Path | None:
    """Refuse a name that says that labels be written in another format than they are."""
    if path is not None and path.suffix.lower() in _OTHER_FORMATS:
        raise click.BadParameter(
            f"labels are written as a Zarr array, not {path.suffix}: give a name such as "
            f"{path.with_suffix('.zarr').name}."
        )
    return path


def _writable(labels: Array | da.Array) -> Array | da.Array:
    """Return labels with known chunks."""
    if isinstance(labels, np.ndarray):  # of a memory map
        return labels
    # Of a table, whose rows nobody has counted; counting them labels them, once more.
    return labels.compute_chunk_sizes() if np.isnan(labels.shape[0]) else labels


@contextmanager
def _running_on(scheduler: str) -> Iterator[None]:
    """Make a scheduler the current one."""
    if scheduler in _SCHEDULERS:
        with dask.config.set(scheduler=scheduler):
            yield
    elif scheduler.startswith(("tcp://", "tls://")):
        from distributed import Client

        try:
            client = Client(scheduler, timeout=_CONNECT_SECONDS)
        except (OSError, TypeError, ValueError) as error:  # TypeError: tls without certificates
            raise click.ClickException(
                f"No dask scheduler answered at {scheduler} within {_CONNECT_SECONDS} s: {error}"
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
            except TimeoutError as error:
                raise click.ClickException(
                    f"The dask scheduler at {scheduler} has no workers: start one with "
                    f"`dask worker {scheduler}`."
                ) from error
            yield
    else:
        raise click.BadParameter(
            f"{scheduler!r} is neither one of {', '.join(_SCHEDULERS)} nor an address "
            "that starts with tcp:// or tls://.",
            param_hint="--scheduler",
        )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
@click.version_option(__version__, prog_name="daskmeans")
def main(debug: bool) -> None:
    """k-means on Zarr stores, HDF5 files and tables of any size."""


main.add_command(stream)


@main.command(short_help="Cluster the pixels of two photographs.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option(
    "-k",
    "--n-clusters",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Clusters, each a color.",
)
@_overwrite
@one_line_errors
def demo(folder: Path | None, n_clusters: int, overwrite: bool) -> None:
    """Cluster the pixels of two photographs into a palette.

    Writes a Zarr store of the pixels, and leaves labels, model and a picture in FOLDER
    (./daskmeans-demo).
    """
    result = run_demo(folder or Path("daskmeans-demo"), n_clusters=n_clusters, overwrite=overwrite)
    click.echo(summary(result))


@main.command(short_help="From a table to clusters and a report.")
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
@_scheduler
@_overwrite
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
    with _running_on(scheduler), progress_bar():
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


@main.command(short_help="Fit k-means to rows of any size.")
@click.argument("store")
@click.option("-k", "--n-clusters", type=click.IntRange(1), required=True, help="Clusters.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    callback=_zarr_path,
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
@_scheduler
@_overwrite
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
    with _running_on(scheduler), progress_bar():
        if resumed is not None:
            estimator = KMeans.resume(resumed, rows, max_seconds=max_seconds)
        else:
            estimator.fit(rows, checkpoint=checkpoint)
        # The model first: should the disk be full, the labels can be made again from it.
        if model is not None:
            estimator.save(model, overwrite=overwrite)
        if labels is not None:
            write_zarr(_writable(estimator.labels_), labels, overwrite=overwrite)
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


@main.command(short_help="Label rows by a saved model.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("store")
@click.argument("output", type=click.Path(path_type=Path), callback=_zarr_path)
@row_options
@_scheduler
@_overwrite
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
    with _running_on(scheduler), progress_bar():
        labels = _writable(estimator.predict(rows))
        write_zarr(labels, output, overwrite=overwrite)
    click.echo(f"{labels.shape[0]:,} labels in {output}")


@main.command(short_help="Describe rows or a saved model.")
@click.argument("path")
@row_options
@one_line_errors
def info(path: str, **selection: str | None) -> None:
    """Describe rows, opened as by `fit`, or a saved model.

    Example: daskmeans info model
    """
    described = (
        _describe_model(path) if is_model(path) else _describe_rows(opened_rows(path, **selection))
    )
    for name, value in described.items():
        click.echo(f"{name:<12} {value}")


def _describe_model(path: str) -> dict[str, Any]:
    model = load(path)
    n_clusters, n_features = model.cluster_centers_.shape
    described = {
        "model": type(model).__name__,
        "clusters": n_clusters,
        "features": n_features,
        "iterations": getattr(model, "n_iter_", None),
        "batches": getattr(model, "n_steps_", None),
        "inertia": f"{model.inertia_:.10g}" if hasattr(model, "inertia_") else None,
        "parameters": json.dumps(model.get_params(), default=str),
    }
    return {name: value for name, value in described.items() if value is not None}


def _describe_rows(rows: ArrayLike) -> dict[str, Any]:
    source = row_source(rows)
    described: dict[str, Any] = {
        "rows": f"{source.n_rows:,}" if source.sizes is not None else "not counted yet",
        "features": source.n_features,
        "dtype": source.dtype,
        "blocks": f"{source.n_blocks:,}",
    }
    if source.sizes is not None:
        n_bytes = source.n_rows * source.n_features * source.dtype.itemsize
        described["in memory"] = f"{n_bytes / 1e6:,.1f} MB"
    if source.feature_names is not None:
        described["columns"] = ", ".join(source.feature_names)
    for name in ("chunks", "shards"):
        if getattr(rows, name, None):
            described[name] = getattr(rows, name)
    if hasattr(rows, "metadata"):
        described["zarr format"] = rows.metadata.zarr_format
    return described


if __name__ == "__main__":
    main()
