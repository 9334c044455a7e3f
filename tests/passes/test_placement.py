"""Which worker works on which blocks: each block once, where it is, in shares by threads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daskmeans.passes.placement import placed_groups

THREADS = {"a": 1, "b": 2, "c": 1}


@st.composite
def held_blocks(draw):
    """Sizes of blocks, and who has each: living workers, dead ones, or nobody."""
    sizes = draw(st.lists(st.integers(0, 1000), min_size=1, max_size=60))
    having = st.lists(st.sampled_from(["a", "b", "c", "dead"]), max_size=3, unique=True)
    return sizes, [draw(having) for _ in sizes]


@given(held_blocks())
def test_every_block_is_in_one_group(held):
    sizes, holders = held
    groups = placed_groups(sizes, holders, THREADS)
    assert sorted(number for _, numbers in groups for number in numbers) == list(range(len(sizes)))
    for address, threads in THREADS.items():
        assert sum(each == address for each, _ in groups) <= threads
    assert all(numbers and list(numbers) == sorted(numbers) for _, numbers in groups)


@given(held_blocks())
def test_no_worker_has_far_more_than_its_share(held):
    sizes, holders = held
    load = dict.fromkeys(THREADS, 0)
    for address, numbers in placed_groups(sizes, holders, THREADS):
        load[address] += sum(sizes[number] for number in numbers)
    for address, threads in THREADS.items():
        share = sum(sizes) * threads / 4
        assert load[address] <= 1.25 * share + max(sizes)


def test_blocks_stay_where_they_are_if_shares_are_about_even():
    holders = [["a"]] * 5 + [["b"]] * 10 + [["c"]] * 6
    groups = placed_groups([10] * 21, holders, THREADS)
    assert groups == [
        ("a", tuple(range(5))),
        ("b", tuple(range(5, 10))),
        ("b", tuple(range(10, 15))),
        ("c", tuple(range(15, 21))),
    ]


def test_lost_blocks_go_to_who_has_least():
    groups = placed_groups([10] * 4, [["a"], ["gone"], ["a"], []], {"a": 1, "b": 1})
    assert groups == [("a", (0, 2)), ("b", (1, 3))]


def test_new_worker_gets_its_share():
    groups = placed_groups([10] * 9, [["a"]] * 9, {"a": 1, "b": 2})
    assert [(address, len(numbers)) for address, numbers in groups] == [
        ("a", 3),
        ("b", 3),
        ("b", 3),
    ]


def test_groups_of_a_worker_are_even():
    groups = placed_groups([1, 1, 1, 1, 4, 4], [["b"]] * 6, {"b": 3})
    assert [numbers for _, numbers in groups] == [(0, 1, 2, 3), (4,), (5,)]
