"""Write spark_cosine.json: what Spark's k-means with distanceMeasure="cosine" makes of a few rows.

Needs Java and pyspark (`pip install pyspark numpy`), which no test does:

    python tests/estimators/make_spark_cosine.py

The older `pyspark.mllib` takes initial centers, so its iterations can be followed one by one; it
tells no cost. `pyspark.ml` takes weights and tells the cost, and makes initial centers itself: of
clusters far apart its result depends on these no more.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).with_name("spark_cosine.json")
ITERATIONS = (1, 2, 5, 40)


def overlapping():
    """Rows in all directions and of all lengths, and initial centers that are not of length 1."""
    generator = np.random.default_rng(31)
    rows = generator.normal(size=(90, 4)) * generator.lognormal(0, 2, size=(90, 1))
    return rows, 3.0 * rows[:5]


def apart():
    """Rows around four directions, of any length, and weights."""
    generator = np.random.default_rng(32)
    middles = np.array([[5.0, 0, 0], [0, 5, 1], [0, -1, -5], [-4, 3, 0]])
    rows = middles[np.arange(60) % 4] + 0.5 * generator.normal(size=(60, 3))
    return rows * generator.lognormal(0, 1, size=(60, 1)), generator.uniform(0.25, 4, 60)


def iterations(context):
    from pyspark.mllib.clustering import KMeans, KMeansModel
    from pyspark.mllib.linalg import Vectors

    rows, initial = overlapping()
    distributed = context.parallelize([Vectors.dense(row) for row in rows], 2)
    found = {}
    for count in ITERATIONS:
        model = KMeans.train(
            distributed,
            len(initial),
            maxIterations=count,
            epsilon=0.0,
            initialModel=KMeansModel(initial),
            distanceMeasure="cosine",
        )
        found[count] = np.asarray(model.clusterCenters).tolist()
    return {"rows": rows.tolist(), "initial": initial.tolist(), "centers": found}


def converged(session, weighted):
    # Imported where they are used: pytest collects this file, where there is no Spark too.
    from pyspark.ml.clustering import KMeans
    from pyspark.ml.linalg import Vectors

    rows, weights = apart()
    columns = [
        (Vectors.dense(row), float(weight)) for row, weight in zip(rows, weights, strict=True)
    ]
    frame = session.createDataFrame(columns, ["features", "weight"])
    estimator = KMeans(k=4, distanceMeasure="cosine", seed=1, maxIter=50, tol=0.0)
    if weighted:
        estimator.setWeightCol("weight")
    model = estimator.fit(frame)
    predicted = model.transform(frame).select("prediction").collect()
    return {
        "rows": rows.tolist(),
        "weights": weights.tolist() if weighted else None,
        "centers": np.asarray(model.clusterCenters()).tolist(),
        "labels": [row.prediction for row in predicted],
        "cost": model.summary.trainingCost,
    }


def main():
    import pyspark
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[1]").getOrCreate()
    found = {
        "pyspark": pyspark.__version__,
        "iterations": iterations(session.sparkContext),
        "converged": [converged(session, weighted) for weighted in (False, True)],
    }
    session.stop()
    OUTPUT.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
