"""The driver's side of Python workers that stay: one Spark job, to whose tasks passes are sent.

Spark tries a task that fails again; it arrives anew, and is sent the pass that is under way. Of two
attempts at one task both are sent the pass, and the first outcome counts: they are the same.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from queue import Empty, SimpleQueue
from typing import Any

from daskmeans.partials import PartialT
from daskmeans.passes.plan import Pass
from daskmeans.passes.spark_jobs import BlocksOfRecords, Outcome, merge_outcomes
from daskmeans.passes.spark_room import allowed_a_worker, room_for
from daskmeans.passes.spark_serving import LEAVE, STAY, Arrived, Serve, Unreachable
from daskmeans.passes.spark_thread import JobInThread
from daskmeans.passes.spark_wire import LOST, Door

# Without a pass for so long workers leave: what they hold is read again by the next ones, and
# nobody else's job waits longer for their slots.
_LEASE_S = 5.0
# How often workers that have done their part of a pass are told to stay.
_TICK_S = 1.0
# For a worker that has not arrived, or has gone and not come again. Longer than Spark waits for a
# slot where the blocks are (spark.locality.wait).
_PATIENCE_S = 10.0
# For workers to leave once they are sent home; then the job is cancelled.
_LEAVING_S = 1.0


class WorkersEnded(Exception):
    """The workers do not run the pass: they have left, failed, or did not arrive."""


class Workers:
    """Workers that hold the blocks of an RDD while passes come.

    Parameters
    ----------
    rdd : pyspark.RDD
        Of `Record`.
    n_tasks : int
        At most so many workers; all of them have to run at the same time.
    blocks : BlocksOfRecords
    sizes : sequence of int
        Bytes of the rows of each partition.

    Attributes
    ----------
    n_tasks : int
    address : Address
        Where workers look for the driver.
    n_passes : int
        Passes they have run.
    state_bytes : int
        What may be remembered of all rows between passes; 0 until all have arrived.
    lacking : str or None
        Why the rows do not fit into their memory, if it is known that they do not.

    Raises
    ------
    OSError
        If the driver cannot listen for them.
    """

    def __init__(
        self, rdd: Any, n_tasks: int, blocks: BlocksOfRecords, sizes: Sequence[int]
    ) -> None:
        # Neighbours together, without a shuffle, where they are kept.
        together = rdd.coalesce(n_tasks)
        self.n_tasks = together.getNumPartitions()
        self.n_passes = 0
        self.state_bytes = 0
        self.lacking: str | None = None
        self._sizes = sizes
        conf = rdd.context._jsc.sc().conf()
        self._allowed = allowed_a_worker(conf)
        self._news: SimpleQueue[tuple[Connection[Any, Any], bytes]] = SimpleQueue()
        self._woken, self._wakes = Pipe(duplex=False)
        self._members: dict[Connection[Any, Any], _Member] = {}
        self._complete = self._over = False
        self._number = 0
        self._changed = self._ticked = 0.0
        host = conf.get("spark.driver.host")
        self._door = Door(conf.get("spark.driver.bindAddress", host), host, self._let_in)
        self.address = self._door.address
        try:
            tasks = together.mapPartitions(Serve(self.address, blocks, _LEASE_S))
            self._job: JobInThread[Unreachable] = JobInThread(
                rdd.context, tasks.collect, self._wake
            )
        except BaseException:
            self._door.close()
            raise

    def __call__(self, step: Pass[PartialT]) -> Outcome[PartialT]:
        """Run a pass.

        Raises
        ------
        WorkersEnded
            If they do not; somebody has to call `end` then.
        """
        from pyspark.serializers import CloudPickleSerializer

        self._number += 1
        # Once for all of them.
        message = CloudPickleSerializer().dumps((self._number, step))
        outcomes: dict[int, Outcome[PartialT]] = {}
        self._changed = self._ticked = time.monotonic()
        # Who has left meanwhile must be known before.
        self._listen(outcomes, 0)
        while True:
            if self._complete:
                self._send(message, outcomes)
            if len(outcomes) == self.n_tasks:
                break
            self._listen(outcomes, _TICK_S)
            self._keep_up(outcomes)
        self.n_passes += 1
        return merge_outcomes(*(outcomes[partition] for partition in sorted(outcomes)))

    def _send(self, message: bytes, outcomes: dict[int, Any]) -> None:
        """Send a pass to those who have not got it, have nothing else to do, and are needed."""
        for connection, member in list(self._members.items()):
            if member.is_free and member.given < self._number and member.partition not in outcomes:
                member.given, member.is_free = self._number, False
                self._tell(connection, message)

    def _listen(self, outcomes: dict[int, Any], timeout: float) -> None:
        """Wait for news of any kind."""
        for each in wait([self._woken, self._door.socket, *self._members], timeout):
            if each is self._door.socket:
                self._door.answer()
            elif each is self._woken:
                self._woken.recv_bytes()
            elif isinstance(each, Connection) and each in self._members:
                self._hear(each, outcomes)
                # Large outcomes take their time, in which others wait.
                self._keep_up(outcomes)
        for connection, first in _emptied(self._news):
            arrived: Arrived = pickle.loads(first)
            self._members[connection] = _Member(arrived)
            self._changed = time.monotonic()
        if self._job.ended:
            raise WorkersEnded
        if not self._complete and not self._absent():
            self._complete = True
            hosts = [member.arrived.host for member in self._members.values()]
            room = room_for(self._sizes, hosts, self._allowed)
            self.lacking, self.state_bytes = room.lacking, room.state_bytes
            if room.lacking is not None:
                raise WorkersEnded

    def _hear(self, connection: Connection[Any, Any], outcomes: dict[int, Any]) -> None:
        member = self._members[connection]
        try:
            message = connection.recv_bytes()
        except LOST:
            self._lose(connection)
            return
        if message == LEAVE:
            raise WorkersEnded
        number, outcome = pickle.loads(message)
        member.is_free = True
        if number == self._number:
            outcomes.setdefault(member.partition, outcome)

    def _keep_up(self, outcomes: dict[int, Any]) -> None:
        """Tell who waits to stay; give up if somebody does not come."""
        now = time.monotonic()
        if now - self._ticked >= _TICK_S:
            self._ticked = now
            for connection, member in list(self._members.items()):
                if member.is_free:
                    self._tell(connection, STAY)
        if self._absent() - outcomes.keys() and now - self._changed > _PATIENCE_S:
            raise WorkersEnded

    def _absent(self) -> set[int]:
        there = {member.partition for member in self._members.values()}
        return set(range(self.n_tasks)) - there

    def _tell(self, connection: Connection[Any, Any], message: bytes) -> None:
        try:
            connection.send_bytes(message)
        except LOST:
            self._lose(connection)

    def _lose(self, connection: Connection[Any, Any]) -> None:
        connection.close()
        del self._members[connection]
        self._changed = time.monotonic()

    def _let_in(self, connection: Connection[Any, Any], first: bytes) -> None:
        """Take over who has come, from a thread of its own."""
        self._news.put((connection, first))
        self._wake()
        # Whoever ends them may have looked at the news before. Members are closed by it alone.
        if self._over:
            self._send_newcomers_home()

    def _wake(self) -> None:
        self._wakes.send_bytes(b"!")

    def _send_newcomers_home(self) -> None:
        for connection, _ in _emptied(self._news):
            connection.close()

    def _send_home(self) -> None:
        self._over = self._job.to_end = True
        for connection in self._members:
            connection.close()
        self._members = {}
        self._send_newcomers_home()

    def end(self) -> None:
        """Send the workers home, and wait until the job has ended."""
        self._send_home()
        with closing(self._door):
            try:
                self._see_them_off()
            finally:
                # While the door is open: who finds it closed tells that there is no way to it.
                self._job.cancel()
        self._job.join()

    def _see_them_off(self) -> None:
        """Wait until the job has ended, for no longer than workers need that may leave."""
        until = time.monotonic() + _LEAVING_S
        while not self._job.ended and (left := until - time.monotonic()) > 0:
            # Who comes late, since a slot has become free now, finds the driver, and is sent home.
            for each in wait([self._woken, self._door.socket], left):
                if each is self._door.socket:
                    self._door.answer()
                else:
                    self._woken.recv_bytes()

    def let_go(self) -> None:
        """Let workers and job end by themselves, without a word to Spark.

        What nobody needs is collected in any thread at any moment: where that thread is in the
        middle of a call of Spark's, another one would mix up the answers to both.
        """
        self._send_home()
        self._door.close()

    @property
    def unreachable(self) -> str | None:
        """Why workers found no way to the driver, if they told; known once the job has ended."""
        told = [each.reason for each in self._job.results]
        return told[0] if told else None

    @property
    def error(self) -> Exception | None:
        """What the job failed of, if it did so before anybody ended it."""
        return self._job.error


@dataclass
class _Member:
    """A worker: what it told, the last pass that it was given, and whether it has done it."""

    arrived: Arrived
    given: int = 0
    is_free: bool = True

    @property
    def partition(self) -> int:
        return self.arrived.partition


def _emptied(
    news: SimpleQueue[tuple[Connection[Any, Any], bytes]],
) -> list[tuple[Connection[Any, Any], bytes]]:
    found = []
    # Others may be taking from it.
    with suppress(Empty):
        while True:
            found.append(news.get_nowait())
    return found
