"""Folds: blocks are used in the order asked for, read ahead of it, and no further than a few."""

from __future__ import annotations

import threading

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from daskmeans.blocks.inputs import row_source
from daskmeans.errors import RowsError
from daskmeans.passes.in_order import Fold
from daskmeans.passes.runner import Runner
from daskmeans.passes.schedulers import current_scheduler

ORDER = [3, 0, 4, 1, 5, 2, 3, 3]


class Watched:
    """Rows (60, 2) that tell which block of ten was read; each first row is the block's number."""

    def __init__(self):
        self.values = np.repeat(np.arange(6.0), 10)[:, None] * np.ones(2)
        self.shape, self.dtype, self.ndim = self.values.shape, self.values.dtype, 2
        self.read = threading.Semaphore(0)
        self.n_reads = 0

    def __getitem__(self, index):
        found = self.values[index]
        if found.size:
            self.n_reads += 1
            self.read.release()
        return found


def number_of(block, parameters):
    return block.rows[0, 0], parameters


def appended(state, prepared):
    return (*state, prepared)


def run_over(rows):
    return Runner(row_source(da.from_array(rows, chunks=(10, 2))), current_scheduler())


def test_state_goes_through_blocks_in_their_order(scheduler):
    rows = np.repeat(np.arange(6.0), 10)[:, None] * np.ones(2)
    order = [(number, f"step {place}") for place, number in enumerate(ORDER)]
    states = list(run_over(rows).fold(Fold("fold", number_of, appended), order, ()))
    wanted = [(float(number), word) for number, word in order]
    assert states == [tuple(wanted[: n + 1]) for n in range(len(ORDER))]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_next_block_is_read_while_one_is_used(n_threads):
    rows = Watched()
    ahead = []

    def step(state, prepared):
        # This block's own read, and that of the next one, which nobody has asked for yet.
        for _ in range(2 if state == 1 else state < len(ORDER)):
            assert rows.read.acquire(timeout=60), "nobody reads while a block is used"
        ahead.append(rows.n_reads - state)
        return state + 1

    with dask.config.set(scheduler="threads", num_workers=n_threads):
        fold = Fold("fold", number_of, step)
        *_, n_used = run_over(rows).fold(fold, [(number, None) for number in ORDER], 1)
    assert n_used == len(ORDER) + 1
    assert max(ahead) <= 2 * n_threads + 1


def test_fold_that_is_left_reads_no_more():
    rows = Watched()
    with dask.config.set(scheduler="threads", num_workers=1):
        states = run_over(rows).fold(
            Fold("fold", number_of, appended), [(number, None) for number in ORDER * 9], ()
        )
        next(states)
        states.close()
    assert rows.n_reads <= 4
    assert not [each for each in threading.enumerate() if each.name.startswith("daskmeans-read")]


def test_error_of_a_block_comes_through(scheduler):
    rows = da.from_array(np.zeros((60, 2)), chunks=(10, 2)).map_blocks(
        fail_for_fourth, dtype=float, meta=np.empty((0, 0))
    )
    run = Runner(row_source(rows), current_scheduler())
    with pytest.raises(RowsError, match=r"[Bb]lock 4.*gone"):
        list(run.fold(Fold("fold", number_of, appended), [(n, None) for n in ORDER], ()))


@pytest.mark.parametrize(("n_workers", "n_threads"), [(1, 1), (3, 2)])
def test_number_of_workers_changes_nothing(n_workers, n_threads):
    rows = np.random.default_rng(0).normal(size=(60, 2))
    expected = list(run_over(rows).fold(Fold("f", total, added), [(n, None) for n in ORDER], 0.0))
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=n_threads,
            processes=False,
            dashboard_address=":0",
        ) as cluster,
        Client(cluster),
    ):
        found = list(run_over(rows).fold(Fold("f", total, added), [(n, None) for n in ORDER], 0.0))
    assert found == expected


def fail_for_fourth(rows, block_info=None):
    if block_info[None]["chunk-location"][0] == 4:
        raise OSError("gone")
    return rows


def total(block, parameters):
    return float(block.rows.sum())


def added(state, prepared):
    # Sums of floats depend on their order.
    return state * 1.1 + prepared
