"""Sparse vectors of Spark are sparse rows: the bits of the dask engine, the results of MLlib."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import daskmeans
from daskmeans.algorithms.survey import survey
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import CSRRows
from daskmeans.passes.spark import SparkRunner
from daskmeans.preprocessing import Preprocessor

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'daskmeans[spark]'")

from pyspark.ml.feature import IDF, HashingTF
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.mllib.clustering import KMeans as MLlibKMeans
from pyspark.mllib.clustering import KMeansModel as MLlibModel
from pyspark.mllib.linalg import Vectors as MLlibVectors
from pyspark.sql.types import StructType

from daskmeans.spark import KMeans, KMeansModel, spark_rows

METRICS = ["euclidean", "cosine"]
# Without it Spark would look at a row, in a job.
FEATURES = StructType().add("features", VectorUDT())


@pytest.fixture(scope="module")
def documents(spark):
    """Hashed TF-IDF of 240 documents on four topics, in three partitions, kept by Spark."""
    generator = np.random.default_rng(4)
    topics = generator.integers(4, size=240)
    words = [
        [f"word{word}" for word in 60 * topic + np.minimum(generator.geometric(0.05, 25), 90)]
        for topic in topics
    ]
    listed = [
        (each, float(w)) for each, w in zip(words, generator.integers(1, 4, 240), strict=True)
    ]
    table = spark.createDataFrame(
        spark.sparkContext.parallelize(listed, 3), "words array<string>, w double"
    )
    counted = HashingTF(inputCol="words", outputCol="counts", numFeatures=512).transform(table)
    model = IDF(inputCol="counts", outputCol="features").fit(counted)
    return model.transform(counted).select("features", "w").persist()


@pytest.fixture(scope="module")
def matrix(documents):
    """The rows of `documents` in this process, and their weights."""
    collected = documents.collect()
    return csr_of([row.features for row in collected]), np.array([row.w for row in collected])


def csr_of(vectors):
    """Vectors as SciPy has them; of dense ones every value is stored."""
    whole = [getattr(each, "indices", np.arange(len(each))) for each in vectors]
    indptr = np.cumsum([0, *(len(each) for each in whole)])
    data = np.concatenate([each.values for each in vectors])
    return sp.csr_array(
        (data, np.concatenate(whole), indptr), shape=(len(vectors), len(vectors[0]))
    )


def assert_same(model, expected, rows, table):
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    assert model.inertia_ == expected.inertia_
    assert (model.n_iter_, model.stop_reason_) == (expected.n_iter_, expected.stop_reason_)
    labels = [row.prediction for row in model.labels_.collect()]
    np.testing.assert_array_equal(labels, expected.labels_)
    distances = [row.distances for row in model.transform(table).collect()]
    np.testing.assert_array_equal(np.array(distances), expected.transform(rows))


@pytest.mark.parametrize("metric", METRICS)
def test_fit_gives_the_bits_of_the_dask_engine(documents, matrix, metric):
    rows, weights = matrix
    model = daskmeans.KMeans(5, metric=metric, random_state=3).fit(documents, sample_weight="w")
    expected = clone(model).fit(rows, sample_weight=weights)
    assert_same(model, expected, rows, documents)
    assert model.score(documents) == expected.score(rows)


@pytest.mark.parametrize("metric", METRICS)
def test_iterations_are_those_of_mllib(documents, matrix, metric):
    rows, _ = matrix
    init = rows[:120:24].toarray()
    # Initial centers can be given to MLlib by its older interface alone.
    vectors = documents.rdd.map(lambda row: MLlibVectors.fromML(row.features)).cache()
    theirs = MLlibKMeans.train(
        vectors,
        5,
        maxIterations=20,
        epsilon=0.0,
        initialModel=MLlibModel(list(init)),
        distanceMeasure=metric,
    )
    model = daskmeans.KMeans(5, init=init, metric=metric, max_iter=20, tol=0.0).fit(documents)
    assert 2 < model.n_iter_ < 20
    np.testing.assert_allclose(model.cluster_centers_, theirs.clusterCenters, atol=1e-9)
    labels = [row.prediction for row in model.labels_.collect()]
    np.testing.assert_array_equal(theirs.predict(vectors).collect(), labels)


def test_estimator_labels_and_predicts_sparse_vectors(documents, matrix):
    rows, weights = matrix
    made = KMeans(k=4, seed=2, maxIter=4, tol=0.0, weightCol="w", distanceMeasure="cosine")
    model = made.fit(documents)
    expected = daskmeans.KMeans(
        4,
        init="k-means||",
        n_init=1,
        init_rounds=2,
        max_iter=4,
        tol=0.0,
        random_state=2,
        metric="cosine",
    ).fit(rows, sample_weight=weights)
    np.testing.assert_array_equal(model.clusterCenters(), expected.cluster_centers_)
    assert model.summary.trainingCost == expected.inertia_
    assert model.summary.clusterSizes == np.bincount(expected.labels_, minlength=4).tolist()
    predicted = KMeansModel.fromDaskmeans(expected).transform(documents).collect()
    assert [row.prediction for row in predicted] == expected.labels_.tolist()
    for row in predicted[:8]:
        assert model.predict(row.features) == row.prediction
        assert model.predict(row.features.toArray()) == row.prediction
    with pytest.raises(RowsError, match=r"shape \(3,\), expected \(512,\)"):
        model.predict(Vectors.sparse(3, {0: 1.0}))


@pytest.mark.parametrize("metric", METRICS)
def test_dense_vectors_among_sparse_ones_do_not_show_in_partitions(spark, table_of, metric):
    """As VectorAssembler makes them: whichever form of a row takes less."""
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(90, 6)) + 5 * generator.integers(2, size=(90, 1))
    rows[:60][generator.random((60, 6)) < 0.6] = 0
    rows[:, 0] += 0.5
    vectors = [
        Vectors.sparse(6, {j: x for j, x in enumerate(row) if x}) if 20 <= i < 60 else
        Vectors.dense(row)
        for i, row in enumerate(rows.tolist())
    ]  # fmt: skip
    matrix = csr_of(vectors)
    model = daskmeans.KMeans(3, metric=metric, init="k-means||", max_iter=4, random_state=0)
    expected = clone(model).fit(matrix)
    measured = expected.transform(matrix)
    dense = np.r_[0:20, 60:90]
    measured[dense] = expected.transform(rows[dense])
    # Partitions of dense vectors, of sparse ones, and of both.
    for n_partitions in (1, 7):
        table = table_of([(each,) for each in vectors], FEATURES, n_partitions)
        found = clone(model).fit(table)
        np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
        assert found.inertia_ == expected.inertia_
        distances = [row.distances for row in found.transform(table).collect()]
        np.testing.assert_array_equal(np.array(distances), measured)


def test_no_block_becomes_dense(table_of):
    """Of a million features: the 40 rows would take 320 MB."""
    generator = np.random.default_rng(0)
    d = 1_000_000
    vectors = [
        Vectors.sparse(d, np.unique(generator.integers(d, size=30)).tolist(), [1.0] * 30)
        for _ in range(40)
    ]
    run = SparkRunner(spark_rows(table_of([(each,) for each in vectors], FEATURES)))
    n_values = sum(len(each.values) for each in vectors)
    # Two partitions, whose rows end at places of their own.
    assert run.bytes_read == 12 * n_values + 8 * (40 + 2)

    class Watched:
        source = run.source

        def __call__(self, step):
            chunk = step.chunk

            def of_sparse(block, parameters):
                assert type(block.rows) is CSRRows
                return chunk(block, parameters)

            return run(replace(step, chunk=of_sparse))

    found = survey(Watched(), 1, 0)
    assert found.sparse
    assert found.sample.n_values == n_values


def test_bad_rows_are_named(table_of):
    vectors = [Vectors.sparse(9, {2: 1.0, 7: x}) for x in (1.0, 2.0, np.nan, 3.0)]
    table = table_of([(each,) for each in vectors], FEATURES)
    with pytest.raises(RowsError, match=r"contains NaN: block 1, row 2 .*column 7\."):
        daskmeans.KMeans(2).fit(table)
    vectors[3] = Vectors.sparse(9, {})
    table = table_of([(each,) for each in vectors], FEATURES, 1)
    with pytest.raises(RowsError, match=r"row 3 .* are zero"):
        KMeans(distanceMeasure="cosine").fit(table)
    vectors[2:] = [Vectors.sparse(8, {2: 1.0})] * 2
    table = table_of([(each,) for each in vectors], FEATURES)
    with pytest.raises(RowsError, match=r"8 numbers in some rows .* 9 in others"):
        KMeans().fit(table)


def test_what_takes_dense_rows_says_so(documents):
    model = daskmeans.KMeans(2, max_iter=1, init="random", random_state=0).fit(documents)
    with pytest.raises(RowsError, match=r"X is sparse.*TruncatedSVD"):
        model.plot(documents)
    with pytest.raises(RowsError, match="'features' holds arrays"):
        Preprocessor(columns=["features"]).fit(documents)
    with pytest.raises(RowsError, match="X has sparse vectors, and BisectingKMeans takes dense"):
        daskmeans.BisectingKMeans(2).fit(documents)
