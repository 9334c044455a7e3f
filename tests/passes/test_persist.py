"""Rows that are kept in memory during a fit: when, where, and that the answer is the same."""

from __future__ import annotations

import logging
import time

import dask.array as da
import numpy as np
import pytest

from daskmeans import KMeans
from daskmeans.passes import persist
from tests.counting import CountedRows, counted_passes


@pytest.fixture
def no_memory(monkeypatch):
    """As if there were next to none left, on this machine and on the workers."""
    monkeypatch.setattr(persist, "free_memory", lambda client: 1000)


def lazy(blobs):
    rows = CountedRows(blobs)
    return rows, da.from_array(rows, chunks=(50, 5), name=False)


def fit(X, blobs, **options):
    return KMeans(7, init=blobs[:7], **options).fit(X)


def assert_same(model, expected):
    assert (model.cluster_centers_ == expected.cluster_centers_).all()
    assert model.inertia_ == expected.inertia_


def messages(caplog):
    found = [record.getMessage() for record in caplog.records if record.name == "daskmeans"]
    return [message for message in found if message.startswith("Rows ")]


@pytest.fixture(autouse=True)
def logged(caplog):
    caplog.set_level(logging.INFO, "daskmeans")


@pytest.mark.parametrize("name", ["sync", "threads-3"])
def test_rows_that_fit_are_read_once(blobs, run_under, name, caplog):
    counted, rows = lazy(blobs)
    with run_under(name):
        model = fit(rows, blobs)
    assert len(counted.reads) == 7
    assert model.bytes_read_ == blobs.nbytes
    assert_same(model, fit(blobs, blobs))
    (message,) = messages(caplog)
    assert message.startswith("Rows are kept in memory: ")
    assert "half of what is free on this machine" in message


@pytest.mark.parametrize("name", ["sync", "threads-3"])
def test_rows_that_do_not_fit_are_read_in_each_pass(blobs, run_under, name, no_memory, caplog):
    counted, rows = lazy(blobs)
    with run_under(name), counted_passes() as passes:
        model = fit(rows, blobs)
    assert len(counted.reads) == 7 * passes.total()
    assert model.n_passes_ == passes.total()
    assert model.bytes_read_ == blobs.nbytes * passes.total()
    assert_same(model, fit(blobs, blobs))
    (message,) = messages(caplog)
    assert message.startswith("Rows are read in each pass: ")
    assert "do not fit in 500 B, half of what is free on this machine" in message


def test_true_and_false_force_it(blobs, no_memory, caplog):
    counted, rows = lazy(blobs)
    fit(rows, blobs, persist=True)
    assert len(counted.reads) == 7
    assert "as persist=True asks" in messages(caplog)[0]
    counted, rows = lazy(blobs)
    model = fit(rows, blobs, persist=False)
    assert len(counted.reads) == 7 * model.n_passes_
    assert len(messages(caplog)) == 1


def test_work_that_blocks_share_is_done_once(blobs):
    counted, rows = lazy(blobs)
    model = fit(rows.rechunk((40, 5)), blobs)
    # The blocks of the array are split and joined: no more than its own are read.
    assert len(counted.reads) == 7
    assert model.bytes_read_ == blobs.nbytes
    assert_same(model, fit(blobs, blobs))


def test_rows_of_unknown_number_are_kept_once_they_were_counted(blobs):
    counted, rows = lazy(blobs)
    unknown = rows.map_blocks(np.array, chunks=((np.nan,) * 7, (5,)), dtype=rows.dtype)
    model = fit(unknown, blobs)
    assert len(counted.reads) == 2 * 7
    assert_same(model, fit(blobs, blobs))


def test_array_in_memory_is_not_read(blobs, caplog):
    for rows in (blobs, da.from_array(blobs, chunks=(50, 5))):
        assert fit(rows, blobs).bytes_read_ == 0
    assert not messages(caplog)


def test_cluster_keeps_rows_on_its_workers(blobs, run_under, client, caplog):
    def held():
        return {str(key) for keys in client.has_what().values() for key in keys}

    # Other tests share the cluster, and errors that they caught may hold on to their fits.
    before = held()
    rows = da.random.default_rng(0).normal(size=(2000, 5), chunks=(100, 5))
    expected = fit(rows.compute(), blobs)
    with run_under("cluster"):
        model = fit(rows, blobs)
    assert_same(model, expected)
    assert model.bytes_read_ == 2000 * 5 * 8
    assert "half of what is free on the cluster's workers" in messages(caplog)[0]
    # Nothing is held after the fit, once the workers have heard of its end.
    until = time.monotonic() + 30
    while held() - before:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_cluster_without_memory_reads_in_each_pass(blobs, run_under, no_memory):
    rows = da.random.default_rng(0).normal(size=(2000, 5), chunks=(100, 5))
    with run_under("cluster"):
        model = fit(rows, blobs)
    assert_same(model, fit(rows.compute(), blobs))
    assert model.bytes_read_ == model.n_passes_ * 2000 * 5 * 8


def test_weights_go_with_rows_that_are_kept(blobs, run_under):
    weights = np.arange(len(blobs)) % 3
    expected = KMeans(7, init=blobs[:7]).fit(blobs, sample_weight=weights)
    _, rows = lazy(blobs)
    for given in (weights, da.from_array(weights, chunks=40)):
        for name in ("threads-3", "cluster"):
            with run_under(name):
                # CountedRows cannot travel; an array can.
                X = rows if name != "cluster" else da.from_array(blobs, chunks=(50, 5))
                model = KMeans(7, init=blobs[:7]).fit(X, sample_weight=given)
            assert_same(model, expected)


def test_processes_have_no_memory_in_common(blobs, run_under):
    rows = da.from_array(blobs, chunks=(50, 5)) + 0
    with run_under("processes"):
        model = fit(rows, blobs)
        assert model.bytes_read_ == model.n_passes_ * blobs.nbytes
        with pytest.raises(ValueError, match="persist=True keeps rows in the memory of threads"):
            fit(rows, blobs, persist=True)
