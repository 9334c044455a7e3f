"""Feed a model from a source that never ends, and stop cleanly: the loop around `partial_fit`."""

from __future__ import annotations

import logging
import math
import os
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from daskmeans.algorithms.minibatch import StepRecord
from daskmeans.algorithms.stop_reasons import CALLBACK, MAX_SECONDS
from daskmeans.edges.progress import tqdm
from daskmeans.edges.stream_checkpoint import StreamPosition, read_position, write_position
from daskmeans.edges.stream_reading import Coming, Ended, reading
from daskmeans.edges.stream_signals import Stop, stop_signals
from daskmeans.edges.stream_sources import Batch, batch_source
from daskmeans.edges.stream_start import checked_first, together
from daskmeans.estimators.minibatch import MiniBatchKMeans
from daskmeans.estimators.rows import stays_in_place

_log = logging.getLogger("daskmeans")

# Steps before an alarm: the smoothed inertia needs a few batches.
_QUIET_STEPS = 10
_MOST_ERRORS = 10


@dataclass(frozen=True)
class StreamStep:
    """What a callback is told after a batch.

    Attributes
    ----------
    name : str
        Of the batch: a file's, rows of a store, or its number.
    record : StepRecord
        The step, as in `history_`.
    drift : float
        Inertia of the batch over the smoothed one of those before. NaN for the first ten.
    n_batches : int
        Batches so far, those before a checkpoint included; so are rows and skipped batches.
    n_rows : int
        Rows so far.
    n_skipped : int
        Batches that were skipped so far.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans import MiniBatchKMeans, StreamStep, stream
    >>> def enough(step: StreamStep) -> bool:
    ...     return step.n_rows >= 6
    >>> batches = [np.array([[0.0], [1.0], [9.0]])] * 5
    >>> stream(MiniBatchKMeans(2, random_state=0), batches, callback=enough).n_batches
    2
    """

    name: str
    record: StepRecord
    drift: float
    n_batches: int
    n_rows: int
    n_skipped: int


StreamCallback: TypeAlias = Callable[[StreamStep], object]


@dataclass
class StreamSummary:
    """What a stream came to.

    Attributes
    ----------
    n_batches, n_rows, n_skipped : int
        Batches used, their rows, and batches that were skipped, those before a checkpoint included.
    n_alarms : int
        Of drift, in this run.
    reason : str
        "end of source", "n_batches", "max_seconds", "callback", "interrupted" by Ctrl-C or
        "terminated" by SIGTERM.
    errors : list of str
        Of the last skipped batches, with their names.
    """

    n_batches: int = 0
    n_rows: int = 0
    n_skipped: int = 0
    n_alarms: int = 0
    reason: str = "end of source"
    errors: list[str] = field(default_factory=list)


def stream(
    model: MiniBatchKMeans,
    source: Any,
    *,
    n_batches: int | None = None,
    max_seconds: float | None = None,
    follow: bool = True,
    poll_seconds: float = 1.0,
    batch_rows: int | None = None,
    read_ahead: int = 2,
    replays: bool = True,
    on_bad: Literal["raise", "skip"] = "raise",
    callback: StreamCallback | None = None,
    on_drift: StreamCallback | None = None,
    drift_ratio: float = 2.0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
    progress: bool = False,
) -> StreamSummary:
    """Feed batches to a model's `partial_fit` until the source ends or something stops it.

    The next batches are read in a thread of their own, a few at most: a fast source waits. Ctrl-C
    and SIGTERM end the stream after the batch that is being used, with a last checkpoint; a second
    one raises KeyboardInterrupt. Before the model has centers, batches are collected until there
    are as many rows as clusters, or as its `init_size` says.

    Parameters
    ----------
    model : MiniBatchKMeans
        Changed in place. Other threads may predict with it meanwhile.
    source : iterable, asynchronous iterable, path or zarr.Array
        - An iterable of batches, (batch, sample_weight) pairs, or futures of these, such as dask's
          `as_completed`; or an asynchronous one, which is awaited in an event loop of its own.
        - The path of a folder: its .npy, .parquet and .csv files in the order of their names, each
          a batch. Writers should give a file its name once it is whole.
        - A zarr.Array, or its path, that grows along the first axis: only new rows are read.
    n_batches : int, optional
        Stop after so many batches of this run.
    max_seconds : float, optional
        Stop after so many seconds, whether or not batches come.
    follow : bool, default=True
        Wait for more files or rows. False uses what is there.
    poll_seconds : float, default=1.0
        How often to look for them. A file or a row is used once it is as old as that.
    batch_rows : int, optional
        Rows of a batch of a store; by default those of a chunk or shard. While following, only full
        batches are used, so what they are does not depend on when they were looked for.
    read_ahead : int, default=2
        Batches that may wait, at least 1, beside the one that is being read.
    replays : bool, default=True
        An iterable begins with its first batch after a restart, and as many as the checkpoint knows
        of are skipped. False for a source that goes on by itself, and for one in another order each
        time, such as `as_completed`: it has to leave out itself what was used.
    on_bad : {"raise", "skip"}, default="raise"
        What happens for a batch that cannot be read or that `partial_fit` refuses. The model stays
        as it was in either case.
    callback : function (StreamStep) -> object, optional
        Called after each batch; a true value that it returns ends the stream.
    on_drift : function (StreamStep) -> object, optional
        Called for a batch whose inertia is more than `drift_ratio` times the smoothed one.
    drift_ratio : float, default=2.0
        How often the smoothed inertia a batch must have to be told to `on_drift`.
    checkpoint : str or path, optional
        File or URL of a checkpoint. If it is there, model and source go on from it: no batch is
        lost, and none is used twice.
    checkpoint_every : float, default=30.0
        Seconds between two writes, at least; 0 writes after each batch.
    progress : bool, default=False
        Show a line with rows, inertia and drift.

    Returns
    -------
    StreamSummary
        Batches, rows and skipped batches, and why the stream ended.

    Raises
    ------
    RowsError, ValueError
        For a bad batch, with its name; for a source that is none.
    ModelFormatError
        If the checkpoint is damaged, or of a model of another shape.
    OutputError
        If it cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans import MiniBatchKMeans, stream
    >>> generator = np.random.default_rng(0)
    >>> batches = (generator.normal(size=(100, 2)) for _ in range(20))
    >>> model = MiniBatchKMeans(3, half_life=5, random_state=0)
    >>> summary = stream(model, batches)
    >>> summary.n_batches, summary.n_rows, summary.reason
    (20, 2000, 'end of source')
    """
    if read_ahead < 1:
        raise ValueError(f"read_ahead={read_ahead} has to be at least 1: a batch waits to be used.")
    batches = batch_source(
        source,
        follow=follow,
        poll_seconds=poll_seconds,
        batch_rows=batch_rows,
        replays=replays,
    )
    loop = _Loop(model, on_bad, callback, on_drift, drift_ratio, checkpoint, checkpoint_every)
    position = loop.resume()
    ends = None if max_seconds is None else time.monotonic() + max_seconds
    with (
        stop_signals() as stop,
        reading(batches, position, read_ahead) as coming,
        tqdm(unit=" rows", unit_scale=True, disable=not progress, leave=False) as bar,
    ):
        reason = loop.run(coming, stop, n_batches, ends, bar)
    loop.summary.reason = reason
    _log.info("Stream ended after %d batches: %s.", loop.summary.n_batches, reason)
    return loop.summary


class _Loop:
    """Uses batches, keeps count, and writes checkpoints."""

    def __init__(
        self,
        model: MiniBatchKMeans,
        on_bad: Literal["raise", "skip"],
        callback: StreamCallback | None,
        on_drift: StreamCallback | None,
        drift_ratio: float,
        checkpoint: str | os.PathLike[str] | None,
        checkpoint_every: float,
    ) -> None:
        self.summary = StreamSummary()
        self._model = model
        self._on_bad = on_bad
        self._callback = callback
        self._on_drift = on_drift
        self._drift_ratio = drift_ratio
        self._checkpoint = checkpoint
        self._checkpoint_every = checkpoint_every
        self._written = time.monotonic()
        self._position: Any = None
        # Batches that wait for enough rows to make centers from.
        self._waiting: list[Batch] = []

    def resume(self) -> Any:
        """Take model and counts from the checkpoint if there is one; return the position."""
        saved = None if self._checkpoint is None else read_position(self._checkpoint)
        if saved is None:
            return None
        self._model._restore(saved.state, saved.feature_names, saved.metric)
        self.summary.n_batches = saved.n_batches
        self.summary.n_skipped = saved.n_skipped
        self.summary.n_rows = saved.state.n_rows
        self._position = saved.position
        return saved.position

    def run(
        self, coming: Coming, stop: Stop, n_batches: int | None, ends: float | None, bar: Any
    ) -> str:
        """Use batches until something ends the stream; return what."""
        n_used = 0
        try:
            while True:
                if stop.reason is not None:
                    return stop.reason
                if n_batches is not None and n_used >= n_batches:
                    return "n_batches"
                if ends is not None and time.monotonic() >= ends:
                    return MAX_SECONDS
                try:
                    batch = coming.get(timeout=0.1)
                except queue.Empty:
                    continue
                if isinstance(batch, Ended):
                    if batch.error is not None:
                        raise batch.error
                    self._use_waiting(force=True)
                    return "end of source"
                n_used += 1
                told = self._use(batch)
                if told is not None:
                    bar.update(told.record.n_rows)
                    bar.set_postfix(
                        {"inertia": f"{told.record.inertia:.4g}", "drift": f"{told.drift:.2f}"},
                        refresh=False,
                    )
                    if self._callback is not None and self._callback(told):
                        return CALLBACK
                if time.monotonic() - self._written >= self._checkpoint_every:
                    self._write()
        finally:
            self._write()

    def _use(self, batch: Batch) -> StreamStep | None:
        """Use a batch or skip it; return what to tell of it."""
        try:
            if batch.error is not None:
                raise batch.error
            if hasattr(self._model, "cluster_centers_"):
                return self._fed([batch], batch.rows, batch.weights)
            return self._collect(batch)
        except (ValueError, TypeError, OSError) as error:
            if self._on_bad == "raise":
                error.add_note(f"In {batch.name} of the stream. The model is as it was before it.")
                raise
            self.summary.n_skipped += 1
            self.summary.errors = [*self.summary.errors, f"{batch.name}: {error}"][-_MOST_ERRORS:]
            if not self._waiting:
                self._position = batch.position
            return None

    def _collect(self, batch: Batch) -> StreamStep | None:
        """Keep a batch until there are rows enough for initial centers."""
        assert batch.rows is not None
        if stays_in_place(batch.rows):
            return self._fed([batch], batch.rows, batch.weights)
        self._waiting.append(checked_first(batch, self._waiting, self._model))
        return self._use_waiting()

    def _use_waiting(self, *, force: bool = False) -> StreamStep | None:
        wanted = max(self._model.init_size or 0, self._n_clusters)
        n_rows = sum(len(each.rows) for each in self._waiting)
        if not self._waiting or not (force or n_rows >= wanted):
            return None
        waiting, self._waiting = self._waiting, []
        return self._fed(waiting, *together(waiting))

    @property
    def _n_clusters(self) -> int:
        return int(self._model.n_clusters)

    def _fed(self, batches: list[Batch], rows: Any, weights: Any) -> StreamStep:
        state = getattr(self._model, "_state", None)
        usual = None if state is None else state.smoothed_inertia
        self._model.partial_fit(rows, sample_weight=weights)
        record = self._model.history_[-1]
        self._position = batches[-1].position
        summary = self.summary
        summary.n_batches += len(batches)
        summary.n_rows += record.n_rows
        drift = math.nan
        if usual and record.step > _QUIET_STEPS:
            drift = record.inertia / usual
        told = StreamStep(
            batches[-1].name,
            record,
            drift,
            summary.n_batches,
            summary.n_rows,
            summary.n_skipped,
        )
        if drift > self._drift_ratio:
            summary.n_alarms += 1
            if self._on_drift is not None:
                self._on_drift(told)
        return told

    def _write(self) -> None:
        # Without centers nothing was used yet.
        if self._checkpoint is None or not hasattr(self._model, "cluster_centers_"):
            return
        names = getattr(self._model, "feature_names_in_", None)
        write_position(
            self._checkpoint,
            StreamPosition(
                self._model._state,
                None if names is None else [str(name) for name in names],
                self._position,
                self.summary.n_batches,
                self.summary.n_skipped,
                self._model.metric,
            ),
        )
        self._written = time.monotonic()
