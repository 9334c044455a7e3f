"""pyspark.ml's conventions: parameters, pipelines, summaries, saved and converted models."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pandas as pd
import pytest

import daskmeans
from daskmeans.errors import ModelFormatError, RowsError

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'daskmeans[spark]'")

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.clustering import KMeans as MLlibKMeans
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.linalg import Vectors

from daskmeans.spark import KMeans, KMeansModel
from daskmeans.spark.kmeans import CentersStay


@pytest.fixture(scope="module")
def vectors(spark, points):
    rows = [(Vectors.dense(row), float(w)) for row, w in zip(*points, strict=True)]
    return spark.createDataFrame(
        spark.sparkContext.parallelize(rows, 2), ["features", "w"]
    ).persist()


@pytest.fixture(scope="module")
def model(vectors):
    return KMeans(k=5, seed=1).fit(vectors)


def test_parameters_and_defaults_are_those_of_mllib(spark):
    ours, theirs = KMeans(), MLlibKMeans()
    assert {"k", "initMode", "weightCol", "distanceMeasure"} <= {p.name for p in ours.params}
    for name in (
        "featuresCol",
        "predictionCol",
        "k",
        "initMode",
        "initSteps",
        "tol",
        "maxIter",
        "distanceMeasure",
    ):
        getter = f"get{name[0].upper()}{name[1:]}"
        assert getattr(ours, getter)() == getattr(theirs, getter)(), name


def test_setters_and_parameters_of_a_call(vectors):
    made = (
        KMeans()
        .setK(3)
        .setInitMode("random")
        .setInitSteps(4)
        .setMaxIter(1)
        .setTol(0.5)
        .setSeed(8)
        .setWeightCol("w")
        .setFeaturesCol("features")
        .setPredictionCol("cluster")
        .setDistanceMeasure("euclidean")
    )
    same = KMeans(
        k=3, initMode="random", initSteps=4, maxIter=1, tol=0.5, seed=8, weightCol="w"
    ).setParams(predictionCol="cluster")
    for param in made.params:
        assert made.isSet(param) is same.isSet(same.getParam(param.name)) or param.name in (
            "featuresCol",
            "distanceMeasure",
        )
    fitted = made.fit(vectors, {made.k: 2})
    assert len(fitted.clusterCenters()) == 2
    assert "cluster" in fitted.transform(vectors).columns
    assert made.copy({made.k: 7}).getK() == 7
    assert made.getK() == 3


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"k": 0}, "k=0 has to be at least 1"),
        ({"maxIter": 0}, "maxIter=0"),
        ({"tol": -1.0}, "tol=-1.0"),
        ({"initMode": "k-means"}, r"initMode='k-means' is not known; known are 'k-means\|\|'"),
        ({"distanceMeasure": "manhattan"}, "distanceMeasure='manhattan' is not known"),
    ],
)
def test_parameters_are_checked_before_work_starts(params, message):
    with pytest.raises(ValueError, match=message):
        KMeans(**params).fit(None)


def test_summary(model, vectors, points):
    summary = model.summary
    centers = np.array(model.clusterCenters())
    squares = ((points[0][:, None] - centers) ** 2).sum(axis=2)
    labels = squares.argmin(axis=1)
    assert summary.trainingCost == pytest.approx(squares.min(axis=1).sum(), rel=1e-12)
    assert summary.k == 5
    assert 1 <= summary.numIter <= 20
    assert summary.clusterSizes == np.bincount(labels, minlength=5).tolist()
    found = [row.prediction for row in summary.cluster.collect()]
    np.testing.assert_array_equal(found, labels)
    assert summary.predictions.columns == ["features", "w", "prediction"]


def test_predicts_a_single_row(model, points):
    for row in (points[0][0], Vectors.dense(points[0][0]), list(points[0][0])):
        assert model.predict(row) == model.toDaskmeans().predict(points[0][:1])[0]
    with pytest.raises(RowsError, match=r"shape \(2,\), expected \(3,\)"):
        model.predict([1.0, 2.0])


def test_evaluator_of_spark_agrees_with_our_metric(model, vectors, points):
    predicted = model.transform(vectors)
    found = ClusteringEvaluator().evaluate(predicted)
    expected = daskmeans.metrics.evaluate(
        model.toDaskmeans(), points[0], ["squared_euclidean_silhouette"]
    )
    assert found == pytest.approx(expected["squared_euclidean_silhouette"], rel=1e-9)


def test_costs_no_more_than_mllib(vectors):
    """Converged fits; the same rows, and each its own seeding."""
    ours = [KMeans(k=5, maxIter=50, seed=s).fit(vectors).summary.trainingCost for s in range(3)]
    theirs = [MLlibKMeans(k=5, maxIter=50, seed=s).fit(vectors) for s in range(3)]
    assert np.median(ours) <= np.median([each.summary.trainingCost for each in theirs]) * 1.01


def test_tolerance_is_a_distance_as_in_mllib(vectors, points):
    """Iterations end with the first in which no center moved farther."""
    every = daskmeans.KMeans(9, init="random", n_init=1, tol=0.0, random_state=1)
    centers = []
    every.fit(points[0], callback=lambda state: centers.append(state.centers))
    farthest = [
        np.sqrt(((after - before) ** 2).sum(axis=1).max())
        for before, after in itertools.pairwise(centers)
    ]
    tol = float(farthest[len(farthest) // 2]) * 1.0001
    expected = 2 + next(i for i, shift in enumerate(farthest) if shift <= tol)
    assert 3 < expected < every.n_iter_
    fitted = KMeans(k=9, initMode="random", seed=1, tol=tol, maxIter=100).fit(vectors)
    assert fitted.summary.numIter == expected
    assert fitted.toDaskmeans().stop_reason_ == "tolerance"
    np.testing.assert_array_equal(fitted.clusterCenters(), centers[expected - 1])


def test_cosine_is_that_of_dask_and_close_to_mllib(vectors, points):
    rows = points[0]
    model = KMeans(k=3, seed=1, distanceMeasure="cosine", tol=0.0, maxIter=50).fit(vectors)
    expected = daskmeans.KMeans(
        3,
        init="k-means||",
        init_rounds=2,
        n_init=1,
        max_iter=50,
        tol=0.0,
        random_state=1,
        metric="cosine",
    ).fit(rows)
    np.testing.assert_array_equal(model.clusterCenters(), expected.cluster_centers_)
    assert model.summary.trainingCost == expected.inertia_
    labels = [row.prediction for row in model.summary.cluster.collect()]
    np.testing.assert_array_equal(labels, expected.labels_)
    assert model.predict(rows[0] * 7) == labels[0]
    distances = [row.distances for row in expected.transform(vectors).collect()]
    np.testing.assert_array_equal(np.array(distances), expected.transform(rows))
    theirs = min(
        MLlibKMeans(k=3, seed=seed, distanceMeasure="cosine").fit(vectors).summary.trainingCost
        for seed in range(3)
    )
    assert model.summary.trainingCost <= 1.02 * theirs
    assert KMeansModel.fromDaskmeans(expected).getDistanceMeasure() == "cosine"


@pytest.mark.parametrize(("metric", "sq_distance"), [("euclidean", 0.25), ("cosine", 1.0)])
def test_centers_stay_by_the_distance_measure(metric, sq_distance):
    from daskmeans import IterationState

    def told(shift):
        return IterationState(1, 0.0, shift, np.zeros((2, 1)), 1, 0.0, 1)

    # The first iteration may be the last.
    assert CentersStay(0.5, metric)(told(sq_distance))
    assert not CentersStay(0.5, metric)(told(1.01 * sq_distance))


def test_stage_of_a_pipeline_that_is_saved(spark, table, points, tmp_path):
    pipeline = Pipeline(
        stages=[
            VectorAssembler(inputCols=["a", "b", "c"], outputCol="features"),
            KMeans(k=3, seed=4, maxIter=3),
        ]
    )
    fitted = pipeline.fit(table)
    pipeline.save(str(tmp_path / "pipeline"))
    fitted.save(str(tmp_path / "fitted"))
    loaded = PipelineModel.load(str(tmp_path / "fitted"))
    again = Pipeline.load(str(tmp_path / "pipeline")).fit(table)
    for other in (loaded, again):
        np.testing.assert_array_equal(
            other.stages[1].clusterCenters(), fitted.stages[1].clusterCenters()
        )
        assert other.transform(table).collect() == fitted.transform(table).collect()
    assert loaded.stages[1].getMaxIter() == 3
    assert loaded.stages[1].uid == fitted.stages[1].uid
    assert not loaded.stages[1].hasSummary
    with pytest.raises(RuntimeError, match="No training summary"):
        _ = loaded.stages[1].summary


def test_damaged_model_is_refused(spark, model, tmp_path):
    path = str(tmp_path / "model")
    model.save(path)
    model.write().overwrite().save(path)
    spark.createDataFrame([(bytearray(b"zip"),)], "model binary").write.mode("overwrite").parquet(
        f"{path}/data"
    )
    with pytest.raises(ModelFormatError, match="is not a saved model, or it is damaged"):
        KMeansModel.load(path)


def test_models_convert_both_ways(model, vectors, table, points, tmp_path):
    rows = points[0]
    here = model.toDaskmeans()
    labels = [row.prediction for row in model.transform(vectors).collect()]
    np.testing.assert_array_equal(here.predict(rows), labels)
    here.save(tmp_path / "model")
    there = KMeansModel.fromDaskmeans(daskmeans.load(tmp_path / "model"))
    found = [row.prediction for row in there.transform(vectors).collect()]
    np.testing.assert_array_equal(found, labels)
    assert there.getK() == 5
    # One that was fitted to columns with names finds them by these.
    named = daskmeans.KMeans(2, random_state=0).fit(table.select("c", "a", "b"))
    named_rows = pd.DataFrame(rows, columns=["a", "b", "c"])[["c", "a", "b"]]
    converted = KMeansModel.fromDaskmeans(named)
    assert converted.getFeaturesCols() == ["c", "a", "b"]
    found = [row.prediction for row in converted.transform(table).collect()]
    np.testing.assert_array_equal(found, named.predict(named_rows))
    with pytest.raises(RowsError, match="2 columns are given"):
        converted.setFeaturesCols(["a", "b"]).transform(table)


@pytest.mark.parametrize("kind", [daskmeans.MiniBatchKMeans, daskmeans.BisectingKMeans])
def test_models_of_other_estimators_become_sparks(kind, vectors, points, tmp_path):
    fitted = kind(3, random_state=0).fit(points[0])
    KMeansModel.fromDaskmeans(fitted).save(str(tmp_path / "model"))
    model = KMeansModel.load(str(tmp_path / "model"))
    found = [row.prediction for row in model.transform(vectors).collect()]
    np.testing.assert_array_equal(found, fitted.labels_)
    assert type(model.toDaskmeans()) is kind


def test_example_of_the_docstring(spark):
    text = KMeans.__doc__.replace("# doctest: +SKIP", "")
    test = doctest.DocTestParser().get_doctest(text, {"KMeans": KMeans}, "KMeans", None, 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
