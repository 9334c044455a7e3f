"""What users of scikit-learn and dask expect of an estimator: types, names, laziness, pickling."""

from __future__ import annotations

import copy
import pickle

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from daskmeans import KMeans, k_means, kmeans_parallel, kmeans_plusplus
from tests import reference
from tests.counting import CountedRows, counted_passes


@pytest.fixture
def counted(blobs):
    """Counted rows, and the dask array of them in 7 blocks."""
    rows = CountedRows(blobs)
    return rows, da.from_array(rows, chunks=(50, 5), name=False)


class TestLaziness:
    """dask in gives lazy dask out, with known chunks; NumPy in gives NumPy out."""

    def test_predict_and_transform_read_nothing(self, blobs, counted):
        """dask-ml's predict reads all rows for its check for NaN."""
        rows, lazy = counted
        model = KMeans(7, init=blobs[:7]).fit(blobs)
        labels, distances = model.predict(lazy), model.transform(lazy)
        assert rows.reads == []
        np.testing.assert_array_equal(labels.compute(), model.predict(blobs))
        np.testing.assert_array_equal(distances.compute(), model.transform(blobs))
        assert (labels.chunks, labels.dtype) == (lazy.chunks[:1], np.int32)
        assert distances.chunks == (lazy.chunks[0], (7,))
        assert distances.dtype == np.float64

    def test_predict_of_a_part_reads_its_blocks_only(self, blobs, counted):
        rows, lazy = counted
        KMeans(7, init=blobs[:7]).fit(blobs).predict(lazy)[120:180].compute()
        assert sorted(rows.reads) == [(100, 150), (150, 200)]

    def test_meta_is_that_of_the_result(self, blobs):
        model = KMeans(7, init=blobs[:7]).fit(blobs)
        rows = da.from_array(blobs.astype(np.float32), chunks=(50, 2))
        distances = model.transform(rows)
        assert distances.dtype == distances.compute().dtype == np.float32
        labels = model.predict(rows)
        assert labels.dtype == labels.compute().dtype == np.int32

    def test_labels_of_rows_of_unknown_sizes_have_known_chunks(self, blobs):
        lazy = da.from_array(blobs, chunks=(50, 2))
        lazy = lazy[lazy[:, 0] > 0]
        assert np.isnan(lazy.shape[0])
        rows = blobs[blobs[:, 0] > 0]
        model = KMeans(7, init=blobs[:7]).fit(lazy)
        in_memory = KMeans(7, init=blobs[:7]).fit(rows)
        assert model.labels_.shape == (len(rows),)
        assert sum(model.labels_.chunks[0]) == len(rows)
        np.testing.assert_array_equal(model.labels_.compute(), in_memory.labels_)
        assert (model.cluster_centers_ == in_memory.cluster_centers_).all()
        # Known chunks are needed by whoever stores them, block by block.
        np.testing.assert_array_equal(model.labels_[10:20].compute(), in_memory.labels_[10:20])

    def test_predict_of_unknown_sizes_stays_unknown(self, blobs):
        lazy = da.from_array(blobs, chunks=(50, 2))
        lazy = lazy[lazy[:, 0] > 0]
        model = KMeans(7, init=blobs[:7]).fit(blobs)
        np.testing.assert_array_equal(
            model.predict(lazy).compute(), model.predict(blobs[blobs[:, 0] > 0])
        )

    def test_numpy_in_gives_numpy_out(self, blobs):
        model = KMeans(7, init=blobs[:7]).fit(blobs)
        for result in (model.labels_, model.predict(blobs), model.transform(blobs)):
            assert type(result) is np.ndarray
        assert type(model.inertia_) is float
        assert type(model.n_iter_) is int

    def test_fit_predict_and_fit_transform(self, blobs):
        model = KMeans(7, init=blobs[:7])
        for rows in (blobs, da.from_array(blobs, chunks=(50, 5))):
            labels, distances = model.fit_predict(rows), model.fit_transform(rows)
            assert isinstance(labels, type(rows))
            assert isinstance(distances, type(rows))
            np.testing.assert_array_equal(labels, model.predict(blobs))
            np.testing.assert_array_equal(distances, model.transform(blobs))

    def test_labels_are_those_of_the_centers(self, scheduler, blobs):
        model = KMeans(7, random_state=0).fit(da.from_array(blobs, chunks=(50, 2)))
        np.testing.assert_array_equal(
            model.labels_.compute(), reference.labels(blobs, model.cluster_centers_)
        )


class TestPasses:
    """How often the rows are read."""

    def test_fit_reads_each_block_once_a_pass(self, counted, blobs):
        rows, lazy = counted
        with counted_passes() as passes:
            model = KMeans(7, init=blobs[:7], persist=False).fit(lazy)
        assert passes == {"kmeans-survey": 1, "kmeans-assign": model.n_iter_, "kmeans-cost": 1}
        assert passes.iterations == model.n_iter_
        assert passes.n_blocks == {7}
        assert len(rows.reads) == 7 * passes.total()
        assert sorted(set(rows.reads)) == [(i, min(i + 50, 307)) for i in range(0, 307, 50)]

    def test_seeding_from_the_sample_needs_no_pass(self, counted):
        _, lazy = counted
        for init in ("k-means++", "random"):
            with counted_passes() as passes:
                model = KMeans(7, init=init, n_init=1, random_state=0).fit(lazy)
            assert passes == {
                "kmeans-survey": 1,
                "kmeans-assign": model.n_iter_,
                "kmeans-cost": 1,
            }

    def test_a_round_of_parallel_seeding_is_a_pass(self, counted):
        rows, lazy = counted
        model = KMeans(
            7, init="k-means||", init_rounds=3, max_iter=2, persist=False, random_state=0
        )
        model.fit(lazy)
        # A survey, three rounds, one pass that weighs the candidates, two iterations, the cost.
        assert len(rows.reads) == 7 * (1 + 3 + 1 + 2 + 1)

    def test_restarts_share_every_pass(self, counted):
        rows, lazy = counted
        model = KMeans(
            7, init="random", n_init=5, max_iter=4, tol=0, persist=False, random_state=0
        ).fit(lazy)
        assert model.n_iter_ <= 4
        assert len(rows.reads) <= 7 * (1 + 4 + 1)

    def test_relocation_takes_a_pass_more(self, counted, blobs):
        init = blobs[:7].copy()
        init[2] = 1e3
        _, lazy = counted
        with counted_passes() as passes:
            KMeans(7, init=init).fit(lazy)
        assert passes["kmeans-farthest"] == 1

    def test_unknown_sizes_are_counted_by_the_survey(self, counted, blobs):
        rows, lazy = counted
        unknown = lazy.map_blocks(np.array, chunks=((np.nan,) * 7, (5,)), dtype=lazy.dtype)
        with counted_passes() as passes:
            model = KMeans(7, init=blobs[:7], persist=False).fit(unknown)
        assert passes == {"kmeans-survey": 1, "kmeans-assign": model.n_iter_, "kmeans-cost": 1}
        assert len(rows.reads) == 7 * passes.total()

    def test_score_is_one_pass(self, counted, blobs):
        rows, lazy = counted
        model = KMeans(7, init=blobs[:7]).fit(blobs)
        model.score(lazy)
        assert len(rows.reads) == 7


class TestNames:
    """Feature names and output names."""

    def test_names_of_a_frame_are_kept(self, blobs):
        frame = pd.DataFrame(blobs, columns=list("abcde"))
        for rows in (frame, dd.from_pandas(frame, npartitions=3)):
            model = KMeans(7, init=blobs[:7]).fit(rows)
            assert model.feature_names_in_.tolist() == list("abcde")
            np.testing.assert_array_equal(model.predict(rows), model.predict(frame))

    @pytest.mark.parametrize("lazily", [False, True])
    def test_names_in_another_order_are_refused(self, blobs, lazily):
        frame = pd.DataFrame(blobs, columns=list("abcde"))
        model = KMeans(7, init=blobs[:7]).fit(frame)
        swapped = frame[list("abced")]
        swapped = dd.from_pandas(swapped, npartitions=3) if lazily else swapped
        message = "The feature names should match those that were passed during fit"
        for use in (model.predict, model.transform, model.score):
            with pytest.raises(ValueError, match=message):
                use(swapped)

    @pytest.mark.parametrize("lazily", [False, True])
    def test_numbered_columns_are_no_names(self, blobs, lazily):
        frame = pd.DataFrame(blobs)
        model = KMeans(7, init=blobs[:7])
        model.fit(dd.from_pandas(frame, npartitions=3) if lazily else frame)
        assert not hasattr(model, "feature_names_in_")
        model.predict(frame)

    def test_names_are_forgotten_by_the_next_fit(self, blobs):
        model = KMeans(7, init=blobs[:7]).fit(pd.DataFrame(blobs, columns=list("abcde")))
        model.fit(da.from_array(blobs, chunks=(50, 5)))
        assert not hasattr(model, "feature_names_in_")

    def test_names_of_the_output(self, blobs):
        model = KMeans(7, init=blobs[:7]).fit(blobs)
        assert model.get_feature_names_out().tolist() == [f"kmeans{i}" for i in range(7)]

    def test_output_as_a_frame(self, blobs):
        model = KMeans(7, init=blobs[:7]).set_output(transform="pandas")
        frame = model.fit_transform(pd.DataFrame(blobs, columns=list("abcde"), index=range(5, 312)))
        assert frame.columns.tolist() == [f"kmeans{i}" for i in range(7)]
        assert frame.index.tolist() == list(range(5, 312))


class TestCopies:
    """clone, deepcopy and pickle."""

    def test_clone_keeps_parameters(self):
        model = KMeans(7, init="k-means||", oversampling_factor=3.0, init_rounds=2, tol=0.0)
        assert clone(model).get_params() == model.get_params()

    def test_pickle_of_a_fit_in_memory_keeps_everything(self, blobs):
        model = KMeans(7, init=blobs[:7]).fit(blobs)
        loaded = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(loaded.labels_, model.labels_)
        np.testing.assert_array_equal(loaded.predict(blobs), model.labels_)
        assert loaded.inertia_ == model.inertia_

    def test_pickle_leaves_lazy_labels_out(self, blobs):
        rows = da.from_array(np.tile(blobs, (100, 1)), chunks=(5000, 5))
        model = KMeans(7, init=blobs[:7]).fit(rows)
        data = pickle.dumps(model)
        assert len(data) < 20_000
        loaded = pickle.loads(data)
        assert not hasattr(loaded, "labels_")
        assert (loaded.cluster_centers_ == model.cluster_centers_).all()
        np.testing.assert_array_equal(loaded.predict(rows), model.labels_)

    def test_copy_predicts_alike(self, blobs):
        model = KMeans(7, init=blobs[:7]).fit(blobs)
        np.testing.assert_array_equal(copy.deepcopy(model).predict(blobs), model.labels_)

    def test_rows_and_initial_centers_are_left_alone(self, blobs):
        rows, init = blobs.copy(), blobs[:7].copy()
        KMeans(7, init=init).fit(rows).transform(rows)
        np.testing.assert_array_equal(rows, blobs)
        np.testing.assert_array_equal(init, blobs[:7])


class TestInitialCenters:
    """Where a fit may start."""

    @pytest.mark.parametrize(
        "kind", [np.asarray, np.ndarray.tolist, lambda a: da.from_array(a, chunks=2), pd.DataFrame]
    )
    def test_any_array_like(self, blobs, kind):
        expected = KMeans(7, init=blobs[:7]).fit(blobs)
        model = KMeans(7, init=kind(blobs[:7])).fit(blobs)
        assert (model.cluster_centers_ == expected.cluster_centers_).all()

    @pytest.mark.parametrize("lazily", [False, True])
    def test_function(self, blobs, lazily):
        calls = []

        def first_rows(X, n_clusters, random_state):
            calls.append((type(X), isinstance(random_state, np.random.RandomState)))
            return X[:n_clusters]

        rows = da.from_array(blobs, chunks=(50, 5)) if lazily else blobs
        model = KMeans(7, init=first_rows, n_init=2).fit(rows)
        expected = KMeans(7, init=blobs[:7]).fit(blobs)
        assert (model.cluster_centers_ == expected.cluster_centers_).all()
        assert calls == [(type(rows), True)] * 2

    def test_automatic_number_of_restarts(self, blobs):
        """Like scikit-learn: 10 for random rows and functions, else 1."""
        state = np.random.RandomState(0)
        functions = []
        KMeans(7, init=lambda X, k, random_state: functions.append(0) or X[:k]).fit(blobs)
        assert len(functions) == 10
        many = KMeans(7, init="random", max_iter=1, random_state=0).fit(blobs)
        one = KMeans(7, init="random", max_iter=1, n_init=1, random_state=state).fit(blobs)
        assert many.inertia_ < one.inertia_

    @pytest.mark.parametrize("lazily", [False, True])
    def test_seeds_are_rows(self, blobs, lazily):
        rows = da.from_array(blobs, chunks=(50, 5)) if lazily else blobs
        centers, indices = kmeans_plusplus(rows, 7, random_state=0)
        np.testing.assert_array_equal(centers, blobs[indices])
        assert len(set(indices)) == 7

    def test_seeds_of_parallel_seeding_are_as_many_as_asked(self, blobs):
        assert kmeans_parallel(blobs, 100, random_state=0).shape == (100, 5)

    def test_function_equals_estimator(self, blobs):
        rows = da.from_array(blobs, chunks=(50, 5))
        centers, labels, inertia = k_means(rows, 7, random_state=0)
        model = KMeans(7, random_state=0).fit(rows)
        assert (centers == model.cluster_centers_).all()
        np.testing.assert_array_equal(labels, model.labels_)
        assert inertia == model.inertia_


def test_metadata_routing(blobs):
    with sklearn.config_context(enable_metadata_routing=True):
        weights = np.random.default_rng(0).uniform(0, 2, len(blobs))
        model = KMeans(7, init=blobs[:7]).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(FunctionTransformer(), model)
        pipeline.fit(blobs, sample_weight=weights)
    expected = KMeans(7, init=blobs[:7]).fit(blobs, sample_weight=weights)
    assert pipeline[-1].inertia_ == expected.inertia_


def test_verbose_prints_a_line_an_iteration(blobs, capsys):
    model = KMeans(7, init=blobs[:7], verbose=1).fit(blobs)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_ + 1
    assert lines[0].startswith("Iteration 1, inertia ")
    assert lines[-1] == f"Converged after {model.n_iter_} iterations: center shift zero."


def test_repr_and_diagram():
    assert repr(KMeans(3, init="k-means||")) == "KMeans(init='k-means||', n_clusters=3)"
    assert "KMeans" in KMeans(3)._repr_html_()
