"""Which worker works on which blocks: where they are, unless one has far more than its share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

# A worker keeps all that it holds up to this multiple of its share.
_TOLERANCE = 1.25


def placed_groups(
    sizes: Sequence[int], holders: Sequence[Sequence[str]], threads: Mapping[str, int]
) -> list[tuple[str, tuple[int, ...]]]:
    """Split blocks into a group for each thread of each worker.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each block.
    holders : sequence of sequences of str
        Addresses of the workers that have each block; none if it was lost.
    threads : mapping of address to number of threads

    Returns
    -------
    list of (address, block numbers)
        Groups of neighbours among the blocks of a worker; fewer than threads where there are fewer
        blocks. Those of a worker one after the other.

    Examples
    --------
    >>> placed_groups([5, 5, 5, 5], [["a"], ["a"], ["a"], ["b"]], {"a": 2, "b": 1})
    [('a', (0,)), ('a', (1, 2)), ('b', (3,))]
    >>> placed_groups([5, 5, 5, 5], [["a"], ["a"], ["a"], ["a"]], {"a": 1, "b": 1})
    [('a', (0, 1)), ('b', (2, 3))]
    """
    total = sum(sizes)
    n_threads = sum(threads.values())
    share = {address: total * n / n_threads for address, n in threads.items()}
    load = dict.fromkeys(threads, 0)
    blocks: dict[str, list[int]] = {address: [] for address in threads}

    def give(number: int, candidates: Sequence[str]) -> None:
        address = min(candidates, key=lambda each: load[each] / share[each] if total else 0.0)
        load[address] += sizes[number]
        blocks[address].append(number)

    lost = []
    for number, having in enumerate(holders):
        alive = [address for address in having if address in threads]
        if alive:
            give(number, alive)
        else:
            lost.append(number)
    everyone = list(threads)
    for number in lost:
        give(number, everyone)
    for address in everyone:
        if load[address] <= _TOLERANCE * share[address]:
            continue
        while blocks[address]:
            number = blocks[address][-1]
            neediest = max(everyone, key=lambda each: share[each] - load[each])
            # No further than to where both are about as far from their shares.
            if load[address] - sizes[number] < share[address] - sizes[number] / 2 or (
                share[neediest] - load[neediest] < sizes[number] / 2
            ):
                break
            load[address] -= sizes[number]
            blocks[address].pop()
            load[neediest] += sizes[number]
            blocks[neediest].append(number)
    return [
        (address, run)
        for address in everyone
        for run in _runs(sorted(blocks[address]), sizes, threads[address])
    ]


def _runs(numbers: list[int], sizes: Sequence[int], n_runs: int) -> list[tuple[int, ...]]:
    """Split blocks into at most so many runs of about as many rows each."""
    rows = np.array(list(accumulate(sizes[number] for number in numbers)))
    if not len(rows):
        return []
    # A block belongs to the run in which its middle lies.
    middles = rows - np.array([sizes[number] for number in numbers]) / 2
    run_of = np.minimum(middles * n_runs // max(rows[-1], 1), n_runs - 1).astype(int)
    found = []
    for run in range(n_runs):
        members = tuple(number for number, at in zip(numbers, run_of, strict=True) if at == run)
        if members:
            found.append(members)
    return found
