"""Walking over many blocks in one task: how many are held, what is read when, what stops it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmeans.blocks.block import Block
from daskmeans.partials import BinCounts
from daskmeans.passes.plan import Pass
from daskmeans.passes.walk import RunningMerge, runs_of_blocks, walk, walk_in_threads


@dataclass(frozen=True)
class Seen:
    """Partial that remembers the numbers of blocks."""

    numbers: tuple

    @classmethod
    def combine(cls, partials):
        return cls(tuple(number for partial in partials for number in partial.numbers))


def see(block, parameters):
    return Seen((block.number,))


SEE = Pass("see", see, None)


def reading(number):
    return lambda: Block(number, None, np.zeros((1, 1)), None)


@given(n=st.integers(1, 300))
def test_running_merge_holds_few(n):
    merged = RunningMerge()
    assert merged.result() is None
    for number in range(n):
        merged.add(Seen((number,)))
        held = [partial for partial in merged._levels if partial is not None]
        assert len(held) == (number + 1).bit_count()
    assert sorted(merged.result().numbers) == list(range(n))


@given(n=st.integers(1, 300))
def test_sums_are_held_as_one(n):
    """Those of many clusters may be as large as a block."""
    merged = RunningMerge()
    for number in range(n):
        merged.add(BinCounts(np.array([[number]])))
        assert len(merged._levels) == 1
    assert merged.result().counts.item() == n * (n - 1) // 2


@pytest.mark.parametrize("read_ahead", [False, True])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_blocks", [1, 2, 50])
def test_every_block_once(n_blocks, n_threads, read_ahead):
    readings = [reading(number) for number in range(n_blocks)]
    seen = walk_in_threads(SEE, readings, n_threads=n_threads, read_ahead=read_ahead)
    assert sorted(seen.numbers) == list(range(n_blocks))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_two_blocks_a_thread_are_held_at_most(n_threads):
    class Rows(np.ndarray):
        """Rows that are counted while they live."""

        def __del__(self):
            if self.base is None:
                with lock:
                    alive.remove(id(self))

    lock, alive, most = threading.Lock(), [], []

    def read(number):
        def read_block():
            rows = Rows((1, 1))
            with lock:
                alive.append(id(rows))
                most.append(len(alive))
            return Block(number, None, rows, None)

        return read_block

    readings = [read(number) for number in range(40)]
    walk_in_threads(SEE, readings, n_threads=n_threads, read_ahead=True)
    assert len(most) == 40
    assert max(most) <= 2 * n_threads
    assert not alive


def test_next_block_is_read_while_this_one_is_computed():
    begun = [threading.Event() for _ in range(4)]

    def read(number):
        def read_block():
            begun[number].set()
            return Block(number, None, np.zeros((1, 1)), None)

        return read_block

    def wait_for_next(block, parameters):
        following = begun[min(block.number + 1, 3)]
        assert following.wait(timeout=30)
        return Seen((block.number,))

    step = Pass("wait", wait_for_next, None)
    seen = walk(step, iter([read(number) for number in range(4)]), read_ahead=True)
    assert sorted(seen.numbers) == [0, 1, 2, 3]


@pytest.mark.parametrize("read_ahead", [False, True])
@pytest.mark.parametrize("where", ["read", "compute"])
def test_error_stops_all_threads(where, read_ahead):
    n_read = []
    failed = threading.Event()

    def read(number):
        def read_block():
            n_read.append(number)
            if number == 3 and where == "read":
                failed.set()
                raise OSError("chunk 3 is gone")
            return Block(number, None, np.zeros((1, 1)), None)

        return read_block

    def compute(block, parameters):
        if block.number == 3 and where == "compute":
            failed.set()
            raise OSError("chunk 3 is gone")
        if block.number > 3:
            assert failed.wait(timeout=30)
        return Seen((block.number,))

    readings = [read(number) for number in range(1000)]
    with pytest.raises(OSError, match="chunk 3 is gone"):
        walk_in_threads(Pass("fail", compute, None), readings, n_threads=2, read_ahead=read_ahead)
    # Far from all, though how many were begun before the error was noticed depends on the machine.
    assert len(n_read) < 500


@given(n_blocks=st.integers(1, 500), n_runs=st.integers(1, 64))
def test_runs_take_every_block_once_and_are_even(n_blocks, n_runs):
    runs = runs_of_blocks(n_blocks, n_runs)
    assert [number for run in runs for number in run] == list(range(n_blocks))
    assert len(runs) == min(n_blocks, n_runs)
    assert max(map(len, runs)) - min(map(len, runs)) <= 1
