"""What walks over the rows that MiniBatchKMeans is given: over all of them, or over a batch."""

from __future__ import annotations

from sklearn.base import BaseEstimator

from daskmeans.algorithms.batches import InHand
from daskmeans.blocks.block import make_block
from daskmeans.blocks.inputs import ArrayLike, row_source
from daskmeans.blocks.weights import source_in_memory, weights_in_memory, with_weights
from daskmeans.estimators.rows import check_rows, dask_runner_over, measured, stays_in_place
from daskmeans.passes.runner import Runner, run_here
from daskmeans.passes.schedulers import local_scheduler, thread_count
from daskmeans.typing import Metric

# A smaller batch in memory is worked on in the calling thread.
_SMALL_BYTES = 1 << 22


def local_runner_over(
    estimator: BaseEstimator, X: ArrayLike, sample_weight: ArrayLike | None, *, reset: bool
) -> Runner:
    """Return a runner over checked rows: in this process if they are in memory, on any scheduler.

    Raises
    ------
    ValueError
        As `dask_runner_over`.
    """
    if stays_in_place(X):
        return dask_runner_over(estimator, X, sample_weight, reset=reset)
    rows = check_rows(estimator, X, reset=reset)
    source = row_source(rows, n_threads=thread_count(), feature_names=names_of(estimator))
    if sample_weight is not None:
        source = with_weights(source, weights_in_memory(sample_weight, len(rows)))
    return Runner(measured(source, estimator.metric), local_scheduler(), own_threads=True)


def batch_runner_over(
    estimator: BaseEstimator, X: ArrayLike, sample_weight: ArrayLike | None, *, reset: bool
) -> Runner | InHand:
    """Return what runs passes over a batch: over a small one in memory in the calling thread.

    Raises
    ------
    ValueError
        As `dask_runner_over`.
    """
    if stays_in_place(X):
        return dask_runner_over(estimator, X, sample_weight, reset=reset, persist="auto")
    rows = check_rows(estimator, X, reset=reset)
    if rows.nbytes > _SMALL_BYTES:
        return local_runner_over(estimator, rows, sample_weight, reset=False)
    # Threads, and a source to cut into blocks, would take longer than the batch.
    weights = None if sample_weight is None else weights_in_memory(sample_weight, len(rows))
    divide = estimator.metric == "cosine"
    block = make_block(0, 0, [rows], weights, rows.shape[1], divide=divide)
    return InHand(block, names_of(estimator))


def several_passes(run: Runner | InHand, metric: Metric) -> Runner:
    """Return a runner over the rows of a batch, which seeding walks over more than once."""
    if isinstance(run, Runner):
        return run
    block = run.block
    return run_here(
        source_in_memory(block.rows, block.weights, metric, feature_names=run.feature_names)
    )


def names_of(estimator: BaseEstimator) -> tuple[str, ...] | None:
    """Return the names of the features that an estimator was given, if they have any."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(names)
