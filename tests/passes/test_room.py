"""Sums of so many clusters that no thread can hold them are refused before anything is read."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from daskmeans import KMeans
from daskmeans.errors import ClusterError, TooLargeError
from daskmeans.passes import graph, room
from daskmeans.passes.room import check_room
from tests.counting import Tasks
from tests.passes.test_resident import fresh_cluster


def test_bytes_are_named():
    with pytest.raises(TooLargeError, match=r"take 1.00 PiB.*2 threads need 6.00 PiB, and .* free"):
        check_room(1 << 50, 2, None)
    check_room(1 << 10, 2, None)


def test_worker_is_named(client):
    with pytest.raises(ClusterError, match=r"worker tcp.* need 3.00 PiB, and it may hold .*iB"):
        check_room(1 << 50, 2, client)
    check_room(1 << 25, 2, client)


def test_nothing_is_read_before(monkeypatch):
    monkeypatch.setattr(room, "_HELD_A_THREAD", 1 << 60)
    read = []

    def reading(block):
        read.append(len(block))
        return block

    X = da.ones((100, 2), chunks=10).map_blocks(reading, meta=np.empty((0, 2)))
    with pytest.raises(TooLargeError, match="fewer clusters"):
        KMeans(3).fit(X)
    assert read == []


def test_large_parameters_of_rows_that_are_read_are_sent_once(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(600, 3))
    da.from_array(rows, chunks=(50, 3)).to_zarr(tmp_path / "rows.zarr")
    X = da.from_zarr(tmp_path / "rows.zarr")
    options = dict(init=rows[:5], max_iter=3, persist=False)
    expected = KMeans(5, **options).fit(rows).cluster_centers_
    monkeypatch.setattr(graph, "MOST_LITERAL_BYTES", 0)
    with fresh_cluster(processes=False) as (cluster, _):
        tasks = Tasks()
        cluster.scheduler.add_plugin(tasks)
        model = KMeans(5, **options).fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, expected)
    assert tasks.counts["kmeans-parameters"] == model.n_passes_
