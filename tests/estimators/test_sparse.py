"""Sparse rows give the answer of dense ones, and no block of them becomes dense."""

from __future__ import annotations

import tracemalloc
import warnings
from itertools import pairwise

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
import sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as TheirKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from daskmeans import (
    BisectingKMeans,
    KMeans,
    MiniBatchKMeans,
    kmeans_parallel,
    kmeans_plusplus,
    metrics,
    stream,
    sweep,
)
from daskmeans.preprocessing import Preprocessor
from tests import strategies
from tests.conftest import SCHEDULERS

INITS = ("refined", "k-means++", "k-means||", "random", "array")


def lazily(matrix, row_chunks, make=sp.csr_array):
    """A dask array whose blocks are sparse, some of them perhaps without rows."""
    edges = np.cumsum([0, *row_chunks])
    blocks = [matrix[a:b] for a, b in pairwise(edges)]
    meta = make(sp.csr_array((0, 0), dtype=matrix.dtype))
    arrays = [
        da.from_delayed(dask.delayed(make(block)), block.shape, dtype=matrix.dtype, meta=meta)
        for block in blocks
    ]
    return da.concatenate(arrays)


@pytest.fixture(scope="module")
def text():
    """Hashed TF-IDF of the descriptions in scikit-learn's own modules, float64, unit rows."""
    import pkgutil

    words = []
    for module in pkgutil.iter_modules(sklearn.__path__):
        if module.name.startswith("_") or module.name in ("tests", "conftest"):
            continue
        package = __import__(f"sklearn.{module.name}", fromlist=["x"])
        words += [
            each.__doc__
            for each in vars(package).values()
            if callable(each) and isinstance(each.__doc__, str) and len(each.__doc__) > 300
        ]
    hashed = HashingVectorizer(n_features=2**12, alternate_sign=False, norm=None)
    return sp.csr_array(TfidfTransformer().fit_transform(hashed.transform(sorted(set(words)))))


def equal_fits(one, other, rtol=1e-12):
    """Same labels and iterations, centers and inertia but for their last digits."""
    np.testing.assert_array_equal(np.asarray(one.labels_), np.asarray(other.labels_))
    assert one.n_iter_ == other.n_iter_
    scale = np.abs(other.cluster_centers_).max()
    np.testing.assert_allclose(
        one.cluster_centers_, other.cluster_centers_, rtol=0, atol=rtol * scale
    )
    np.testing.assert_allclose(one.inertia_, other.inertia_, rtol=rtol)


class TestText:
    """Real rows: words of documents."""

    def test_is_sparse_enough_to_tell(self, text):
        assert text.shape[0] > 300
        assert 0.001 < text.nnz / np.prod(text.shape) < 0.05

    @pytest.mark.parametrize("weighted", [False, True])
    def test_fit_is_that_of_dense_rows_and_of_scikit_learn(self, text, weighted):
        init = text[:80:10].toarray() + 1e-4
        weights = np.random.default_rng(0).integers(0, 5, text.shape[0]).astype(float)
        weights = weights if weighted else None
        ours = KMeans(8, init=init).fit(text, sample_weight=weights)
        equal_fits(ours, KMeans(8, init=init).fit(text.toarray(), sample_weight=weights))
        theirs = TheirKMeans(8, init=init, n_init=1).fit(text, sample_weight=weights)
        equal_fits(ours, theirs, rtol=1e-11)

    def test_predictions_are_those_of_scikit_learn(self, text):
        init = text[:80:10].toarray()
        ours = KMeans(8, init=init, max_iter=3, tol=0).fit(text)
        theirs = TheirKMeans(8, init=init, n_init=1, max_iter=3, tol=0).fit(text)
        for form in (sp.csr_matrix(text), sp.csc_array(text), sp.coo_array(text), text.toarray()):
            np.testing.assert_array_equal(ours.predict(form), theirs.predict(text))
            np.testing.assert_allclose(ours.transform(form), theirs.transform(text), atol=1e-12)
            np.testing.assert_allclose(ours.score(form), theirs.score(text), rtol=1e-12)
        assert type(ours.predict(text)) is type(ours.transform(text)) is np.ndarray
        np.testing.assert_array_equal(ours.fit_predict(text), ours.labels_)

    @pytest.mark.parametrize("init", INITS[:-1])
    def test_seeds_lead_to_as_good_clusters_as_scikit_learns(self, text, init):
        ours = [KMeans(8, init=init, random_state=i).fit(text).inertia_ for i in range(5)]
        theirs = [TheirKMeans(8, n_init=1, random_state=i).fit(text).inertia_ for i in range(5)]
        assert min(ours) < 1.02 * min(theirs)

    def test_float32_labels_do_not_depend_on_its_rounding(self, text):
        rows = text.astype(np.float32)
        init = rows[:80:10].toarray().astype(np.float64)
        equal_fits(KMeans(8, init=init).fit(rows), KMeans(8, init=init).fit(rows.toarray()))

    def test_metrics_are_those_of_dense_rows(self, text):
        model = KMeans(8, random_state=0).fit(text)
        names = (
            list(metrics.METRICS)
            if hasattr(metrics, "METRICS")
            else [
                "inertia",
                "simplified_silhouette",
                "silhouette",
                "squared_euclidean_silhouette",
                "cosine_silhouette",
                "davies_bouldin",
                "calinski_harabasz",
                "sizes",
                "spreads",
            ]
        )
        found = metrics.evaluate(model, text, names)
        wanted = metrics.evaluate(model, text.toarray(), names)
        for name in names:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, err_msg=name)
        for score in (
            metrics.inertia,
            metrics.simplified_silhouette_score,
            metrics.squared_euclidean_silhouette_score,
            metrics.cosine_silhouette_score,
            metrics.davies_bouldin_score,
            metrics.calinski_harabasz_score,
            metrics.silhouette_score,
            metrics.cluster_sizes,
            metrics.cluster_spreads,
        ):
            of_sparse, of_dense = score(text, model.labels_), score(text.toarray(), model.labels_)
            np.testing.assert_allclose(of_sparse, of_dense, rtol=1e-9, err_msg=score.__name__)

    def test_minibatches_are_those_of_dense_rows(self, text):
        options = {"init": text[:80:10].toarray(), "batch_size": 64, "random_state": 0}
        options |= {"max_no_improvement": None, "max_iter": 3}
        ours = MiniBatchKMeans(8, **options).fit(text)
        dense = MiniBatchKMeans(8, **options).fit(text.toarray())
        np.testing.assert_allclose(ours.cluster_centers_, dense.cluster_centers_, atol=1e-12)
        np.testing.assert_array_equal(ours.labels_, dense.labels_)
        np.testing.assert_allclose(ours.inertia_, dense.inertia_, rtol=1e-12)
        for batch in (text[:200], text[200:]):
            ours.partial_fit(batch)
            dense.partial_fit(batch.toarray())
        np.testing.assert_allclose(ours.cluster_centers_, dense.cluster_centers_, atol=1e-12)

    def test_stream_of_batches_is_that_of_dense_ones(self, text):
        """The first ones wait until there are rows enough for initial centers."""
        centers = []
        for form in (lambda rows: rows, lambda rows: rows.toarray()):
            model = MiniBatchKMeans(8, init=text[:80:10].toarray(), init_size=100)
            batches = [form(text[i : i + 40]) for i in range(0, 400, 40)]
            assert stream(model, batches).n_rows == 400
            centers.append(model.cluster_centers_)
        np.testing.assert_allclose(centers[0], centers[1], atol=1e-12)
        bad = text[:40].copy()
        bad.data[7] = np.nan
        with pytest.raises(ValueError, match=f"row 0, column {bad.indices[7]}"):
            stream(MiniBatchKMeans(8, init_size=100), [bad])

    def test_sweep_finds_the_models_that_fits_find(self, text):
        options = {"init": "refined", "random_state": 0}
        found = sweep(text, [2, 5], metrics=["davies_bouldin"], **options)
        alone = KMeans(5, **options).fit(text)
        np.testing.assert_array_equal(found.models[5].cluster_centers_, alone.cluster_centers_)

    def test_checkpoint_is_gone_on_with(self, text, tmp_path):
        path = tmp_path / "fit.checkpoint"
        model = KMeans(8, random_state=0, tol=0)
        whole = KMeans(8, random_state=0, tol=0).fit(text)
        model.fit(text, checkpoint=path, callback=lambda state: state.iteration == 2)
        resumed = KMeans.resume(path, text)
        np.testing.assert_array_equal(resumed.cluster_centers_, whole.cluster_centers_)
        other = text.copy()
        other.data[5] *= 1.5
        with pytest.raises(ValueError, match="not the rows of the checkpoint"):
            KMeans.resume(path, other)


def answer(rows, weights, n_clusters, init):
    with warnings.catch_warnings():
        # Drawn rows may have fewer distinct points than clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = KMeans(n_clusters, init=init, max_iter=6, tol=0, random_state=5)
        model.fit(rows, sample_weight=weights)
        batches = MiniBatchKMeans(n_clusters, random_state=5, reassignment_ratio=0.3)
        batches.partial_fit(rows, sample_weight=weights)
    options = {"sample_weight": weights, "random_state": 5}
    return (
        model.cluster_centers_,
        np.asarray(model.labels_),
        model.inertia_,
        [(each.inertia, each.center_shift, each.n_relocated) for each in model.history_],
        batches.cluster_centers_,
        *kmeans_plusplus(rows, n_clusters, **options),
        kmeans_parallel(rows, n_clusters, init_rounds=2, **options),
    )


def assert_equal_to_the_bit(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)


@given(
    case=strategies.rows_weights_and_two_chunkings(),
    share=st.sampled_from([0.0, 0.5, 0.9]),
    init=st.sampled_from(INITS),
    other=st.sampled_from(["threads-3", "threads-1", "sync"]),
)
@settings(max_examples=20)
def test_answer_depends_neither_on_chunks_nor_on_threads(run_under, case, share, init, other):
    """Blocks without rows, rows without values, columns without values, integers: all of it."""
    generator = np.random.default_rng(0)
    rows = case.rows * (generator.random(case.rows.shape) >= share).astype(case.rows.dtype)
    if init == "array":
        init = rows[: case.n_clusters].astype(np.float64) + 0.125
    matrix = sp.csr_array(rows)
    with run_under("sync"):
        wanted = answer(matrix, case.weights, case.n_clusters, init)
    for (row_chunks, _), name in zip(case.chunkings, ("sync", other), strict=True):
        with run_under(name):
            found = answer(lazily(matrix, row_chunks), case.weights, case.n_clusters, init)
        assert_equal_to_the_bit(found, wanted)


def test_work_on_clusters_by_features_is_the_same_in_several_threads(run_under):
    """Centers of so many numbers are averaged, and laid out, by several threads."""
    generator = np.random.default_rng(3)
    # Some columns are in many rows, as words are.
    columns = (2**15 * generator.random((400, 30)) ** 6).astype(int)
    values = generator.random(columns.size), (np.repeat(np.arange(400), 30), columns.ravel())
    rows = sp.csr_array(sp.coo_array(values, shape=(400, 2**15)))
    init = rows[:400:40].toarray()
    found = []
    for name in ("sync", "threads-1", "threads-3"):
        with run_under(name):
            model = KMeans(10, init=init, tol=0).fit(rows)
        history = [(each.inertia, each.center_shift, each.n_changed) for each in model.history_]
        found.append((model.cluster_centers_, model.labels_, model.inertia_, history))
    assert len(history) > 2
    for other in found[1:]:
        assert_equal_to_the_bit(found[0], other)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_answer_is_the_same_on_every_scheduler(run_under, name, text):
    weights = np.random.default_rng(0).random(text.shape[0])
    with run_under("sync"):
        wanted = answer(text, weights, 6, "k-means||")
    cuts = (100, 0, 17, text.shape[0] - 117)
    with run_under(name):
        assert_equal_to_the_bit(answer(lazily(text, cuts), weights, 6, "k-means||"), wanted)
        if name not in ("processes",):
            assert_equal_to_the_bit(answer(text, weights, 6, "k-means||"), wanted)


class TestKinds:
    """What counts as sparse rows."""

    def test_blocks_of_the_package_sparse(self, text):
        init = text[:80:10].toarray()
        wanted = KMeans(8, init=init).fit(text)
        as_coo = lazily(text, (200, text.shape[0] - 200), sparse.COO.from_scipy_sparse)
        found = KMeans(8, init=init).fit(as_coo)
        np.testing.assert_array_equal(found.cluster_centers_, wanted.cluster_centers_)
        assert isinstance(found.labels_._meta, np.ndarray)
        np.testing.assert_array_equal(found.predict(as_coo).compute(), wanted.labels_)
        in_memory = sparse.COO.from_scipy_sparse(text)
        np.testing.assert_array_equal(wanted.predict(in_memory), wanted.labels_)
        np.testing.assert_array_equal(wanted.predict(sparse.GCXS(in_memory)), wanted.labels_)

    def test_lazy_in_lazy_out(self, text):
        model = KMeans(5, random_state=0).fit(text)
        lazy = lazily(text, (200, text.shape[0] - 200))
        labels, distances = model.predict(lazy), model.transform(lazy)
        for found, wanted in ((labels, model.labels_), (distances, model.transform(text))):
            assert isinstance(found, da.Array)
            assert type(found._meta) is np.ndarray
            np.testing.assert_array_equal(found.compute(), wanted)
        assert model.score(lazy) == model.score(text)

    def test_columns_may_be_chunked_too(self, text):
        lazy = lazily(text, (200, text.shape[0] - 200))
        halves = da.concatenate([lazy[:, :1000], lazy[:, 1000:]], axis=1)
        assert halves.numblocks[1] == 2
        init = text[:80:10].toarray()
        found, wanted = KMeans(8, init=init).fit(halves), KMeans(8, init=init).fit(text)
        np.testing.assert_array_equal(found.cluster_centers_, wanted.cluster_centers_)

    @pytest.mark.parametrize("sparse_first", [True, False])
    def test_blocks_of_both_kinds_are_taken_as_they_come(self, text, sparse_first):
        kinds = (lambda rows: rows, lambda rows: rows.toarray())
        one, other = kinds if sparse_first else kinds[::-1]
        lazy = da.concatenate(
            [
                lazily(text[:200], (200,), one),
                lazily(text[200:], (text.shape[0] - 200,), other),
            ]
        )
        init = text[:80:10].toarray()
        equal_fits(KMeans(8, init=init).fit(lazy), KMeans(8, init=init).fit(text))

    def test_unknown_sizes(self, text):
        lazy = lazily(text, (200, text.shape[0] - 200))
        unknown = lazy.map_blocks(lambda block: block, chunks=((np.nan, np.nan), (4096,)))
        init = text[:80:10].toarray()
        weights = np.ones(text.shape[0])
        found = KMeans(8, init=init).fit(unknown, sample_weight=weights)
        np.testing.assert_array_equal(
            found.cluster_centers_, KMeans(8, init=init).fit(text).cluster_centers_
        )

    def test_wide_and_unsorted_columns(self, text):
        shuffled = sp.csr_matrix(text)
        for start, stop in zip(shuffled.indptr, shuffled.indptr[1:], strict=False):
            shuffled.indices[start:stop] = shuffled.indices[start:stop][::-1].copy()
            shuffled.data[start:stop] = shuffled.data[start:stop][::-1].copy()
        shuffled.has_sorted_indices = False
        wide = sp.csr_array(text)
        wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
        wanted = KMeans(5, random_state=0).fit(text)
        for form in (shuffled, wide):
            before = form.indices.copy()
            found = KMeans(5, random_state=0).fit(form)
            np.testing.assert_array_equal(found.cluster_centers_, wanted.cluster_centers_)
            np.testing.assert_array_equal(form.indices, before)

    def test_one_column_duplicates_and_zeros(self):
        rows = np.array([[0.0], [0.0], [2.0], [2.0], [0.0], [2.5]])
        model = KMeans(2, random_state=0).fit(sp.csr_array(rows))
        assert sorted(model.cluster_centers_.ravel().tolist()) == [0.0, 6.5 / 3]
        assert KMeans(3, random_state=0).fit(sp.csr_array(rows)).inertia_ == 0.0


class TestMemory:
    """No block of rows becomes dense."""

    def test_rows_of_many_features_take_their_values_alone(self):
        """As dense rows these would be 42 GB."""
        n, k, d = 20_000, 3, 2**18
        generator = np.random.default_rng(0)
        columns = np.sort(generator.integers(0, d // 50, (n, 50)), axis=1) + d // 50 * np.arange(50)
        values = generator.random(50 * n)
        rows = sp.csr_array((values, columns.ravel(), 50 * np.arange(n + 1)), shape=(n, d))
        lazy = lazily(rows, (5_000,) * 4)
        for X in (rows, lazy):
            tracemalloc.start()
            model = KMeans(k, random_state=0, max_iter=2, n_init=1, init="k-means++").fit(X)
            assert model.predict(X[:100]).shape == (100,)
            MiniBatchKMeans(k, random_state=0, max_iter=1, batch_size=8192).fit(X)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            # The rows' own copies, and some arrays as large as the centers; a tenth of a percent
            # of the dense rows.
            assert peak < 30 * 8 * k * d + 6 * rows.data.nbytes

    def test_lazy_rows_are_kept_if_their_values_fit(self, text):
        reads = []

        def read(block):
            reads.append(block.shape[0])
            return block

        lazy = lazily(text, (200, text.shape[0] - 200)).map_blocks(read, meta=text[:0])
        reads.clear()
        kept = KMeans(5, random_state=0, tol=0).fit(lazy)
        # The first pass tells how large rows are, the second keeps them.
        assert len([n for n in reads if n]) == 4
        assert kept.bytes_read_ < 3 * (text.data.nbytes + text.indices.nbytes) * 2
        reads.clear()
        again = KMeans(5, random_state=0, tol=0, persist=False).fit(lazy)
        assert len([n for n in reads if n]) == 2 * again.n_passes_
        np.testing.assert_array_equal(kept.cluster_centers_, again.cluster_centers_)


class TestErrors:
    """What is wrong is named with its place."""

    @pytest.mark.parametrize("model", [KMeans(2), MiniBatchKMeans(2)])
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_nan_is_told_with_block_row_and_column(self, text, model, bad):
        rows = text.copy()
        row = 230
        rows.data[rows.indptr[row] + 1] = bad
        column = rows.indices[rows.indptr[row] + 1]
        with pytest.raises(ValueError, match=rf"row {row} .*column {column}\."):
            model.fit(rows)
        lazy = lazily(rows, (200, text.shape[0] - 200))
        with pytest.raises(ValueError, match=rf"block 1, .*row {row} .*column {column}\."):
            model.fit(lazy)

    def test_nan_in_a_prediction(self, text):
        model = KMeans(2, random_state=0).fit(text)
        rows = text.copy()
        rows.data[-1] = np.nan
        for method in (model.predict, model.transform, model.score):
            with pytest.raises(ValueError, match=f"row {text.shape[0] - 1}"):
                method(rows)

    def test_other_dtypes_are_refused(self, text):
        with pytest.raises(ValueError, match="Complex data not supported"):
            KMeans(2).fit(text.astype(complex))
        with pytest.raises(ValueError, match="Complex data not supported"):
            KMeans(2).fit(lazily(text.astype(complex), (text.shape[0],)))

    def test_other_number_of_features(self, text):
        model = KMeans(2, random_state=0).fit(text)
        with pytest.raises(ValueError, match="X has 17 features, but KMeans is expecting 4096"):
            model.predict(text[:, :17])

    def test_row_without_values_has_no_direction(self, text):
        rows = sp.vstack([text, sp.csr_array((1, text.shape[1]))], format="csr")
        model = KMeans(2, random_state=0).fit(rows)
        with pytest.raises(ValueError, match=f"row {text.shape[0]}"):
            metrics.evaluate(model, rows, ["cosine_silhouette"])

    def test_what_takes_dense_rows_says_so(self, text):
        model = KMeans(2, random_state=0).fit(text)
        with pytest.raises(ValueError, match="TruncatedSVD"):
            model.plot(text)
        with pytest.raises(TypeError, match="Sparse data was passed"):
            Preprocessor().fit(text)
        with pytest.raises(ValueError, match="X is sparse"):
            Preprocessor().fit(lazily(text, (text.shape[0],)))
        with pytest.raises(TypeError, match="Sparse data was passed"):
            BisectingKMeans(2).fit(text)
        with pytest.raises(ValueError, match="X is sparse, and BisectingKMeans takes dense rows"):
            BisectingKMeans(2).fit(lazily(text, (text.shape[0],)))


@pytest.fixture(scope="module")
def words(text):
    """Rows with words in them, of all lengths."""
    rows = text[np.diff(text.indptr) > 0]
    return sp.csr_array(rows.multiply(np.arange(1, rows.shape[0] + 1)[:, None]))


class TestCosine:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("init", ["k-means++", "array"])
    def test_fit_is_that_of_dense_rows(self, words, init, dtype):
        words = words.astype(dtype)
        given = words[:80:10].toarray() if init == "array" else init
        # Seeds of so few rows depend on how these are stored.
        model = KMeans(8, init=given, metric="cosine", random_state=0).fit(words)
        start = given if init == "array" else model.cluster_centers_
        model = KMeans(8, init=start, metric="cosine").fit(words)
        dense = KMeans(8, init=start, metric="cosine").fit(words.toarray())
        equal_fits(model, dense)
        np.testing.assert_array_equal(model.predict(words), dense.predict(words.toarray()))
        distances = model.transform(words)
        np.testing.assert_allclose(distances, dense.transform(words.toarray()), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1, rtol=1e-14)

    @pytest.mark.parametrize("init", INITS[:-1])
    def test_answer_depends_neither_on_chunks_nor_on_what_keeps_them(self, words, init):
        model = KMeans(8, init=init, metric="cosine", random_state=0)
        in_memory = model.fit(words)
        centers, inertia = in_memory.cluster_centers_, in_memory.inertia_
        third = words.shape[0] // 3
        lazy = lazily(words, (third, third, words.shape[0] - 2 * third))
        for persist in (True, False):
            other = model.set_params(persist=persist).fit(lazy)
            np.testing.assert_array_equal(other.cluster_centers_, centers)
            assert other.inertia_ == inertia

    def test_batches_are_those_of_dense_rows(self, words):
        init = words[:80:10].toarray()
        ours = MiniBatchKMeans(8, init=init, metric="cosine").partial_fit(words[:200])
        dense = MiniBatchKMeans(8, init=init, metric="cosine").partial_fit(words[:200].toarray())
        np.testing.assert_allclose(ours.cluster_centers_, dense.cluster_centers_, atol=1e-12)

    def test_row_of_zeros_is_refused_with_its_place(self, words):
        rows = sp.vstack([words[:20], sp.csr_array((1, words.shape[1])), words[:5]], format="csr")
        with pytest.raises(ValueError, match=r"row 20 \(row 20 of block 0\) are zero"):
            KMeans(2, metric="cosine").fit(rows)
