"""Passes over blocks that Spark keeps: by workers that stay where there can be some, else by jobs.

A job costs 0.15 s whatever it does, more than most passes. Workers hold a second copy of the rows.
Spark's own stays beside it: without it a worker that died would have to have its rows computed
again from their source, whose order may differ then, and so would the workers after a pause.
"""

from __future__ import annotations

import logging
import time
import warnings
import weakref
from collections.abc import Sequence
from typing import Any

from daskmeans.partials import PartialT
from daskmeans.passes.plan import Pass
from daskmeans.passes.spark_jobs import BlocksOfRecords, JobBlocks, Outcome
from daskmeans.passes.spark_workers import Workers, WorkersEnded

# After workers did not come, failed, or made way for another job.
_AGAIN_AFTER_S = 20.0
# How often it is asked whether other jobs wait, which takes less than a millisecond.
_ASK_EVERY_S = 1.0
# Spark tells of the end of a job a moment late.
_LATE_S, _TIMES_ASKED = 0.05, 3
# More than this of partials would go to the driver at a time: Spark's tree merges them first.
_MOST_GATHERED_BYTES = 64 << 20
# With any of these, users have asked that data travel encrypted.
_ENCRYPTED = (
    "spark.network.crypto.enabled",
    "spark.authenticate.enableSaslEncryption",
    "spark.ssl.enabled",
    "spark.ssl.rpc.enabled",
)

_log = logging.getLogger("daskmeans")


class SparkBlocks:
    """Runs passes over blocks that Spark's own driver keeps.

    Parameters
    ----------
    kept : JobBlocks
    blocks : BlocksOfRecords
    sizes : sequence of int
        Bytes of the rows of each partition that has any.
    """

    def __init__(self, kept: JobBlocks, blocks: BlocksOfRecords, sizes: Sequence[int]) -> None:
        self._kept = kept
        self._blocks = blocks
        self._sizes = sizes
        self._asked = 0.0
        # Passes are jobs until then.
        self._jobs_until = 0.0
        self._failed: Exception | None = None
        self._staying = _Staying()
        # For who forgets to `close`.
        weakref.finalize(self, self._staying.let_go).atexit = False
        if _is_encrypted(kept.context):
            self._only_jobs("Spark is to encrypt what travels")

    def _only_jobs(self, reason: str) -> None:
        self._jobs_until = float("inf")
        _log.info("Each pass is a Spark job: %s.", reason)

    @property
    def row_state_bytes(self) -> int:
        """Bytes that may be kept of all rows between passes: 0 where passes are jobs.

        Jobs give a partition to whichever worker is free.
        """
        workers = self._staying.workers
        return 0 if workers is None else workers.state_bytes

    def run(self, step: Pass[PartialT]) -> Outcome[PartialT]:
        """Run a pass."""
        self._failed = None
        try:
            outcome = self._run_staying(step) if self._may_stay(step) else None
            if outcome is None:
                outcome = self._kept.run(step, self._blocks)
        except BaseException:
            self.end()
            raise
        if outcome.error is not None:
            self.end()
        if self._failed is not None:
            _warn(
                f"Spark's workers that stay between passes failed: the pass {step.name} was run "
                f"as a Spark job of its own, which did not fail. They failed of: {self._failed}"
            )
        return outcome

    def end(self) -> None:
        """Send the workers home; a pass that comes nevertheless starts others."""
        self._staying.end()

    def close(self) -> None:
        """Send the workers home, and let Spark keep the rows no longer."""
        try:
            self.end()
        finally:
            self._kept.release()

    def _may_stay(self, step: Pass[Any]) -> bool:
        """Tell whether workers may hold slots for this pass; send home those that may not."""
        now = time.monotonic()
        if now < self._jobs_until:
            return False
        workers = self._staying.workers
        n_tasks = self._kept.rdd.getNumPartitions() if workers is None else workers.n_tasks
        if n_tasks * step.partial_bytes > _MOST_GATHERED_BYTES:
            self.end()
            return False
        if workers is None or now - self._asked < _ASK_EVERY_S:
            return True
        self._asked = now
        context = self._kept.context
        if workers.n_tasks < slots_of(context) or not _others_wait(context, n_own=1):
            return True
        self.end()
        self._jobs_until = now + _AGAIN_AFTER_S
        return False

    def _run_staying(self, step: Pass[PartialT]) -> Outcome[PartialT] | None:
        """Run a pass by workers; None if there can be none."""
        while True:
            workers = self._staying.workers or self._start()
            if workers is None:
                return None
            try:
                return workers(step)
            except WorkersEnded:
                self.end()
            if workers.n_passes == 0 or workers.error is not None:
                self._why_not(workers)
                return None
            # They left since no pass came, or lost a slot: others may come.

    def _start(self) -> Workers | None:
        """Start workers where there are slots for them."""
        context = self._kept.context
        n_slots = slots_of(context)
        if n_slots == 0 or not self._sizes or _others_wait(context, n_own=0):
            self._jobs_until = time.monotonic() + _ASK_EVERY_S
            return None
        self._asked = time.monotonic()
        try:
            workers = Workers(self._kept.rdd, n_slots, self._blocks, self._sizes)
        except OSError as error:
            self._unreachable("an address of its own", str(error))
            return None
        self._staying.workers = workers
        return workers

    def _why_not(self, workers: Workers) -> None:
        """Decide on the passes to come after workers did not run one."""
        if workers.lacking is not None:
            self._only_jobs(workers.lacking)
        elif workers.unreachable is not None:
            self._unreachable(f"{workers.address.host}:{workers.address.port}", workers.unreachable)
        else:
            self._failed = workers.error
            self._jobs_until = time.monotonic() + _AGAIN_AFTER_S

    def _unreachable(self, where: str, reason: str) -> None:
        self._only_jobs(f"workers do not reach the driver at {where}")
        _warn(
            f"Spark's Python workers do not reach the driver at {where} ({reason}): each pass over "
            "the rows is a Spark job, which costs some 0.15 s more. Set spark.driver.host to an "
            "address of this machine that they reach, and let its firewall pass them to any port."
        )


class _Staying:
    """Workers, if there are some; apart from what runs passes, so that they are left after it."""

    def __init__(self) -> None:
        self.workers: Workers | None = None

    def end(self) -> None:
        workers, self.workers = self.workers, None
        if workers is not None:
            workers.end()

    def let_go(self) -> None:
        """Let the workers end by themselves."""
        if self.workers is not None:
            self.workers.let_go()


def slots_of(context: Any) -> int:
    """Return how many tasks of a Spark context may run at the same time."""
    spark = context._jsc.sc()
    profile = spark.resourceProfileManager().defaultResourceProfile()
    # Not `defaultParallelism`, which users set to numbers of partitions.
    return int(spark.maxNumConcurrentTasks(profile))


def _others_wait(context: Any, n_own: int) -> bool:
    """Tell whether more jobs are active than our own: they may need the slots."""
    for _ in range(_TIMES_ASKED):
        if len(context.statusTracker().getActiveJobsIds()) <= n_own:
            return False
        time.sleep(_LATE_S)
    return True


def _is_encrypted(context: Any) -> bool:
    conf = context._jsc.sc().conf()
    return any(conf.get(name, "false").lower() == "true" for name in _ENCRYPTED)


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=2)
