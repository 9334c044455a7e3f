"""The folder that `cluster_rows` leaves: a page that tells what was found, labels, the model."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any, Protocol

import dask.array as da
import numpy as np

from daskmeans.blocks.inputs import ArrayLike
from daskmeans.edges.outputs import OutputKind, written_beside
from daskmeans.edges.preparation import save_preprocessor
from daskmeans.edges.report_figures import Picture, pictures
from daskmeans.edges.report_page import Table, facts, page
from daskmeans.edges.zarr_output import write_zarr
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.sweep import SweepResult
from daskmeans.metrics.registry import spelled
from daskmeans.preprocessing import Preprocessor
from daskmeans.typing import Array
from daskmeans.version import __version__

PAGE, LABELS, MODEL_FILE = "report.html", "labels.zarr", "model"
PREPARATION_FILE = "preparation.json"
REPORT = OutputKind("a report", lambda path: (path / PAGE).is_file())
_PACKAGES = ("numpy", "dask", "numba", "scikit-learn", "zarr")


class Clustered(Protocol):
    """What a report tells of: see `pipeline.ClusteredRows`."""

    @property
    def model(self) -> KMeans: ...

    @property
    def preprocessor(self) -> Preprocessor: ...

    @property
    def labels(self) -> Any: ...

    @property
    def n_rows(self) -> int: ...

    @property
    def n_dropped(self) -> int: ...

    @property
    def centers(self) -> Array: ...

    @property
    def scores(self) -> Mapping[str, Any]: ...

    @property
    def sweep(self) -> SweepResult: ...

    @property
    def reason(self) -> str: ...

    @property
    def seconds(self) -> dict[str, float]: ...


def write_report(
    found: Clustered,
    prepared: ArrayLike,
    path: str | os.PathLike[str],
    *,
    title: str,
    random_state: int,
    overwrite: bool,
) -> None:
    """Write page, labels and model into a new folder, which appears once it is whole.

    Parameters
    ----------
    found : Clustered
        The steps of the report are added to its `seconds`.
    prepared : array-like of shape (n_samples, n_features)
        The rows that the model was fitted to.
    path : str or path
    title : str
    random_state : int
        Draws the samples that plots show.
    overwrite : bool
        Replace a report that is there.

    Raises
    ------
    OutputExistsError, OutputError
        See `outputs.check_output`.
    """
    with written_beside(path, REPORT, overwrite=overwrite) as folder:
        folder.mkdir()
        started = time.perf_counter()
        labels = found.labels
        write_zarr(
            labels if isinstance(labels, da.Array) else da.from_array(labels), folder / LABELS
        )
        found.model.save(folder / MODEL_FILE)
        save_preprocessor(found.preprocessor, folder / PREPARATION_FILE)
        labelled = time.perf_counter()
        drawn = pictures(
            found.model, prepared, found.centers, found.sweep, random_state=random_state
        )
        found.seconds["label every row"] = labelled - started
        found.seconds["draw the pictures"] = time.perf_counter() - labelled
        parts: list[Table | Sequence[Picture]] = [
            _clusters(found),
            drawn,
            *([_compared(found.sweep)] if len(found.sweep.models) > 1 else []),
            _columns(found.preprocessor),
            _choices(found),
            facts("Seconds", {step: f"{value:.2f}" for step, value in found.seconds.items()}),
            facts("Versions", _versions()),
        ]
        (folder / PAGE).write_text(page(title, _summary(found), parts), encoding="utf-8")


def _summary(found: Clustered) -> str:
    dropped = f", {found.n_dropped:,} of them dropped as outliers" if found.n_dropped else ""
    return (
        f"{found.n_rows:,} rows{dropped}, in {len(found.centers)} clusters by "
        f"{len(found.preprocessor.columns_)} columns. The number of clusters is {found.reason}. "
        f"Labels of all rows are in {LABELS}, the model is in {MODEL_FILE}, "
        f"and what prepared the rows for it in {PREPARATION_FILE}."
    )


def _clusters(found: Clustered) -> Table:
    sizes, spreads = found.scores["sizes"], found.scores["spreads"]
    unit = "standard deviations" if found.preprocessor.standardize else "units of the columns"
    return Table(
        "Clusters",
        ("cluster", "rows", "share", "spread", *map(str, found.preprocessor.columns_)),
        [
            (str(j), int(sizes[j]), f"{sizes[j] / sizes.sum():.1%}", spreads[j], *center)
            for j, center in enumerate(found.centers)
        ],
        "Means of the columns in their own units. The spread is the root mean squared distance of "
        f"a cluster's rows to its mean, in {unit}.",
    )


def _compared(found: SweepResult) -> Table:
    best = ", ".join(
        f"{spelled(name)} {'none' if k is None else k}" for name, k in found.best.items()
    )
    return Table(
        "Numbers of clusters",
        ("clusters", *map(spelled, found.scores)),
        [
            (str(k), *(values[i] for values in found.scores.values()))
            for i, k in enumerate(found.n_clusters)
        ],
        f"Best by: {best}.",
    )


def _columns(preprocessor: Preprocessor) -> Table:
    out = ", ".join(map(str, preprocessor.constant_))
    return Table(
        "Columns",
        ("column", "mean", "standard deviation", "median", "missing"),
        list(
            zip(
                map(str, preprocessor.columns_),
                preprocessor.mean_,
                preprocessor.std_,
                preprocessor.median_,
                map(int, preprocessor.missing_),
                strict=True,
            )
        ),
        f"Left out, since they have no two different values: {out}." if out else "",
    )


def _choices(found: Clustered) -> Table:
    preprocessor, model = found.preprocessor, found.model
    outliers = "kept"
    if preprocessor.outliers is not None:
        outliers = (
            f"rows dropped with a value over {preprocessor.outliers:g} standard deviations "
            f"from the mean of its column: {found.n_dropped:,}"
        )
    return facts(
        "Choices",
        {
            "number of clusters": f"{len(found.centers)}: {found.reason}",
            "missing values": f"filled by the {preprocessor.impute}"
            if preprocessor.impute
            else "none expected",
            "outliers": outliers,
            "columns standardised": "yes" if preprocessor.standardize else "no",
            "seed": preprocessor.random_state,
            "iterations of the last fit": f"{model.n_iter_} ({model.stop_reason_})",
            "inertia": model.inertia_,
            **{
                spelled(name): value
                for name, value in found.scores.items()
                if name != "inertia" and np.ndim(value) == 0
            },
        },
    )


def _versions() -> dict[str, str]:
    return {
        "daskmeans": __version__,
        **{name: version(name) for name in _PACKAGES},
        "Python": platform.python_version(),
        "written": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
