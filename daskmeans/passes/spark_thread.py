"""A Spark job that runs beside what the driver does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

# For a job that was cancelled to end.
_CANCELLING_S = 10.0


class JobInThread(Generic[Result]):
    """A Spark job in a thread of its own, of the job group and pool of whoever started it.

    Attributes
    ----------
    results : list
    error : Exception or None
        What the job failed of before it was `to_end`.
    ended, to_end : bool
    """

    def __init__(
        self, context: Any, work: Callable[[], list[Result]], tell: Callable[[], None]
    ) -> None:
        from pyspark import InheritableThread

        self.results: list[Result] = []
        self.error: Exception | None = None
        self.ended = self.to_end = False
        self._context, self._work, self._tell = context, work, tell
        self._tag = f"daskmeans-{uuid.uuid4().hex}"
        self._thread = InheritableThread(target=self._run, daemon=True, name="daskmeans-spark")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._context.addJobTag(self._tag)
            self._context.setLocalProperty(
                "spark.job.description", "k-means: workers that stay between passes"
            )
            self.results = self._work()
        except Exception as error:
            if not self.to_end:
                self.error = error
        finally:
            self.ended = True
            self._tell()

    def cancel(self) -> None:
        """Cancel the job if it has not ended by itself."""
        if not self.ended:
            self._context.cancelJobsWithTag(self._tag)

    def join(self) -> None:
        """Wait until it has ended, unless that takes too long."""
        self._thread.join(_CANCELLING_S)
