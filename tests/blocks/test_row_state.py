"""What is remembered of rows: found again, made anew, let go."""

from __future__ import annotations

import numpy as np
import pytest

from daskmeans.blocks import row_state
from daskmeans.blocks.row_state import RowState, StateKey, bytes_a_row, forget, remembered


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(row_state, "_remembered", row_state.OrderedDict())


def test_a_block_finds_its_own_again():
    key = StateKey("fit", 0)
    state = remembered(key, 3, 10)
    assert state.step == 0
    state.step = 5
    assert remembered(key, 3, 10) is state
    assert remembered(key, 4, 10) is not state
    assert remembered(StateKey("fit", 1), 3, 10) is not state
    assert remembered(StateKey("other", 0), 3, 10) is not state


def test_a_block_of_another_size_starts_anew():
    key = StateKey("fit", 0)
    remembered(key, 0, 10).step = 5
    found = remembered(key, 0, 11)
    assert found.step == 0
    assert found.labels.shape == (11,)


def test_blocks_joined_from_others_start_anew():
    key = StateKey("fit", 0)
    state = remembered(key, 0, 10, (0, 2))
    state.step = 5
    assert remembered(key, 0, 10, (0, 2)) is state
    assert remembered(key, 0, 10, (0, 1)).step == 0
    remembered(key, 0, 10, (0, 1)).step = 5
    assert remembered(key, 0, 10).step == 0


def test_forgetting_a_block_looks_at_no_other():
    """The last pass forgets each of perhaps 100,000 blocks."""

    class NeverWalked(dict):
        def __iter__(self):
            raise AssertionError("looked at every block")

        keys = items = values = __iter__

    row_state._remembered["fit"] = NeverWalked()
    for number in range(3):
        for restart in range(2):
            remembered(StateKey("fit", restart), number, 10).step = 5
    forget("fit", 1)
    assert [remembered(StateKey("fit", 1), number, 10).step for number in range(3)] == [5, 0, 5]


def test_forgetting_a_block_and_a_fit():
    one, other = StateKey("one", 0), StateKey("other", 0)
    for key in (one, StateKey("one", 1), other):
        for number in (0, 1):
            remembered(key, number, 10).step = 5
    forget("one", 0)
    assert remembered(one, 0, 10).step == 0
    assert remembered(one, 1, 10).step == 5
    forget("one")
    assert remembered(one, 1, 10).step == 0
    assert remembered(other, 0, 10).step == 5
    forget("never seen")
    forget("never seen", 3)


def test_the_last_block_forgotten_leaves_nothing_behind():
    remembered(StateKey("fit", 0), 0, 10)
    forget("fit", 0)
    assert not row_state._remembered


def test_a_fit_leaves_nothing_behind_even_if_it_fails():
    with row_state.new_fit() as name:
        remembered(StateKey(name, 0), 0, 10)
        with row_state.new_fit() as other:
            assert other != name

    def fail():
        with row_state.new_fit() as name:
            remembered(StateKey(name, 0), 0, 10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not row_state._remembered


def test_fits_that_failed_are_pushed_out():
    for number in range(10):
        remembered(StateKey(str(number), 0), 0, 10).step = 5
    assert len(row_state._remembered) < 10
    assert remembered(StateKey("9", 0), 0, 10).step == 5
    assert remembered(StateKey("0", 0), 0, 10).step == 0


def test_room_for_bounds():
    state = RowState.unknown(10)
    assert state.margin.size == state.lower.size == 0
    state.make_room(3)
    assert state.margin.shape == (10,)
    assert state.lower.shape == (3, 10)
    state.bounded_since = 4
    state.make_room(3)
    assert state.bounded_since == 4
    state.make_room(2)
    assert (state.lower.shape, state.bounded_since) == ((2, 10), 0)
    state.bounded_since = 4
    state.make_room(1)
    assert (state.margin.shape, state.lower.shape, state.bounded_since) == ((10,), (1, 0), 0)
    state.bounded_since = 4
    state.make_room(0)
    assert state.margin.size == state.lower.size == state.bounded_since == 0


@pytest.mark.parametrize("n_groups", [0, 1, 7])
def test_bytes_a_row(n_groups):
    state = RowState.unknown(10)
    state.make_room(n_groups)
    kept = state.labels.nbytes + state.margin.nbytes + state.lower.nbytes
    assert kept == 10 * bytes_a_row(n_groups)
    assert state.labels.dtype == np.int32
