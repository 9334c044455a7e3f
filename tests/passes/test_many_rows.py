"""More rows than 32 bits count: a dask array whose blocks are views made on the fly."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from daskmeans import KMeans
from daskmeans.algorithms.survey import SurveyParameters, quantising_scale, ranges_chunk, sample_of
from daskmeans.blocks.block import Block
from daskmeans.blocks.inputs import row_source
from daskmeans.edges.zarr_layout import Layout
from daskmeans.edges.zarr_partial import PartialStore
from daskmeans.errors import RowsError
from daskmeans.kernels.random_draws import exponential_keys, uniform_keys
from daskmeans.partials import KeyedRows, MetricSums
from daskmeans.passes.plan import Pass
from daskmeans.passes.runner import Runner

UNIT = 1 << 27
LAST = 5


def made(block_info=None):
    """Rows of one byte each, of which all but the last block take no memory."""
    (n_rows, _) = block_info[None]["chunk-shape"]
    return np.broadcast_to(np.uint8(3), (n_rows, 1))


def rows_of_bytes(n_blocks):
    """Return n_blocks * UNIT + LAST rows."""
    sizes = (UNIT,) * n_blocks + (LAST,)
    return da.map_blocks(
        made, chunks=(sizes, (1,)), dtype=np.uint8, meta=np.empty((0, 1), np.uint8)
    )


def count_rows(block, parameters):
    """The reduced kernel: it looks at where rows are, and not at each of them."""
    first, n_rows = block.first_row, len(block)
    # In two parts: the sum of all numbers takes more than 63 bits.
    high, low = divmod(n_rows * first + n_rows * (n_rows - 1) // 2, 1 << 32)
    return MetricSums((np.array([n_rows, high, low, int(block.rows[-1, 0])]),), ())


@pytest.mark.parametrize("n_blocks", [16, 33])
@pytest.mark.parametrize("known", [True, False])
def test_row_numbers_sum_to_the_closed_form(run_under, n_blocks, known):
    """2**31 + 5 rows, and more than 2**32."""
    X = rows_of_bytes(n_blocks)
    n = n_blocks * UNIT + LAST
    assert X.shape == (n, 1)
    if not known:
        X = X.map_blocks(np.asarray, chunks=((np.nan,) * (n_blocks + 1), (1,)), meta=X._meta)
    for name in ("sync", "threads-3"):
        with run_under(name):
            found = Runner(row_source(X))(Pass("count", count_rows, None))
        counted, high, low, last = found.integers[0].tolist()
        assert (counted, last) == (n, 3 * (n_blocks + 1))
        assert (high << 32) + low == n * (n - 1) // 2


def test_labels_of_the_last_rows():
    """A lazy prediction computes the block that is asked for, whatever comes before it."""
    model = KMeans(2, init=np.array([[9.0], [2.0]]), max_iter=1).fit(np.array([[9.0], [2.0]]))
    labels = model.predict(rows_of_bytes(33))
    assert labels.shape == (33 * UNIT + LAST,)
    assert labels[-LAST:].compute().tolist() == [1] * LAST


@pytest.mark.parametrize("boundary", [1 << 31, 1 << 32, 1 << 40])
def test_draws_belong_to_rows_on_both_sides_of_a_boundary(boundary):
    seed, purpose, n = np.uint64(7), np.uint64(1), 10
    across, beyond, low = (np.empty(2 * n), np.empty(n), np.empty(n))
    exponential_keys(seed, purpose, np.uint64(boundary - n), np.ones(2 * n), across)
    exponential_keys(seed, purpose, np.uint64(boundary), np.ones(n), beyond)
    exponential_keys(seed, purpose, np.uint64(0), np.ones(n), low)
    np.testing.assert_array_equal(across[n:], beyond)
    # Numbers cut to 32 bits would draw what the first rows draw.
    assert not np.isin(beyond, low).any()
    bits = np.empty(2 * n, np.uint64)
    uniform_keys(seed, purpose, np.uint64(boundary - n), bits)
    assert len(np.unique(bits)) == 2 * n


def test_samples_know_the_numbers_of_their_rows():
    parameters = SurveyParameters(3, 4, 2**64 - 1, True, None)
    starts = (0, 1 << 31, 1 << 33)
    parts = [
        sample_of(Block(number, start, np.full((6, 1), float(start)), None), parameters)
        for number, start in enumerate(starts)
    ]
    merged = KeyedRows.combine(parts)
    assert merged.row_numbers.dtype == np.int64
    assert (merged.rows[:, 0] <= merged.row_numbers).all()
    assert (merged.row_numbers < merged.rows[:, 0] + 6).all()
    assert (merged.row_numbers >= 1 << 31).any()


def test_error_names_a_row_beyond_32_bits():
    rows = np.array([[1.0], [2.0], [np.nan]])
    with pytest.raises(RowsError, match=r"block 40, row 8589934594 \(row 2 of the block\)"):
        ranges_chunk(Block(40, 1 << 33, rows, None), None)


@pytest.mark.parametrize("n_rows", [2**31 + 5, 2**32 + 5, 2**40])
def test_sums_of_so_many_rows_do_not_overflow(n_rows):
    reach = np.array([1.0, 255.0, 1e6])
    scale = quantising_scale(reach, n_rows)
    largest = [int(each) for each in np.rint(reach * scale[:3])]
    largest.append(int(np.rint((reach**2).sum() * scale[-2])))
    assert max(largest) * n_rows < 2**63
    # And the centers stay exact to about the share of the range that is promised.
    half = 0.5 / scale[:3]
    assert (half <= 4 * (2 * reach) * 2.0 ** -(62 - np.log2(n_rows))).all()


def test_last_region_of_labels_is_written(tmp_path):
    labels = KMeans(1).fit([[1.0]]).predict(rows_of_bytes(33))
    layout = Layout.of(labels)
    store = PartialStore(tmp_path / "labels.zarr", "labels.zarr", layout, labels.name)
    assert list(layout.coordinates())[-1] == (33,)
    assert layout.region((33,)) == (slice(33 * UNIT, 33 * UNIT + LAST),)
    store.prepare()
    opened = store.open()
    assert isinstance(opened, zarr.Array)
    assert opened.shape == (33 * UNIT + LAST,)
