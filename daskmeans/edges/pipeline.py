"""From a table to labels and a report in one call: load, prepare, choose k, fit, label, tell."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np

from daskmeans.algorithms.elbow import knee_locator
from daskmeans.algorithms.rowwise_spark import PREDICTION
from daskmeans.blocks.inputs import ArrayLike, is_lazy
from daskmeans.blocks.spark_rows import is_spark
from daskmeans.edges.choosing_k import checked_counts, choice, counts_within
from daskmeans.edges.outputs import check_apart, check_output
from daskmeans.edges.report import REPORT, write_report
from daskmeans.edges.report_figures import check_matplotlib
from daskmeans.edges.sources import open_rows
from daskmeans.edges.spark_tables import gathered, table_in_spark
from daskmeans.errors import RowsError
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.sweep import SweepResult, sweep
from daskmeans.metrics import evaluate
from daskmeans.passes.persist import free_memory
from daskmeans.passes.schedulers import current_scheduler, distributed_client
from daskmeans.preprocessing import Preprocessor, put_back
from daskmeans.typing import Array

METRICS = ("inertia", "simplified_silhouette", "davies_bouldin", "calinski_harabasz")
# Rows that are prepared may take one part in this many of the free memory.
_ROWS_SHARE = 2


@dataclass(frozen=True, repr=False)
class ClusteredRows:
    """What `cluster_rows` found.

    Attributes
    ----------
    model : KMeans
        Fitted to the prepared rows.
    preprocessor : Preprocessor
        What prepared them.
    labels : ndarray or dask array of shape (n_samples,), int32
        A label for each row, -1 for those that were dropped as outliers.
    n_rows, n_dropped : int
    centers : ndarray of shape (n_clusters, n_columns), float64
        In the units of the columns.
    scores : dict of str to float or ndarray
        Metrics of the model, sizes and spreads of its clusters, among the prepared rows.
    sweep : SweepResult
        The models that were compared; a single one where the number of clusters was given.
    reason : str
        Why this number of clusters.
    seconds : dict of str to float
        How long each step took.
    report : Path or None
        The folder with report.html, labels.zarr, model and preparation.json.
    """

    model: KMeans
    preprocessor: Preprocessor
    labels: Any
    n_rows: int
    n_dropped: int
    centers: Array
    scores: dict[str, Any]
    sweep: SweepResult
    reason: str
    seconds: dict[str, float]
    report: Path | None

    def __repr__(self) -> str:
        report = None if self.report is None else str(self.report)
        return (
            f"ClusteredRows(n_rows={self.n_rows}, n_dropped={self.n_dropped}, "
            f"n_clusters={len(self.centers)}, reason={self.reason!r}, report={report!r})"
        )


def cluster_rows(
    rows: str | os.PathLike[str] | ArrayLike,
    k: str | int = "auto",
    *,
    columns: Sequence[str | int] | None = None,
    impute: str | None = "mean",
    standardize: bool = True,
    outliers: float | None = 3.0,
    k_range: Iterable[int] | None = None,
    n_init: int = 10,
    random_state: int = 0,
    report: str | os.PathLike[str] | None = "out/",
    overwrite: bool = False,
    engine: Literal["dask", "spark"] | None = None,
) -> ClusteredRows:
    """Cluster the rows of a table or store, and write a report beside model and labels.

    Numeric columns are taken, missing values filled, rows with outliers dropped, and columns
    standardised; the number of clusters is chosen by a sweep. Columns in which all values are the
    same, or missing, are left out with a warning.

    Parameters
    ----------
    rows : str or path, or array-like of shape (n_samples, n_features)
        What `open_rows` opens, or rows of any kind that `KMeans.fit` takes. NaN is a missing value.
    k : "auto" or int, default="auto"
        Number of clusters. "auto" takes the elbow of the inertia over `k_range`, and where it has
        none the number with the highest simplified silhouette.
    columns : sequence of str or int, default=None
        Columns to take; None takes all that hold integers or floats.
    impute : {"mean", "median"} or None, default="mean"
        What stands for missing values; see `Preprocessor`.
    standardize : bool, default=True
        Divide columns by their standard deviations, so that none weighs more for its units.
    outliers : float or None, default=3.0
        Rows with a value farther than this many standard deviations from the mean of its column are
        dropped. None drops none.
    k_range : iterable of int, default=None
        Numbers of clusters that "auto" compares; None compares 2 to 12, or to the number of rows.
    n_init : int, default=10
        Restarts for each number of clusters.
    random_state : int, default=0
        Determines samples and seeding: the same result each time.
    report : str, path or None, default="out/"
        Folder for report.html, labels.zarr (int32, -1 for dropped rows), model and
        preparation.json, the preprocessor. None writes nothing.
    overwrite : bool, default=False
        Replace a report that is there.
    engine : {"dask", "spark"}, default=None
        What reads the rows and runs the passes. "spark" is for Spark DataFrames, and for paths of
        Parquet and CSV that Spark is to read; columns of text that hold numbers alone are cast.
        None is "spark" for Spark DataFrames, else "dask". The same rows in the same order give the
        same bits.

    Returns
    -------
    ClusteredRows
        Model, labels of all rows, centers in the units of the columns, and where the report is.

    Raises
    ------
    RowsError
        For rows that cannot be opened, have no column to tell them apart by, or are all outliers;
        for more clusters than rows.
    TypeError, ValueError
        For other values of `k` or `k_range`.
    OutputExistsError, OutputError
        If the report cannot be put there, before anything is read.
    MissingExtraError
        If kneed, for "auto", or matplotlib, for the report, is not installed.

    Notes
    -----
    Rows that fit in half of the free memory once they are prepared are kept there; larger ones are
    read and prepared anew in each pass. Those of Spark are kept by Spark, in memory and on disk,
    and their labels are gathered in this process: 4 bytes a row.

    Examples
    --------
    >>> import tempfile
    >>> import daskmeans
    >>> from daskmeans.datasets import make_blobs
    >>> X = make_blobs(3_000, 4, centers=5, overlap=1e-4, random_state=3)
    >>> found = daskmeans.cluster_rows(X, report=tempfile.mkdtemp() + "/out")
    >>> len(found.model.cluster_centers_), found.labels.shape
    (5, (3000,))
    >>> sorted(path.name for path in found.report.iterdir())
    ['labels.zarr', 'model', 'preparation.json', 'report.html']
    """
    title = "Clusters"
    opened = rows
    if engine not in (None, "dask", "spark"):
        raise ValueError(f"engine={engine!r} has to be 'dask', 'spark' or None.")
    if engine == "dask" and is_spark(rows):
        raise RowsError("engine='dask' does not read a Spark DataFrame: leave engine out.")
    if isinstance(rows, (str, os.PathLike)):
        path = os.fspath(rows)
        title = f"Clusters of {Path(path.rstrip('/')).name}"
        if report is not None and "://" not in path:
            check_apart([report], [path])
        # Of a table no other column is read.
        names = [name for name in columns or () if isinstance(name, str)]
        opened = path if engine == "spark" else open_rows(rows, columns=names or None)
    if engine == "spark" or is_spark(opened):
        opened = table_in_spark(opened, columns)
    return cluster_opened(
        opened,
        k,
        title=title,
        columns=columns,
        impute=impute,
        standardize=standardize,
        outliers=outliers,
        k_range=k_range,
        n_init=n_init,
        random_state=random_state,
        report=report,
        overwrite=overwrite,
    )


def cluster_opened(
    table: ArrayLike,
    k: str | int,
    *,
    title: str,
    columns: Sequence[str | int] | None,
    impute: str | None,
    standardize: bool,
    outliers: float | None,
    k_range: Iterable[int] | None,
    n_init: int,
    random_state: int,
    report: str | os.PathLike[str] | None,
    overwrite: bool,
) -> ClusteredRows:
    """Cluster rows that are open, under a title; see `cluster_rows`."""
    counts = checked_counts(k, k_range)
    if k == "auto":
        knee_locator()  # to fail now, and not after the sweep, where it is missing
    target = None
    if report is not None:
        check_matplotlib()
        target = check_output(report, REPORT, overwrite=overwrite)
    seconds: dict[str, float] = {}
    preprocessor = Preprocessor(
        columns=columns,
        drop_constant=True,
        impute=impute,
        outliers=outliers,
        standardize=standardize,
        random_state=random_state,
    )
    with _timed(seconds, "learn the columns"):
        preprocessor.fit(table)
    _warn_of_left_out(preprocessor)
    with _timed(seconds, "prepare the rows"):
        prepared = _in_memory_if_it_fits(preprocessor.transform(table), preprocessor)
        kept, n_kept = _counted(preprocessor.kept(table))
    with _released(prepared):
        counts = counts_within(
            counts, n_kept, preprocessor.n_rows_, asked=k != "auto" or k_range is not None
        )
        with _timed(seconds, "compare numbers of clusters" if k == "auto" else "fit"):
            found = sweep(
                prepared, counts, metrics=METRICS, n_init=n_init, random_state=random_state
            )
        chosen, reason = choice(found, k)
        with _timed(seconds, "fit until nothing changes"):
            start = found.models[chosen].cluster_centers_
            model = KMeans(chosen, init=start, n_init=1, random_state=random_state).fit(prepared)
            if is_spark(prepared):
                model.labels_ = gathered(model.labels_, PREDICTION)
        with _timed(seconds, "judge the clusters"):
            scores = evaluate(model, prepared, (*METRICS, "sizes", "spreads"))
        result = ClusteredRows(
            model=model,
            preprocessor=preprocessor,
            labels=put_back(model.labels_, kept),
            n_rows=preprocessor.n_rows_,
            n_dropped=preprocessor.n_rows_ - n_kept,
            centers=preprocessor.inverse_transform(model.cluster_centers_),
            scores=scores,
            sweep=found,
            reason=reason,
            seconds=seconds,
            report=target,
        )
        if report is not None:
            write_report(
                result,
                prepared,
                report,
                title=title,
                random_state=random_state,
                overwrite=overwrite,
            )
        return result


@contextmanager
def _released(prepared: ArrayLike) -> Iterator[None]:
    """Context after which Spark does not keep rows that were prepared."""
    try:
        yield
    finally:
        if is_spark(prepared):
            prepared.unpersist()


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - started


def _warn_of_left_out(preprocessor: Preprocessor) -> None:
    if preprocessor.constant_:
        warnings.warn(
            "Columns without two different values are left out: "
            f"{', '.join(map(str, preprocessor.constant_))}.",
            UserWarning,
            stacklevel=4,
        )


def _in_memory_if_it_fits(prepared: ArrayLike, preprocessor: Preprocessor) -> ArrayLike:
    """Return lazy rows computed, where the scheduler's workers are, if there is room."""
    if is_spark(prepared):
        return prepared.persist()
    if not is_lazy(prepared):
        return prepared
    n_bytes = preprocessor.n_rows_ * len(preprocessor.columns_) * np.dtype(np.float64).itemsize
    client = distributed_client(current_scheduler())
    if n_bytes > free_memory(client) // _ROWS_SHARE:
        return prepared
    (computed,) = dask.persist(prepared)
    return computed


def _counted(kept: Any) -> tuple[Any, int]:
    """Return which rows were kept, in blocks of known sizes, and how many they are."""
    if is_spark(kept):
        kept = gathered(kept, "kept")
    if isinstance(kept, da.Array):
        # A byte a row.
        (kept,) = dask.persist(kept)
        kept = kept.compute_chunk_sizes() if np.isnan(kept.shape[0]) else kept
    return kept, int(kept.sum())
