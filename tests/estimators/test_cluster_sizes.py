"""How many rows each cluster has: by the labels, whatever weights, chunks and schedulers are."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from daskmeans import BisectingKMeans, KMeans, MiniBatchKMeans, sweep


def chunked(rows):
    return da.from_array(rows, chunks=(50, 5))


def test_are_those_of_the_labels(blobs, scheduler):
    model = KMeans(7, random_state=0, n_init=3).fit(chunked(blobs))
    assert model.cluster_sizes_.dtype == np.int64
    expected = np.bincount(np.asarray(model.labels_), minlength=7)
    np.testing.assert_array_equal(model.cluster_sizes_, expected)
    assert model.cluster_sizes_.sum() == len(blobs)


def test_do_not_depend_on_weights(blobs):
    """Rows are counted, those of weight 0 too."""
    weights = np.where(np.arange(len(blobs)) % 3 == 0, 0.0, 2.5)
    model = KMeans(4, random_state=0).fit(blobs, sample_weight=weights)
    np.testing.assert_array_equal(model.cluster_sizes_, np.bincount(model.labels_, minlength=4))


def test_cost_no_pass(blobs):
    model = KMeans(7, random_state=0).fit(chunked(blobs))
    # Survey, iterations, measuring: none beside them.
    assert model.n_passes_ == model.n_iter_ + 2


def test_empty_cluster():
    with pytest.warns(match="Number of distinct clusters"):
        model = KMeans(3, random_state=0).fit([[0.0], [0.0], [5.0]])
    assert sorted(model.cluster_sizes_.tolist()) == [0, 1, 2]


def test_of_a_sweep(blobs):
    for n_clusters, model in sweep(blobs, [2, 5], n_init=2, random_state=0).models.items():
        expected = np.bincount(model.labels_, minlength=n_clusters)
        np.testing.assert_array_equal(model.cluster_sizes_, expected)


def test_none_after_ctrl_c(blobs):
    def press(state):
        raise KeyboardInterrupt

    with pytest.warns(match="interrupted"):
        model = KMeans(7, random_state=0, tol=0).fit(blobs, callback=press)
    assert model.cluster_sizes_ is None


class TestBisecting:
    @pytest.mark.parametrize("n_clusters", [1, 6])
    def test_are_those_of_the_labels(self, blobs, n_clusters, scheduler):
        model = BisectingKMeans(n_clusters, random_state=0).fit(chunked(blobs))
        assert model.cluster_sizes_.dtype == np.int64
        # By the way down the tree: the center of another leaf may be nearer.
        expected = np.bincount(np.asarray(model.labels_), minlength=n_clusters)
        np.testing.assert_array_equal(model.cluster_sizes_, expected)

    def test_do_not_depend_on_weights(self, blobs):
        weights = np.where(np.arange(len(blobs)) % 3 == 0, 0.0, 2.5)
        model = BisectingKMeans(4, random_state=0).fit(blobs, sample_weight=weights)
        np.testing.assert_array_equal(model.cluster_sizes_, np.bincount(model.labels_))
        assert model.cluster_sizes_.sum() == len(blobs)

    def test_repeated_center_has_none(self):
        with pytest.warns(match="Number of distinct clusters"):
            model = BisectingKMeans(3, random_state=0).fit([[0.0], [0.0], [5.0]])
        assert sorted(model.cluster_sizes_.tolist()) == [0, 1, 2]

    def test_where_fewer_clusters_than_wanted_are_found(self, blobs):
        with pytest.warns(match="min_divisible_cluster_size"):
            model = BisectingKMeans(
                20, random_state=0, min_divisible_cluster_size=len(blobs) // 3
            ).fit(blobs)
        assert len(model.cluster_sizes_) == len(model.cluster_centers_) < 20


class TestMiniBatch:
    def test_of_the_rows_of_a_fit(self, blobs):
        model = MiniBatchKMeans(4, batch_size=60, random_state=0).fit(chunked(blobs))
        expected = np.bincount(np.asarray(model.labels_), minlength=4)
        np.testing.assert_array_equal(model.cluster_sizes_, expected)

    def test_of_the_last_batch(self, blobs):
        model = MiniBatchKMeans(4, random_state=0)
        for batch in (blobs[:200], blobs[200:]):
            model.partial_fit(batch)
        assert model.cluster_sizes_.sum() == len(blobs) - 200

    def test_none_without_labels(self, blobs):
        model = MiniBatchKMeans(4, batch_size=60, random_state=0).fit(blobs)
        model.set_params(compute_labels=False).fit(blobs)
        assert not hasattr(model, "cluster_sizes_")
