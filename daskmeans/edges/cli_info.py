"""The command that describes a model or rows: `daskmeans info`."""

from __future__ import annotations

import json
from typing import Any

import click

from daskmeans.blocks.inputs import ArrayLike, row_source
from daskmeans.edges.cli_errors import one_line_errors
from daskmeans.edges.cli_options import opened_rows, row_options
from daskmeans.estimators.saving import is_model, load


@click.command(short_help="Describe rows or a saved model.")
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
