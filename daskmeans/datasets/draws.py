"""Draws that belong to rows: streams of random numbers by seed, purpose and place."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Draws are made this many at a time: their float64 work arrays stay in the cache, and a block takes
# hardly more memory than the rows that it returns.
_DRAWS_AT_A_TIME = 1 << 15


class Purpose(enum.IntEnum):
    """What a stream of draws is for. Streams of different purposes are independent."""

    CENTER = 1
    CLUSTER = 2
    POSITION = 3
    UNIFORM = 4


def stream_of(seed: int, purpose: Purpose, position: int) -> np.random.Philox:
    """Draws of one seed and purpose, from draw number `position` on."""
    # The tag in front keeps these draws apart from those of an estimator with the same seed.
    tag = int.from_bytes(b"datasets", "big")
    key = np.random.SeedSequence([tag, purpose, seed]).generate_state(2, np.uint64)
    # Philox gives four words for each value of its counter.
    counter, used = divmod(position, 4)
    stream = np.random.Philox(counter=counter, key=key)
    stream.random_raw(used)
    return stream


def uniforms(stream: np.random.Philox, n_draws: int) -> NDArray[np.float64]:
    """Next `n_draws` numbers between 0 and 1, exclusive, from one word each."""
    # 52 bits and a half: no rounding ever gives 0 or 1, where the normal quantile is infinite.
    draws = (stream.random_raw(n_draws) >> np.uint64(12)).astype(np.float64)
    draws += 0.5
    draws *= 2.0**-52
    return draws


def uniform_rows(
    stream: np.random.Philox, n_rows: int, n_features: int, columns: slice
) -> NDArray[np.float64]:
    """Some columns of the next rows of such numbers; all columns are drawn."""
    return uniforms(stream, n_rows * n_features).reshape(n_rows, n_features)[:, columns]


def place_of(block_info: Any) -> tuple[int, int, slice]:
    """First row of a block, one past its last, and its columns, from what dask tells of it."""
    (start, stop), columns = block_info[None]["array-location"]
    return start, stop, slice(*columns)


def parts(n_rows: int, n_features: int) -> Iterator[slice]:
    """Rows of a block that are drawn at a time."""
    rows_at_a_time = max(1, _DRAWS_AT_A_TIME // n_features)
    for start in range(0, n_rows, rows_at_a_time):
        yield slice(start, min(start + rows_at_a_time, n_rows))
