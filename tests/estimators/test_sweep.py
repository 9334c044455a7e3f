"""Many numbers of clusters in the passes of one: each model as if fitted alone."""

from __future__ import annotations

import contextlib
import sys
import warnings

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

import daskmeans.algorithms.lloyd
import daskmeans.algorithms.survey
from daskmeans import KMeans, sweep
from daskmeans.algorithms.lloyd import LloydParameters
from daskmeans.errors import RowsError
from daskmeans.metrics import evaluate
from tests import strategies
from tests.counting import CountedRows, counted_passes
from tests.estimators.test_one_answer import answer, assert_equal_to_the_bit


@pytest.fixture(scope="module")
def rows():
    """Blobs around the corners of a cube, (3001, 5)."""
    generator = np.random.default_rng(4)
    middles = np.zeros((8, 5))
    middles[:, :3] = 8 * np.array(list(np.ndindex(2, 2, 2)))
    return middles[generator.integers(8, size=3001)] + 1.5 * generator.normal(size=(3001, 5))


@pytest.fixture
def small_samples(monkeypatch):
    """Samples of fewer rows than there are, of different sizes for different numbers."""
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_MIN_ROWS", 200)
    monkeypatch.setattr(daskmeans.algorithms.survey, "SAMPLE_ROWS_A_CLUSTER", 50)


def assert_each_as_if_alone(rows, found, weights=None, **options):
    for k, model in found.models.items():
        alone = KMeans(k, **options).fit(rows, sample_weight=weights)
        assert_equal_to_the_bit(answer(model), answer(alone))


class TestEachModel:
    @pytest.mark.parametrize("init", ["k-means++", "random", "refined"])
    def test_is_that_of_a_fit_alone(self, rows, init):
        options = {"init": init, "n_init": 2, "rtol": 1e-4, "random_state": 7}
        found = sweep(rows, range(2, 10, 3), drop_restarts=init == "refined", **options)
        assert list(found.models) == [2, 5, 8]
        assert_each_as_if_alone(rows, found, **options)

    @pytest.mark.parametrize("init", ["k-means++", "refined"])
    def test_is_that_of_a_fit_alone_from_samples(self, rows, init, small_samples):
        options = {"init": init, "n_init": 3, "rtol": 0.0, "random_state": 1}
        weights = np.random.default_rng(0).uniform(0, 2, len(rows))
        found = sweep(
            rows, [9, 3, 6], sample_weight=weights, drop_restarts=init == "refined", **options
        )
        assert_each_as_if_alone(rows, found, weights, **options)

    def test_auto_decides_for_each_number(self, rows, small_samples):
        """3001 rows are more than four samples of 200, and less than four of 1,000."""
        found = sweep(rows, [2, 20], n_init=1, random_state=0)
        assert_each_as_if_alone(rows, found, n_init=1, rtol=3e-4, random_state=0)

    def test_bounds_change_nothing(self, rows):
        """60 clusters of 5 features are worth bounds, 4 are not."""
        options = {"n_init": 1, "tol": 0, "rtol": 0, "random_state": 0}
        found = sweep(rows, [4, 60], **options)
        plain = sweep(rows, [4, 60], algorithm="lloyd", **options)
        for k in (4, 60):
            assert_equal_to_the_bit(answer(found.models[k]), answer(plain.models[k]))
        shares = [min(r.distances_computed for r in m.history_) for m in found.models.values()]
        assert shares[0] == 1 > shares[1]

    def test_is_a_fitted_estimator(self, rows):
        frame = pd.DataFrame(rows, columns=list("abcde"))
        model = sweep(frame, [2, 3], n_init=1, random_state=0).models[3]
        assert model.n_features_in_ == 5
        assert model.feature_names_in_.tolist() == list("abcde")
        np.testing.assert_array_equal(model.predict(frame), model.labels_)
        assert model.transform(frame).shape == (3001, 3)
        assert -model.score(frame) == pytest.approx(model.inertia_, rel=1e-12)
        again = KMeans(**model.get_params()).fit(frame)
        assert_equal_to_the_bit(answer(model), answer(again))

    def test_labels_are_lazy_for_lazy_rows(self, rows):
        lazy = da.from_array(rows, chunks=(500, 5))
        model = sweep(lazy, [2, 3], n_init=1, random_state=0).models[3]
        assert isinstance(model.labels_, da.Array)
        np.testing.assert_array_equal(model.labels_.compute(), model.predict(rows))

    def test_random_state_that_is_no_number(self, rows):
        drawn = [
            sweep(rows, [3], n_init=1, random_state=np.random.RandomState(5)) for _ in range(2)
        ]
        assert_equal_to_the_bit(*(answer(found.models[3]) for found in drawn))
        assert isinstance(drawn[0].models[3].random_state, int)


class TestMetrics:
    def test_are_those_of_the_models(self, rows):
        names = ["davies_bouldin", "inertia", "silhouette", "simplified_silhouette"]
        with counted_passes() as passes:
            found = sweep(rows, range(1, 11), metrics=names, n_init=2, random_state=0)
        assert sum(n for name, n in passes.items() if name.startswith("kmeans-metric")) == 2
        assert list(found.scores) == names
        wanted = evaluate(found.models, rows, names)
        for name in set(names) - {"silhouette"}:
            np.testing.assert_array_equal(found.scores[name], wanted[name])
        # Of another sample.
        np.testing.assert_allclose(found.scores["silhouette"], wanted["silhouette"], rtol=0.05)
        assert list(found.table.columns[1:5]) == names

    def test_best_number_by_each(self, rows):
        names = ["davies_bouldin", "calinski_harabasz", "simplified_silhouette", "inertia"]
        found = sweep(rows, range(2, 12), metrics=names, random_state=0)
        assert found.best == dict.fromkeys(names, 8)
        one = sweep(rows, [1], metrics=names, random_state=0)
        assert one.best == dict.fromkeys(names, None)

    def test_refuse_weights_before_the_work(self, rows):
        with counted_passes() as passes, pytest.raises(ValueError, match="takes no sample_weight"):
            sweep(rows, [2], metrics=["silhouette"], sample_weight=np.ones(len(rows)))
        assert not passes


class TestPasses:
    def sweep_counted(self, rows, counts, **options):
        source = CountedRows(rows)
        lazy = da.from_array(source, chunks=(500, 5), name=False)
        with counted_passes() as passes:
            found = sweep(lazy, counts, persist=False, random_state=0, **options)
        return found, passes, len(source.reads) / 7

    def test_a_read_serves_every_model(self, rows):
        counts = range(2, 10)
        found, passes, n_reads = self.sweep_counted(
            rows, counts, init="refined", n_init=3, rtol=1e-2
        )
        assert passes["kmeans-survey"] == passes["kmeans-cost"] == 1
        assert passes["kmeans-assign"] == max(model.n_iter_ for model in found.models.values())
        assert found.n_passes == passes.total() == n_reads
        assert found.bytes_read == found.n_passes * rows.nbytes
        alone = [
            KMeans(k, init="refined", n_init=3, rtol=1e-2, random_state=0).fit(rows).n_passes_
            for k in counts
        ]
        # One after the other they would read so often together.
        assert found.n_passes == max(alone) < sum(alone) / 4

    def test_restarts_share_them_too(self, rows):
        found, passes, _ = self.sweep_counted(rows, [2, 6], init="random", n_init=5)
        assert found.n_passes == passes.total()
        assert passes["kmeans-survey"] == passes["kmeans-cost"] == 1

    def test_bound(self, rows):
        found, passes, _ = self.sweep_counted(
            rows, [2, 6], init="random", n_init=1, rtol=0, max_passes=4
        )
        assert found.n_passes == passes.total() == 4
        assert found.models[6].stop_reason_ == "max_passes"


class TestDroppedRestarts:
    def test_stop_early_and_are_never_chosen(self, rows, monkeypatch):
        """The race costs iterations of fewer sets of centers, and the winner is one that led."""
        running = {}

        def iterations(drop_restarts):
            with counted_assignments(monkeypatch) as counted:
                found = sweep(
                    rows,
                    [4, 7],
                    init="random",
                    n_init=8,
                    rtol=0,
                    tol=0,
                    drop_restarts=drop_restarts,
                    random_state=0,
                )
            running[drop_restarts] = counted
            return found

        raced, all_of_them = iterations(True), iterations(False)
        assert running[True][:3] == [16] * 3
        assert max(running[True][5:10]) <= 8
        assert max(running[True][10:15]) <= 4
        assert running[False][5] > 8
        for k in (4, 7):
            assert raced.models[k].stop_reason_ != "fell behind"
            # The best of all can have been behind after five iterations.
            assert raced.models[k].inertia_ >= all_of_them.models[k].inertia_


@contextlib.contextmanager
def counted_assignments(monkeypatch):
    """List how many sets of centers each iteration assigns the rows to."""
    counted = []

    def parameters(assignments, *rest):
        counted.append(len(assignments))
        return LloydParameters(assignments, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(daskmeans.algorithms.lloyd, "LloydParameters", parameters)
        yield counted


class TestOneAnswer:
    @given(
        case=strategies.rows_weights_and_two_chunkings(min_rows=8),
        init=st.sampled_from(["refined", "k-means++", "random"]),
        drop_restarts=st.booleans(),
    )
    def test_in_any_chunking(self, run_under, case, init, drop_restarts):
        answers = []
        for chunks, name in zip(
            (*case.chunkings, None), ("sync", "threads-3", "sync"), strict=True
        ):
            rows = case.rows if chunks is None else da.from_array(case.rows, chunks=chunks)
            answers.append(self.solve(run_under, name, rows, case.weights, init, drop_restarts))
        for other in answers[1:]:
            assert_equal_to_the_bit(answers[0], other)

    @settings(max_examples=2)
    @given(case=strategies.rows_weights_and_two_chunkings(min_rows=20))
    def test_on_processes_and_a_cluster(self, run_under, case):
        answers = [
            self.solve(
                run_under, name, da.from_array(case.rows, chunks=chunks), case.weights, "auto", True
            )
            for chunks, name in zip(case.chunkings, ("processes", "cluster"), strict=True)
        ]
        answers.append(self.solve(run_under, "sync", case.rows, case.weights, "auto", True))
        for other in answers[1:]:
            assert_equal_to_the_bit(answers[0], other)

    def solve(self, run_under, name, rows, weights, init, drop_restarts):
        with run_under(name), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                found = sweep(
                    rows,
                    [1, 3, 5],
                    sample_weight=weights,
                    init=init,
                    n_init=3,
                    drop_restarts=drop_restarts,
                    random_state=3,
                )
            except RowsError as error:
                # Rows drawn at random can all be equal.
                return [str(error)]
        return [value for model in found.models.values() for value in answer(model)[:6]]


class TestResult:
    @pytest.fixture(scope="class")
    @staticmethod
    def found(rows):
        return sweep(rows, range(2, 13), n_init=4, random_state=0)

    def test_table(self, found):
        table = found.table
        assert table.columns.tolist() == ["n_clusters", "inertia", "n_iter", "stop_reason"]
        assert table["n_clusters"].tolist() == list(found.n_clusters) == list(range(2, 13))
        assert table["inertia"].tolist() == [m.inertia_ for m in found.models.values()]

    def test_text(self, found):
        text = repr(found)
        assert text == str(found)
        assert text.startswith(f"SweepResult(n_clusters={found.n_clusters}, scores=['inertia'")
        assert len(text) < 200

    def test_table_without_pandas(self, found, monkeypatch):
        expected = found.table.to_dict("records")
        monkeypatch.setitem(sys.modules, "pandas", None)
        assert found.table == expected

    def test_elbow(self, found):
        assert found.elbow == 8


class TestBadInput:
    @pytest.mark.parametrize(
        ("counts", "error", "text"),
        [
            (5, TypeError, "range"),
            ("23", TypeError, "range"),
            ([2.0], TypeError, "2.0"),
            ([True], TypeError, "True"),
            ([], ValueError, "empty"),
            (range(5), ValueError, "at least 1, and 0 is less"),
            ([3, 2, 3], ValueError, "holds 3 more than once"),
        ],
    )
    def test_numbers_of_clusters(self, rows, counts, error, text):
        with pytest.raises(error, match=text):
            sweep(rows, counts)

    def test_more_clusters_than_rows(self):
        with counted_passes() as passes, pytest.raises(ValueError, match=r"up to 9.*X has 4 rows"):
            sweep(np.arange(8.0).reshape(4, 2), range(2, 10))
        assert not passes

    def test_more_clusters_than_rows_of_unknown_sizes(self):
        rows = da.from_array(np.arange(8.0), chunks=3)
        with pytest.raises(ValueError, match=r"n_samples=8 should be >= n_clusters=9"):
            sweep(rows[rows > -1][:, None], range(2, 10))

    @pytest.mark.parametrize("n_rows", [30, 30_000])
    def test_one_distinct_row(self, n_rows):
        with pytest.raises(ValueError, match="All rows of X are equal"):
            sweep(np.full((n_rows, 3), 0.1), range(2, 5))

    def test_fewer_distinct_rows_than_clusters(self):
        repeated = np.repeat(np.arange(3.0), 20)[:, None]
        with pytest.warns(ConvergenceWarning, match=r"\(3\) found smaller than n_clusters \(4\)"):
            found = sweep(repeated, [2, 3, 4], random_state=0)
        assert found.models[3].inertia_ == found.models[4].inertia_ == 0

    @pytest.mark.parametrize("init", ["k-means||", "k-means"])
    def test_init(self, rows, init):
        with pytest.raises(ValueError, match=f"init.*{init[:7]}"):
            sweep(rows, [2], init=init)

    def test_metric(self, rows):
        with pytest.raises(ValueError, match=r"metrics.*'entropy'"):
            sweep(rows, [2], metrics=["inertia", "entropy"])

    def test_other_parameters_are_those_of_kmeans(self, rows):
        with pytest.raises(ValueError, match="'n_init' parameter"):
            sweep(rows, [2], n_init=0)
        with pytest.raises(ValueError, match="NaN"):
            sweep([[1.0], [np.nan], [2.0]], [2])
