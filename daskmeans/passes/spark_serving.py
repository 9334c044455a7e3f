"""The task of a Python worker of Spark that stays: it holds its blocks, and passes come to it."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from daskmeans.blocks.row_state import forget_all
from daskmeans.blocks.spark_partitions import Record
from daskmeans.errors import DaskMeansError
from daskmeans.passes.groups import Group
from daskmeans.passes.schedulers import blas_on_one_thread
from daskmeans.passes.spark_jobs import BlocksOfRecords, Outcome, outcome_of
from daskmeans.passes.spark_room import Host, free_here
from daskmeans.passes.spark_wire import LOST, Address

# What the driver sends besides passes, so that workers stay; and a worker before it leaves.
STAY = LEAVE = b""


@dataclass(frozen=True)
class Arrived:
    """The first message of a worker, before it reads its rows."""

    partition: int
    host: Host


@dataclass(frozen=True)
class Unreachable:
    """What a worker leaves behind that found no way to the driver."""

    reason: str


@dataclass(frozen=True)
class Serve:
    """The task on one partition, which ends when the driver is gone, or sends nothing for a while.

    Messages of the driver are `STAY` or a pickled pair of the number of a pass and the pass; those
    of the worker are `Arrived`, then for each pass its number and `Outcome`, and `LEAVE`.

    Attributes
    ----------
    address : Address
    blocks : BlocksOfRecords
    lease_s : float
        Seconds without any message after which the worker leaves by itself.
    """

    address: Address
    blocks: BlocksOfRecords
    lease_s: float

    def __call__(self, records: Iterable[Record]) -> Iterator[Unreachable]:
        from pyspark import TaskContext

        try:
            driver = self.address.connect()
        except LOST as error:
            yield Unreachable(f"{type(error).__name__}: {error}")
            return
        arrived = Arrived(TaskContext.get().partitionId(), Host(socket.gethostname(), free_here()))
        try:
            with driver, blas_on_one_thread():
                _send(driver, arrived)
                self._serve(driver, records)
        finally:
            # Spark gives other work to the same process.
            forget_all()

    def _serve(self, driver: Connection[Any, Any], records: Iterable[Record]) -> None:
        group: Group | None = None
        for message in self._messages(driver):
            number, step = pickle.loads(message)
            outcome: Outcome[Any]
            try:
                if group is None:
                    # With the first pass and not before: where rows do not fit, none is sent.
                    group = Group.of(self.blocks(records))
            except DaskMeansError as error:
                outcome = Outcome(None, error)
            else:
                outcome = outcome_of(step, group.blocks_for(step))
            _send(driver, (number, outcome))

    def _messages(self, driver: Connection[Any, Any]) -> Iterator[bytes]:
        """Yield passes until it is time to leave."""
        try:
            while driver.poll(self.lease_s):
                message = driver.recv_bytes()
                if message != STAY:
                    yield message
            driver.send_bytes(LEAVE)
        except LOST:
            # The driver is gone, or needs its workers no longer.
            return


def _send(driver: Connection[Any, Any], message: Any) -> None:
    # Whether the driver is gone is found out where its next message is waited for.
    with suppress(*LOST):
        driver.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
