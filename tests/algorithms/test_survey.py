"""What the first pass finds: ranges, counts, shift and scales that no chunking shows in."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import daskmeans.algorithms.survey as module
from daskmeans.algorithms.survey import survey
from daskmeans.blocks.inputs import row_source
from daskmeans.blocks.weights import with_weights
from daskmeans.kernels.lloyd import sums_width
from daskmeans.passes.runner import Runner
from tests import strategies


def surveyed(rows, weights=None, n_clusters=1, seed=5):
    source = row_source(rows)
    return survey(
        Runner(source if weights is None else with_weights(source, weights)), n_clusters, seed
    )


@given(case=strategies.rows_weights_and_two_chunkings(dtypes=[np.float32, np.float64]))
def test_scales_keep_every_sum_within_62_bits(case):
    found = surveyed(da.from_array(case.rows, chunks=case.chunkings[0]), case.weights)
    n, d = case.rows.shape
    y = np.abs(case.rows.astype(np.float64) - found.shift)
    largest = (
        1.0
        if case.weights is None
        else case.weights.max() / 2.0**found.quantisation.weight_exponent
    )
    assert 0.5 < largest <= 1
    terms = np.column_stack((y, (y**2).sum(axis=1), np.ones(n))) * largest
    quantised = terms * found.quantisation.scale[[*range(d), -2, -1]]
    assert quantised.max() < 2.0**50
    assert n * quantised.max() < 2.0**62
    # And as fine as that allows: the largest number of each column fills its bits. (Which sum of
    # squares is the largest is not known from ranges.)
    features = quantised[:, :d].max(axis=0) / largest
    assert (features[features > 0] >= 2.0**49).all()
    mantissas, _ = np.frexp(found.quantisation.scale[found.quantisation.scale > 0])
    assert set(mantissas) == {0.5}


def test_shift_is_close_to_the_mean_and_exact_in_float32():
    rows = 1e4 + np.random.default_rng(0).normal(size=(500, 7))
    shift = surveyed(rows).shift
    np.testing.assert_allclose(shift, rows.mean(axis=0), rtol=1e-6)
    assert (shift.astype(np.float32) == shift).all()


def test_padding_is_neither_shifted_nor_scaled():
    for d in (1, 5, 6, 7, 13):
        found = surveyed(np.random.default_rng(d).normal(size=(53, d)))
        width = sums_width(d)
        assert found.quantisation.scale.shape == found.quantisation.shift.shape == (width,)
        assert (found.quantisation.scale[d:-2] == 0).all()
        assert (found.quantisation.shift[d:] == 0).all()


def test_few_rows_are_all_in_the_sample_and_in_order():
    rows = np.random.default_rng(0).normal(size=(53, 5))
    for X in (rows, da.from_array(rows, chunks=(11, 2))):
        found = surveyed(X)
        np.testing.assert_array_equal(found.sample, rows)
        assert found.sample_numbers.tolist() == list(range(53))


def test_sample_of_many_rows(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_MIN_ROWS", 300)
    monkeypatch.setattr(module, "SAMPLE_ROWS_A_CLUSTER", 1)
    rows = np.random.default_rng(0).normal(size=(20_000, 5))
    found = [surveyed(X) for X in (rows, da.from_array(rows, chunks=(700, 5)))]
    for one in found:
        assert len(one.sample) == len(set(one.sample_numbers)) == 300
        assert (np.diff(one.sample_numbers) > 0).all()
        np.testing.assert_array_equal(one.sample, rows[one.sample_numbers])
    np.testing.assert_array_equal(found[0].sample_numbers, found[1].sample_numbers)
    assert set(surveyed(rows, seed=6).sample_numbers) != set(found[0].sample_numbers)


@pytest.mark.parametrize("weighted", [False, True])
def test_sample_is_unbiased(monkeypatch, weighted):
    """Weighted counts of the lower half, over 40 samples, within 4 standard errors."""
    monkeypatch.setattr(module, "SAMPLE_MIN_ROWS", 100)
    monkeypatch.setattr(module, "SAMPLE_ROWS_A_CLUSTER", 1)
    rows = np.arange(5000.0).reshape(-1, 1)
    weights = np.random.default_rng(0).uniform(0, 3, 5000) if weighted else None
    shares = []
    for seed in range(40):
        found = surveyed(rows, weights, seed=seed)
        mass = np.ones(100) if weights is None else found.sample_weights
        shares.append(mass[found.sample[:, 0] < 2500].sum() / mass.sum())
    expected = 0.5 if weights is None else weights[:2500].sum() / weights.sum()
    error = np.std(shares) / np.sqrt(40)
    assert abs(np.mean(shares) - expected) < 4 * error


def test_weights_of_a_sample_add_up_to_all_weights(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_MIN_ROWS", 1000)
    weights = np.random.default_rng(0).uniform(0, 3, 5000)
    found = surveyed(np.arange(5000.0).reshape(-1, 1), weights)
    # Horvitz and Thompson's estimate; its standard error here is about 2 %.
    np.testing.assert_allclose(found.sample_weights.sum(), weights.sum(), rtol=0.1)


def test_sample_is_taken_again_if_too_few_keys_are_below_the_limit(monkeypatch):
    """Too few happens once in 10**15 fits; here the limit is made wrong."""
    monkeypatch.setattr(module, "SAMPLE_MIN_ROWS", 100)
    monkeypatch.setattr(module, "SAMPLE_ROWS_A_CLUSTER", 1)
    rows = np.random.default_rng(0).normal(size=(5000, 5))
    expected = surveyed(rows)
    monkeypatch.setattr(module, "key_limit", lambda m, n_rows: 2**50)
    np.testing.assert_array_equal(surveyed(rows).sample_numbers, expected.sample_numbers)


@given(st.integers(1, 2000), st.integers(1, 2000), st.sampled_from([1, 4, 8]))
def test_size_of_the_sample(n_clusters, n_features, itemsize):
    size = module.sample_size(n_clusters, n_features, itemsize)
    assert size >= 2 * n_clusters
    assert size * n_features * itemsize <= max(256 << 20, 2 * n_clusters * n_features * itemsize)
