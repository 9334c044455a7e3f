"""Few passes: seeding by clustering a sample, and what ends the iterations early."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from sklearn.cluster import KMeans as SklearnKMeans

from daskmeans import KMeans
from daskmeans.algorithms import survey
from tests.counting import CountedRows, counted_passes

CENTERS = np.random.default_rng(1).normal(scale=2.0, size=(12, 6))


def overlapping(n_rows, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.choice(12, size=n_rows, p=np.arange(1, 13) / 78)
    return CENTERS[labels] + generator.normal(size=(n_rows, 6))


@pytest.fixture(scope="module")
def rows():
    """More than four times the rows of a sample of 12,000."""
    return overlapping(50_000)


@pytest.fixture(scope="module")
def best_inertia(rows):
    return SklearnKMeans(12, n_init=10, random_state=0).fit(rows).inertia_


def test_auto_clusters_a_sample_of_many_rows(rows):
    for n_rows, init in ((40_000, "k-means++"), (50_000, "refined")):
        auto = KMeans(12, random_state=0, max_iter=1).fit(rows[:n_rows])
        named = KMeans(12, init=init, random_state=0, max_iter=1).fit(rows[:n_rows])
        assert (auto.cluster_centers_ == named.cluster_centers_).all()


def test_within_one_percent_after_two_passes(rows, best_inertia):
    """The first one samples, the second is an iteration; the third only measures."""
    for seed in range(5):
        with counted_passes() as passes:
            model = KMeans(12, init="refined", max_passes=3, random_state=seed).fit(rows)
        assert passes == {"kmeans-survey": 1, "kmeans-assign": 1, "kmeans-cost": 1}
        assert model.stop_reason_ == "max_passes"
        assert model.inertia_ <= 1.01 * best_inertia


def test_refined_takes_fewer_iterations(rows):
    seeded = KMeans(12, init="k-means++", random_state=0).fit(rows)
    refined = KMeans(12, init="refined", random_state=0).fit(rows)
    assert refined.n_iter_ < seeded.n_iter_


def test_weights_of_the_sample_count(rows):
    """Rows of weight 0 are as if they were not there."""
    far = np.concatenate((rows, 50 + overlapping(20_000, seed=1)))
    weights = np.repeat([1.0, 0.0], [50_000, 20_000])
    weighted = KMeans(12, init="refined", max_passes=2, random_state=0).fit(
        far, sample_weight=weights
    )
    assert (weighted.cluster_centers_ < 20).all()


def test_rows_without_weight_between_those_with(rows):
    """Every fourth row of the sample, which a lap takes, could have none."""
    weights = np.zeros(len(rows))
    weights[1::4] = 1
    model = KMeans(12, init="refined", random_state=0).fit(rows, sample_weight=weights)
    alone = KMeans(12, init="refined", random_state=0).fit(rows[1::4])
    assert model.inertia_ == pytest.approx(alone.inertia_, rel=0.03)


def test_n_init_is_the_number_that_races(rows, best_inertia):
    for n_init in (1, 3):
        model = KMeans(12, init="refined", n_init=n_init, random_state=0).fit(rows)
        again = KMeans(12, init="refined", n_init=n_init, random_state=0).fit(rows)
        assert (model.cluster_centers_ == again.cluster_centers_).all()
        assert model.inertia_ < 1.2 * best_inertia


def test_race_tells_no_observer(rows):
    with counted_passes() as passes:
        model = KMeans(12, init="refined", random_state=0).fit(rows)
    assert passes.iterations == model.n_iter_


def test_fewer_distinct_rows_than_clusters():
    repeated = np.repeat(np.arange(3.0), 10_000).reshape(-1, 1)
    with pytest.warns(match="distinct clusters"):
        model = KMeans(5, init="refined", random_state=0).fit(repeated)
    assert model.inertia_ == 0


class TestRelativeTolerance:
    def test_stops_once_an_iteration_gains_less(self, rows):
        model = KMeans(12, init=rows[:12], tol=0, rtol=1e-2, persist=False).fit(rows)
        assert model.stop_reason_ == "relative tolerance"
        inertias = [record.inertia for record in model.history_]
        # What an iteration gained is known exactly only by the next one; it gained no less.
        gains = 1 - np.array(inertias[1:]) / inertias[:-1]
        assert (gains[:-1] > 1e-3).all()
        longer = KMeans(12, init=rows[:12], tol=0, rtol=1e-4).fit(rows)
        assert longer.n_iter_ > model.n_iter_
        assert longer.inertia_ < model.inertia_

    def test_gain_is_that_of_moving_the_centers(self, rows):
        """Assigned to the first centers, the rows' inertia falls by moving these to their means."""
        first = KMeans(12, init=rows[:12], max_iter=1).fit(rows)
        after = first.history_[0].inertia
        before = ((rows[:, None, :] - rows[None, :12]) ** 2).sum(axis=2).min(axis=1).sum()
        gain = 1 - after / before
        for share, reason in ((0.99, "max_iter"), (1.01, "relative tolerance")):
            model = KMeans(12, init=rows[:12], max_iter=1, tol=0, rtol=gain * share).fit(rows)
            assert model.stop_reason_ == reason

    def test_weights_scale_nothing(self, rows):
        plain = KMeans(12, init=rows[:12], tol=0, rtol=1e-3).fit(rows)
        for factor in (1e-9, 3.0):
            weights = np.full(len(rows), factor)
            scaled = KMeans(12, init=rows[:12], tol=0, rtol=1e-3).fit(rows, sample_weight=weights)
            assert scaled.n_iter_ == plain.n_iter_

    def test_both_tolerances_are_reported(self, rows):
        assert KMeans(12, init=rows[:12], tol=1e-2).fit(rows).stop_reason_ == "tolerance"
        exact = KMeans(2, init=[[0.0], [9.0]], tol=0, rtol=0).fit([[0.0], [1.0], [9.0]])
        assert exact.stop_reason_ == "center shift zero"


class TestPasses:
    @pytest.mark.parametrize("max_passes", [2, 3, 5])
    def test_bound(self, rows, max_passes):
        counted = CountedRows(rows)
        lazy = da.from_array(counted, chunks=(5_000, 6), name=False)
        model = KMeans(12, tol=0, max_passes=max_passes, persist=False, random_state=0).fit(lazy)
        assert model.n_passes_ == max_passes
        assert model.n_iter_ == len(model.history_) == max_passes - 2
        assert len(counted.reads) == 10 * max_passes
        assert model.bytes_read_ == max_passes * rows.nbytes
        assert model.inertia_ == pytest.approx(-model.score(rows))

    def test_relocation_is_a_pass_that_counts(self, rows):
        init = rows[:12].copy()
        init[3] = 1e3
        with counted_passes() as passes:
            model = KMeans(12, init=init, tol=0, max_passes=6).fit(rows)
        assert passes["kmeans-farthest"] == 1
        assert model.n_passes_ == passes.total() == 6
        assert [record.n_passes for record in model.history_] == [2, 1, 1]
        with counted_passes() as passes, pytest.warns(match="distinct clusters"):
            model = KMeans(12, init=init, tol=0, max_passes=3).fit(rows)
        # None is left for it: the empty cluster joins another one.
        assert passes.total() == 3
        assert np.isfinite(model.cluster_centers_).all()

    def test_history_adds_up(self, rows):
        counted = CountedRows(rows)
        lazy = da.from_array(counted, chunks=(5_000, 6), name=False)
        model = KMeans(12, persist=False, random_state=0).fit(lazy)
        assert sum(record.n_passes for record in model.history_) == model.n_passes_ - 2
        read = sum(record.bytes_read for record in model.history_)
        assert read == model.bytes_read_ - 2 * rows.nbytes


def test_sample_that_a_budget_cuts_short(rows, monkeypatch, best_inertia):
    monkeypatch.setattr(survey, "SAMPLE_BYTES", 2_000 * 6 * 8)
    model = KMeans(12, init="refined", random_state=0).fit(rows)
    assert model.inertia_ < 1.05 * best_inertia
