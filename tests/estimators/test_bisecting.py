"""BisectingKMeans: scikit-learn's answers, splits in shared passes, trees that are walked down."""

from __future__ import annotations

import math
import pickle
import warnings

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import BisectingKMeans as ScikitLearns
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

import daskmeans
import daskmeans.algorithms.bisecting
import daskmeans.algorithms.survey
from daskmeans import BisectingKMeans, KMeans, metrics
from daskmeans.errors import ModelFormatError
from daskmeans.passes.events import PassStarted, observing
from tests import reference, strategies
from tests.conftest import SCHEDULERS
from tests.estimators.test_saving import change, members_of, npy, write_members

LOCAL = tuple(name for name in SCHEDULERS if name not in ("processes", "cluster"))
STRATEGIES = ("biggest_inertia", "largest_cluster")


def ends(rows, n_clusters, random_state):
    """The first and the last row by their values: initial centers that no seed decides."""
    order = np.lexsort(np.asarray(rows).T[::-1])
    return rows[order[[0, -1]]]


@pytest.fixture
def rows():
    """Rows (600, 3) around eight points."""
    generator = np.random.default_rng(5)
    middles = generator.uniform(-9, 9, (8, 3))
    return middles[generator.integers(8, size=600)] + generator.normal(size=(600, 3))


class TestScikitLearn:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("n_clusters", [1, 2, 7, 40])
    def test_same_tree_from_the_same_initial_centers(self, rows, strategy, weighted, n_clusters):
        weights = np.random.default_rng(0).uniform(0.1, 3, 600) if weighted else None
        options = {"init": ends, "tol": 0, "bisecting_strategy": strategy}
        ours = BisectingKMeans(n_clusters, **options).fit(rows, sample_weight=weights)
        theirs = ScikitLearns(n_clusters, **options).fit(rows, sample_weight=weights)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        wanted = theirs.cluster_centers_
        if n_clusters == 1:
            # scikit-learn leaves out the weights there.
            wanted = np.average(rows, axis=0, weights=weights)[None]
        np.testing.assert_allclose(ours.cluster_centers_, wanted, atol=1e-12)
        if n_clusters > 1:
            assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-12)
        new = np.random.default_rng(1).uniform(-12, 12, (200, 3))
        np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
        if n_clusters > 1:
            np.testing.assert_allclose(ours.transform(new), theirs.transform(new), rtol=1e-10)

    @pytest.mark.parametrize(
        ("init", "strategy"), [("random", "biggest_inertia"), ("k-means++", "largest_cluster")]
    )
    def test_same_quality_over_seeds(self, init, strategy):
        rows = np.random.default_rng(0).normal(size=(1000, 6))
        options = {"init": init, "bisecting_strategy": strategy}
        # Threads that wait for each other are most of its time where others are at work.
        with threadpool_limits(1):
            ours, theirs = (
                np.median(
                    [kind(16, random_state=s, **options).fit(rows).inertia_ for s in range(15)]
                )
                for kind in (BisectingKMeans, ScikitLearns)
            )
        assert ours < 1.01 * theirs

    def test_default_tolerance_ends_no_split_early(self):
        """Two centers among many groups creep for long, in whatever unit features are."""
        rows = make_blobs(8000, 4, centers=12, random_state=2)[0]
        for seed in range(8):
            for unit in (1e-3, 1e3):
                ended, whole = (
                    BisectingKMeans(12, random_state=seed, **options).fit(unit * rows).inertia_
                    for options in ({}, {"tol": 0})
                )
                assert ended < 1.001 * whole


class TestPasses:
    def test_splits_at_once_are_those_of_one_after_the_other(self, rows, monkeypatch):
        def only_missing(root, rules, missing):
            return [missing]

        options = {"n_clusters": 25, "random_state": 3, "n_init": 2}
        for strategy in STRATEGIES:
            shared = BisectingKMeans(bisecting_strategy=strategy, **options).fit(rows)
            with monkeypatch.context() as patch:
                patch.setattr(daskmeans.algorithms.bisecting, "_wanted", only_missing)
                alone = BisectingKMeans(bisecting_strategy=strategy, **options).fit(rows)
            assert shared.cluster_centers_.tobytes() == alone.cluster_centers_.tobytes()
            np.testing.assert_array_equal(shared.labels_, alone.labels_)
            assert shared.n_passes_ < alone.n_passes_ / 2

    @pytest.mark.parametrize("n_init", [1, 3])
    def test_there_are_as_many_as_the_tree_is_deep(self, n_init):
        """Of 64 clusters of as many rows each the tree has six levels, and one more is tried."""
        rows = np.random.default_rng(0).uniform(size=(4000, 2))
        model = BisectingKMeans(64, max_iter=5, n_init=n_init, random_state=0).fit(rows)
        depth = _depth(model._tree.children)
        assert depth <= 9
        # Each level: five iterations, and the sums by the last centers.
        assert model.n_passes_ <= 1 + 6 * (depth + 1) + 1 < 63 * 5 / 4

    def test_lazy_rows_are_read_once_a_pass(self, rows):
        passes = []

        def see(event):
            if isinstance(event, PassStarted):
                passes.append(event.name)

        with observing(see):
            model = BisectingKMeans(8, random_state=0, persist=False)
            model.fit(da.from_array(rows, chunks=100))
        assert len(passes) == model.n_passes_
        assert model.bytes_read_ == 0  # chunks of an array are in memory
        assert passes[0] == "kmeans-survey"
        assert passes[-1] == "kmeans-cost"
        assert set(passes[1:-1]) == {"kmeans-bisect"}

    def test_rows_are_drawn_in_a_pass_where_the_sample_has_few(self, rows, monkeypatch):
        monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_MIN_ROWS", 100)
        monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_ROWS_A_CLUSTER", 1)
        names = []
        with observing(lambda event: names.append(getattr(event, "name", None))):
            model = BisectingKMeans(12, random_state=0).fit(rows)
        assert "kmeans-draw" in names
        whole = np.median([ScikitLearns(12, random_state=s).fit(rows).inertia_ for s in range(5)])
        assert model.inertia_ < 1.3 * whole


def _depth(children):
    depths = np.zeros(len(children), int)
    for node, pair in enumerate(children):
        if pair[0] >= 0:
            depths[pair] = depths[node] + 1
    return depths.max()


def answer(model):
    return model.cluster_centers_, np.asarray(model.labels_), model.inertia_


def assert_one_answer(case, run_under, schedulers, **options):
    def fitted(rows, weights):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = BisectingKMeans(case.n_clusters, random_state=5, **options)
            return answer(model.fit(rows, sample_weight=weights))

    with run_under("sync"):
        wanted = fitted(case.rows, case.weights)
    for chunks, name in zip(case.chunkings, schedulers, strict=True):
        weights = case.weights
        if weights is not None:
            weights = da.from_array(weights, chunks=(case.chunkings[0][0],))
        with run_under(name):
            found = fitted(da.from_array(case.rows, chunks=chunks), weights)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)


class TestOneAnswer:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    @given(
        case=strategies.rows_weights_and_two_chunkings(),
        schedulers=st.tuples(st.sampled_from(LOCAL), st.sampled_from(LOCAL)),
        init=st.sampled_from(["random", "k-means++"]),
    )
    def test_in_any_chunking(self, run_under, case, schedulers, strategy, init):
        assert_one_answer(case, run_under, schedulers, bisecting_strategy=strategy, init=init)

    @given(case=strategies.rows_weights_and_two_chunkings(min_rows=30, max_rows=80))
    def test_from_a_sample(self, monkeypatch, run_under, case):
        monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_MIN_ROWS", 10)
        monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_ROWS_A_CLUSTER", 1)
        assert_one_answer(case, run_under, ("sync", "threads-3"), n_init=2)

    @settings(max_examples=2)
    @given(case=strategies.rows_weights_and_two_chunkings(min_rows=20))
    def test_by_processes_and_on_a_cluster(self, run_under, case):
        assert_one_answer(case, run_under, ("processes", "cluster"))

    def test_from_a_store(self, rows, tmp_path):
        path = str(tmp_path / "rows")
        store = zarr.create_array(path, shape=rows.shape, chunks=(70, 2), dtype="f8")
        store[:] = rows
        found = BisectingKMeans(8, random_state=0).fit(store)
        assert isinstance(found.labels_, da.Array)
        wanted = BisectingKMeans(8, random_state=0).fit(rows)
        for a, b in zip(answer(found), answer(wanted), strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("dtype", [np.float32, np.uint8, ">f4"])
    def test_same_numbers_in_another_dtype(self, rows, dtype):
        small = np.abs(10 * rows).astype(np.uint8)
        options = {"init": ends, "random_state": 0}
        one = BisectingKMeans(8, **options).fit(small.astype(np.float64))
        other = BisectingKMeans(8, **options).fit(small.astype(dtype))
        for a, b in zip(answer(one), answer(other), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_order_of_few_rows_does_not_matter(self, rows):
        order = np.random.default_rng(0).permutation(600)
        one = BisectingKMeans(8, random_state=0).fit(rows)
        other = BisectingKMeans(8, random_state=0).fit(rows[order])
        np.testing.assert_array_equal(one.labels_[order], other.labels_)

    def test_weight_two_equals_row_twice(self, rows):
        counts = np.random.default_rng(0).integers(0, 4, 600)
        weighted = BisectingKMeans(8, random_state=0, tol=0).fit(rows, sample_weight=counts)
        repeated = BisectingKMeans(8, random_state=0, tol=0).fit(np.repeat(rows, counts, axis=0))
        np.testing.assert_array_equal(np.repeat(weighted.labels_, counts), repeated.labels_)
        assert weighted.inertia_ == pytest.approx(repeated.inertia_, rel=1e-12)


class TestEnds:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("chunks", [None, 3])
    def test_fewer_rows_than_clusters_repeat_a_center(self, strategy, chunks):
        """As in scikit-learn, which does not tell of it."""
        X = np.repeat([[0.0, 0.0], [1.0, 1.0], [1.0, 5.0]], [1, 6, 2], axis=0)
        theirs = ScikitLearns(5, random_state=0, bisecting_strategy=strategy).fit(X)
        X = X if chunks is None else da.from_array(X, chunks=chunks)
        model = BisectingKMeans(5, random_state=0, bisecting_strategy=strategy)
        words = r"distinct clusters \(3\) found smaller"
        with pytest.warns(ConvergenceWarning, match=words) as told:
            model.fit(X)
        assert told[0].filename == __file__
        assert model.cluster_centers_.shape == theirs.cluster_centers_.shape == (5, 2)
        labels = np.asarray(model.labels_)
        np.testing.assert_array_equal(np.asarray(model.predict(X)), labels)
        assert len(np.unique(labels)) == 3
        assert model.inertia_ == 0
        assert len(np.unique(theirs.labels_)) == 3

    def test_equal_rows_are_not_taken_for_a_large_cluster(self):
        """scikit-learn goes on to split the ten zeros, and leaves different rows together."""
        X = np.array([0.0] * 10 + [5.0, 6.0])[:, None]
        options = {"random_state": 0, "bisecting_strategy": "largest_cluster"}
        assert BisectingKMeans(3, **options).fit(X).inertia_ == 0
        assert ScikitLearns(3, **options).fit(X).inertia_ > 0

    def test_equal_rows(self):
        with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(1\)"):
            model = BisectingKMeans(3).fit(np.full((5, 2), 7.25))
        np.testing.assert_array_equal(model.cluster_centers_, np.full((3, 2), 7.25))
        np.testing.assert_array_equal(model.labels_, np.zeros(5))

    def test_rows_without_weight_are_not_split(self):
        X, weights = [[0.0], [0.0], [1.0], [9.0]], [1, 1, 0, 1]
        with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\)"):
            model = BisectingKMeans(3, random_state=0).fit(X, sample_weight=weights)
        assert set(model.cluster_centers_.ravel()) == {0.0, 9.0}
        assert model.labels_[2] == model.labels_[0]

    def test_one_cluster(self, rows):
        for X in (rows, da.from_array(rows, chunks=100)):
            model = BisectingKMeans(1).fit(X)
            np.testing.assert_allclose(model.cluster_centers_, [rows.mean(axis=0)], atol=1e-12)
            assert not np.asarray(model.labels_).any()
            assert model.inertia_ == pytest.approx(((rows - rows.mean(axis=0)) ** 2).sum())

    def test_as_many_clusters_as_rows(self):
        rows = np.random.default_rng(0).normal(size=(23, 2))
        model = BisectingKMeans(23, random_state=0).fit(rows)
        assert model.inertia_ < 1e-25
        np.testing.assert_allclose(model.cluster_centers_[model.labels_], rows, atol=1e-13)

    @pytest.mark.parametrize(("size", "least"), [(100, 100), (99.5, 100), (0.25, 150), (1, 1)])
    def test_clusters_with_fewer_rows_are_not_split(self, rows, size, least):
        """Spark: a number of rows from 1 on, below it a share; each rounded up."""
        model = BisectingKMeans(30, random_state=0, min_divisible_cluster_size=size)
        if least == 1:
            assert len(model.fit(rows).cluster_centers_) == 30
            return
        words = f"min_divisible_cluster_size, which is {least} rows"
        with pytest.warns(ConvergenceWarning, match=words):
            model.fit(rows)
        sizes = np.bincount(model.labels_)
        assert 1 < len(sizes) == len(model.cluster_centers_) < 30
        assert sizes.max() < least
        # Leaves that share a parent were worth a split together.
        tree = model._tree
        n_rows = np.zeros(len(tree.nodes))
        n_rows[tree.leaves()] = sizes
        for node in range(len(tree.nodes) - 1, -1, -1):
            if tree.children[node, 0] >= 0:
                n_rows[node] = n_rows[tree.children[node]].sum()
                assert n_rows[node] >= least

    def test_equal_initial_centers(self, rows):
        """One of them has no rows, and takes the farthest one."""
        model = BisectingKMeans(4, init=lambda X, k, random_state: X[[0, 0]]).fit(rows)
        assert len(np.unique(model.labels_)) == 4

    def test_initial_centers_of_another_shape(self, rows):
        with pytest.raises(ValueError, match=r"initial centers \(3, 3\) does not match"):
            BisectingKMeans(4, init=lambda X, k, random_state: X[:3]).fit(rows)

    @pytest.mark.parametrize(
        ("name", "value"), [("min_divisible_cluster_size", 0), ("init", "k-means||"), ("tol", -1)]
    )
    def test_parameters_are_checked(self, rows, name, value):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of BisectingKMeans"):
            BisectingKMeans(**{name: value}).fit(rows)

    def test_bad_rows(self, rows):
        rows[413, 1] = np.nan
        with pytest.raises(ValueError, match=r"NaN: block 4, row 413 .*column 1"):
            BisectingKMeans(4).fit(da.from_array(rows, chunks=100))
        model = BisectingKMeans(4, random_state=0).fit(rows[:400])
        with pytest.raises(ValueError, match="Input X contains NaN"):
            model.predict(rows)


class TestModel:
    def test_rows_go_down_the_tree(self, rows):
        model = BisectingKMeans(8, random_state=0).fit(rows)
        new = np.random.default_rng(0).uniform(-12, 12, (500, 3))
        nearest = reference.labels(new, model.cluster_centers_)
        assert not np.array_equal(model.predict(new), nearest)
        lazy = model.predict(da.from_array(new, chunks=(99, 2)))
        np.testing.assert_array_equal(lazy.compute(scheduler="processes"), model.predict(new))
        np.testing.assert_array_equal(model.predict(rows), model.labels_)
        cost = ((rows - model.cluster_centers_[model.labels_]) ** 2).sum()
        assert model.inertia_ == pytest.approx(cost, rel=1e-12)
        assert model.score(rows) == -model.inertia_
        assert model.fit_predict(rows).tolist() == model.labels_.tolist()
        assert model.get_feature_names_out()[0] == "bisectingkmeans0"

    def test_metrics_are_of_its_labels(self, rows):
        model = BisectingKMeans(8, random_state=0).fit(rows)
        found = metrics.evaluate(model, rows, ["inertia", "sizes", "davies_bouldin"])
        assert found["inertia"] == model.inertia_
        np.testing.assert_array_equal(found["sizes"], np.bincount(model.labels_))
        both = metrics.evaluate([model, KMeans(8, random_state=0).fit(rows)], rows, ["inertia"])
        assert both["inertia"][0] == model.inertia_

    def test_names_and_pickles(self, rows):
        frame = pd.DataFrame(rows, columns=["a", "b", "c"])
        model = BisectingKMeans(4, random_state=0).fit(frame)
        copied = pickle.loads(pickle.dumps(model))
        assert list(copied.feature_names_in_) == ["a", "b", "c"]
        np.testing.assert_array_equal(copied.predict(frame), model.labels_)

    def test_verbose(self, rows, capsys):
        BisectingKMeans(3, random_state=0, verbose=1).fit(rows)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("Iteration 1, inertia ")
        assert not any("nan" in line for line in lines)

    def test_cosine(self, rows):
        """The tree of the rows divided by their lengths, with centers of length 1."""
        model = BisectingKMeans(6, init=ends, metric="cosine", tol=0).fit(rows)
        np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1)
        units = reference.directions(rows)
        wanted = (1 - (units * model.cluster_centers_[model.labels_]).sum(axis=1)).sum()
        assert model.inertia_ == pytest.approx(wanted, rel=1e-12)
        halves = BisectingKMeans(2, init=ends, metric="cosine", tol=0).fit(rows)
        two, _ = reference.spherical_lloyd(units, ends(units, 2, None), tol=0)
        np.testing.assert_array_equal(halves.labels_, two.labels)
        np.testing.assert_allclose(halves.cluster_centers_, two.centers, atol=1e-12)
        lazy = BisectingKMeans(6, init=ends, metric="cosine", tol=0)
        lazy.fit(da.from_array(rows, chunks=100))
        assert lazy.cluster_centers_.tobytes() == model.cluster_centers_.tobytes()
        alone = BisectingKMeans(1, metric="cosine").fit(rows)
        mean = units.mean(axis=0)
        np.testing.assert_allclose(alone.cluster_centers_, [mean / math.hypot(*mean)], atol=1e-12)

    @pytest.mark.parametrize("name", ["resume", "converged_", "to_sklearn", "from_sklearn"])
    def test_has_nothing_of_kmeans_that_a_tree_does_not_know(self, rows, name):
        model = BisectingKMeans(2, random_state=0).fit(rows)
        assert hasattr(KMeans, name)
        assert not hasattr(model, name)
        assert not isinstance(model, KMeans)

    def test_plots(self, rows):
        pytest.importorskip("matplotlib").use("agg")
        model = BisectingKMeans(4, random_state=0).fit(rows)
        assert "4 centers" in model.plot(rows).get_title()
        assert model.plot().get_title()


class TestFiles:
    @pytest.fixture
    def saved(self, rows, tmp_path):
        BisectingKMeans(8, random_state=0).fit(rows).save(tmp_path / "model")
        return tmp_path / "model"

    def test_loaded_model_is_the_same(self, rows, saved):
        model, loaded = BisectingKMeans(8, random_state=0).fit(rows), daskmeans.load(saved)
        assert type(loaded) is BisectingKMeans
        np.testing.assert_array_equal(loaded.cluster_centers_, model.cluster_centers_)
        np.testing.assert_array_equal(loaded.predict(rows), model.labels_)
        assert (loaded.inertia_, loaded.n_passes_) == (model.inertia_, model.n_passes_)
        np.testing.assert_array_equal(loaded.cluster_sizes_, model.cluster_sizes_, strict=True)

    @pytest.mark.parametrize(
        ("edit", "words"),
        [
            (lambda tree: tree.__setitem__((0, 0), 0), "do not make a binary tree"),
            (lambda tree: tree.__setitem__((0, 0), tree[0, 1]), "do not make a binary tree"),
            (lambda tree: tree.__setitem__((0, 1), 99), "do not make a binary tree"),
            (lambda tree: tree.__setitem__((-1, 1), 5), "do not make a binary tree"),
            (lambda tree: tree.__setitem__((-1, 1), -2), "do not make a binary tree"),
            (lambda tree: tree.astype(np.int64), "children of shape"),
            (lambda tree: tree[:-1].copy(), "children of shape"),
        ],
    )
    def test_another_tree(self, saved, rows, edit, words):
        members = members_of(saved)
        children = BisectingKMeans(8, random_state=0).fit(rows)._tree.children.copy()
        changed = edit(children)
        changed = children if changed is None else changed
        write_members(saved, {**members, "children.npy": npy(changed)})
        with pytest.raises(ModelFormatError, match=words):
            daskmeans.load(saved)

    def test_other_sizes(self, saved):
        members = members_of(saved)
        write_members(saved, {**members, "cluster_sizes_.npy": npy(np.ones(7, np.int64))})
        with pytest.raises(ModelFormatError, match="one number of rows a cluster"):
            daskmeans.load(saved)

    def test_more_leaves_than_clusters(self, saved):
        change(saved, lambda described: described["parameters"].update(n_clusters=7))
        with pytest.raises(ModelFormatError, match="8 leaves for n_clusters=7"):
            daskmeans.load(saved)
