"""Fit, label and save in a Spark Connect session, and compare with the dask engine.

A program of its own: a process has Spark's own driver or a connection to one, not both.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone

import daskmeans
from daskmeans.errors import RowsError

COLUMNS = ["a", "b", "c"]


def main() -> None:
    """Print "same" if all agrees."""
    # Here, so that tests can be collected where pyspark is not installed.
    from pyspark.ml.linalg import Vectors
    from pyspark.sql import SparkSession

    from daskmeans.spark import KMeans, KMeansModel

    session = (
        SparkSession.builder.remote("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.python.daemon.module", "tests.spark.daemon")
        .config("spark.driver.memory", "1g")
        .getOrCreate()
    )
    assert ".connect." in type(session).__module__
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(200, 3)) + 4 * generator.integers(3, size=(200, 1))
    weights = generator.integers(1, 4, size=200).astype(np.float64)
    listed = [(*row, w) for row, w in zip(rows.tolist(), weights.tolist(), strict=True)]
    table = session.createDataFrame(listed, "a double, b double, c double, w double")

    model = KMeans(featuresCols=COLUMNS, weightCol="w", k=3, maxIter=3, tol=0.0, seed=5)
    fitted = model.fit(table)
    expected = daskmeans.KMeans(
        3, init="k-means||", n_init=1, init_rounds=2, max_iter=3, tol=0.0, random_state=5
    ).fit(rows, sample_weight=weights)
    np.testing.assert_array_equal(fitted.clusterCenters(), expected.cluster_centers_)
    assert fitted.summary.trainingCost == expected.inertia_
    labels = [row.prediction for row in fitted.transform(table).collect()]
    np.testing.assert_array_equal(labels, expected.labels_)

    path = tempfile.mkdtemp() + "/model"
    fitted.save(path)
    loaded = KMeansModel.load(path)
    np.testing.assert_array_equal(loaded.clusterCenters(), expected.cluster_centers_)

    matrix = scipy.sparse.csr_array(rows * (generator.random(rows.shape) < 0.6))
    vectors = [
        (Vectors.sparse(3, matrix.indices[a:b], matrix.data[a:b]),)
        for a, b in pairwise(matrix.indptr)
    ]
    table = session.createDataFrame(vectors, ["features"])
    again = daskmeans.KMeans(3, init="k-means||", max_iter=2, random_state=0)
    expected = clone(again).fit(matrix)
    np.testing.assert_array_equal(again.fit(table).cluster_centers_, expected.cluster_centers_)
    labels = [row.prediction for row in again.labels_.collect()]
    np.testing.assert_array_equal(labels, expected.labels_)

    bad = session.createDataFrame([(1.0,), (None,)], "a double")
    with pytest.raises(RowsError, match="'a' has a null"):
        KMeans(featuresCols=["a"], k=1).fit(bad)
    session.stop()
    print("same")


if __name__ == "__main__":
    main()
