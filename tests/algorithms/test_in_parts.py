"""Work on clusters is done once for each of them, by several threads where it is much."""

from __future__ import annotations

import threading

import dask
import pytest

from daskmeans.algorithms.in_parts import by_clusters


def runs_of(n_clusters, n_features, n_threads):
    """Return the runs of clusters that are worked on, and whether one was in this thread."""
    runs, here = [], []

    def work(first, last):
        runs.append((first, last))
        here.append(threading.current_thread() is threading.main_thread())

    with dask.config.set(scheduler="threads", num_workers=n_threads):
        by_clusters(work, n_clusters, n_features)
    return sorted(runs), any(here)


@pytest.mark.parametrize("n_clusters", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("n_features", [1, 10**5, 10**7])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_runs_are_all_clusters_once(n_clusters, n_features, n_threads):
    runs, here = runs_of(n_clusters, n_features, n_threads)
    assert [cluster for run in runs for cluster in range(*run)] == list(range(n_clusters))
    assert len(runs) <= n_threads
    assert here


def test_much_work_is_split_and_little_is_not():
    assert runs_of(6, 10**7, 3)[0] == [(0, 2), (2, 4), (4, 6)]
    assert runs_of(6, 10, 3)[0] == [(0, 6)]


@pytest.mark.parametrize("bad", [0, 3])
def test_error_of_any_part_is_raised(bad):
    def work(first, last):
        if first == bad:
            raise MemoryError(f"clusters from {first} on")

    with dask.config.set(scheduler="threads", num_workers=2), pytest.raises(MemoryError):
        by_clusters(work, 6, 10**7)
