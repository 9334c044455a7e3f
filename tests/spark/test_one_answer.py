"""The same rows in the same order give the same bits on Spark as on dask's schedulers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.base import clone

import daskmeans
from daskmeans.metrics import evaluate
from daskmeans.passes import spark as spark_passes
from daskmeans.passes import spark_jobs

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'daskmeans[spark]'")

from daskmeans.spark import KMeans, spark_rows
from tests.spark.conftest import COLUMNS


def assert_same(model, other):
    np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
    assert model.inertia_ == other.inertia_
    assert (model.n_iter_, model.stop_reason_) == (other.n_iter_, other.stop_reason_)


@pytest.mark.parametrize(
    ("init", "n_partitions"), [("auto", 1), ("auto", 8), ("k-means||", 3), ("random", 3)]
)
def test_fit_gives_the_bits_of_the_dask_engine(table_of, points, init, n_partitions):
    rows, weights = points
    table = table_of(
        np.column_stack([rows, weights]).tolist(), f"{COLUMNS}, w double", n_partitions
    )
    model = daskmeans.KMeans(4, init=init, n_init=2, max_iter=6, random_state=3)
    expected = clone(model).fit(rows, sample_weight=weights)
    assert_same(model.fit(table, sample_weight="w"), expected)
    labels = [row.prediction for row in model.labels_.collect()]
    np.testing.assert_array_equal(labels, expected.labels_)


def test_rows_that_are_sampled_give_the_bits_of_the_dask_engine(spark):
    """More rows than a sample holds, so that row numbers decide which are drawn."""
    generator = np.random.default_rng(2)
    rows = generator.normal(size=(45_000, 2)).astype(np.float32)
    rows[:20_000] += 6
    import pyarrow as pa

    table = spark.createDataFrame(pa.table({"x": rows[:, 0], "y": rows[:, 1]}))
    assert table.schema.simpleString() == "struct<x:float,y:float>"
    model = daskmeans.KMeans(3, random_state=0).fit(table)
    assert_same(model, clone(model).fit(rows))


@pytest.mark.parametrize("kind", ["vector", "array<double>", "array<float>"])
def test_vectors_and_arrays_are_rows(table, points, kind):
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql.functions import array, col

    rows = points[0]
    if kind == "vector":
        made = VectorAssembler(inputCols=["a", "b", "c"], outputCol="x").transform(table)
    else:
        made = table.withColumn("x", array("a", "b", "c").cast(kind))
    if kind == "array<float>":
        rows = rows.astype(np.float32)
    chosen = spark_rows(made.select("w", col("x")), "x")
    model = daskmeans.KMeans(4, max_iter=3, random_state=0).fit(chosen)
    expected = clone(model).fit(rows)
    assert_same(model, expected)
    labels = [row.prediction for row in model.predict(chosen).collect()]
    np.testing.assert_array_equal(labels, expected.labels_)
    distances = [row.distances for row in model.transform(chosen).collect()]
    np.testing.assert_array_equal(
        np.array(distances).astype(expected.transform(rows).dtype), expected.transform(rows)
    )


def test_integers_and_decimals_and_text_are_numbers(spark):
    table = spark.createDataFrame(
        [(j % 5, str(j * j % 7), j % 3) for j in range(40)], "a int, b string, c tinyint"
    ).selectExpr("a", "cast(a as decimal(5, 1)) d", "b", "c")
    rows = np.array([(j % 5, j % 5, j * j % 7, j % 3) for j in range(40)], dtype=np.float64)
    model = daskmeans.KMeans(3, random_state=0).fit(spark_rows(table, ["a", "d", "b", "c"]))
    assert_same(model, clone(model).fit(rows))


def test_many_partitions_merge_in_a_tree_to_the_same_bits(table_of, points, monkeypatch):
    rows, _ = points
    monkeypatch.setattr(spark_jobs, "_MOST_GATHERED", 2)
    table = table_of(rows.tolist(), n_partitions=7)
    model = daskmeans.KMeans(4, init="k-means||", init_rounds=1, max_iter=2, random_state=0)
    assert_same(model.fit(table), clone(model).fit(rows))


def test_blocks_of_a_partition_do_not_show(spark, points, monkeypatch):
    """Blocks are smaller than what a partition holds."""
    rows, weights = points
    small = partial(spark_passes.PartitionToBlocks, block_bytes=1_000)
    monkeypatch.setattr(spark_passes, "PartitionToBlocks", small)
    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "50")
    try:
        table = spark.createDataFrame(
            np.column_stack([rows, weights]).tolist(), f"{COLUMNS}, w double"
        )
        model = daskmeans.KMeans(4, init="k-means||", max_iter=3, random_state=1)
        model.fit(table, sample_weight="w")
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", before)
    assert_same(model, clone(model).fit(rows, sample_weight=weights))


def test_ids_give_rows_an_order_after_a_shuffle(table_of, points):
    rows, _ = points
    numbered = [(*row, i) for i, row in enumerate(rows.tolist())]
    shuffled = [numbered[i] for i in np.random.default_rng(0).permutation(len(rows))]
    table = table_of(shuffled, f"{COLUMNS}, id long", 4)
    chosen = spark_rows(table, ["a", "b", "c"], id="id")
    model = daskmeans.KMeans(4, init="k-means||", max_iter=3, random_state=0).fit(chosen)
    assert_same(model, clone(model).fit(rows))


def test_estimator_of_spark_is_the_estimator_of_dask(table, points):
    rows, weights = points
    model = KMeans(
        featuresCols=["a", "b", "c"], weightCol="w", k=4, maxIter=5, tol=0.0, seed=2**40 + 7
    ).fit(table)
    expected = daskmeans.KMeans(
        4, init="k-means||", n_init=1, init_rounds=2, max_iter=5, tol=0.0, random_state=7
    ).fit(rows, sample_weight=weights)
    np.testing.assert_array_equal(model.clusterCenters(), expected.cluster_centers_)
    assert model.summary.trainingCost == expected.inertia_
    assert model.summary.numIter == expected.n_iter_
    assert model.summary.clusterSizes == np.bincount(expected.labels_, minlength=4).tolist()


def test_sweep_metrics_score_and_seeding_run_on_spark(table, points):
    rows, _ = points
    table = table.drop("w")
    metrics = ["davies_bouldin", "simplified_silhouette"]
    found = daskmeans.sweep(table, [2, 4], metrics=metrics, n_init=2, random_state=0)
    expected = daskmeans.sweep(rows, [2, 4], metrics=metrics, n_init=2, random_state=0)
    for name in metrics:
        np.testing.assert_array_equal(found.scores[name], expected.scores[name])
    model, other = found.models[4], expected.models[4]
    assert model.score(table) == other.score(rows)
    judged, known = evaluate(model, table), evaluate(other, rows)
    assert judged.keys() == known.keys()
    for name, value in known.items():
        np.testing.assert_array_equal(judged[name], value)
    np.testing.assert_array_equal(
        daskmeans.kmeans_parallel(table, 3, random_state=0),
        daskmeans.kmeans_parallel(rows, 3, random_state=0),
    )
    centers, numbers = daskmeans.kmeans_plusplus(table, 3, random_state=0)
    np.testing.assert_array_equal(rows[numbers], centers)
