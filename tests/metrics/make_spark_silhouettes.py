"""Write spark_silhouettes.json: what Spark's ClusteringEvaluator says of a few rows.

Needs Java and pyspark (`pip install pyspark numpy`), which no test does:

    python tests/metrics/make_spark_silhouettes.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).with_name("spark_silhouettes.json")


def cases():
    """Rows, labels and weights by name; the last row of the first case is a cluster of its own."""
    generator = np.random.default_rng(7)
    middles = generator.uniform(-6, 6, (4, 3))
    labels = np.arange(60) % 4
    rows = middles[labels] + generator.normal(size=(60, 3))
    labels[-1] = 4
    yield "unweighted", rows, labels, None
    labels = generator.integers(0, 3, 40)
    rows = 5 + middles[labels] + 2 * generator.normal(size=(40, 3))
    # Some rows in a cluster that is not the nearest: negative silhouettes.
    labels[::9] = (labels[::9] + 1) % 3
    yield "weighted", rows, labels, generator.uniform(0.25, 4, 40)


def evaluate(session, rows, labels, weights, measure):
    # Imported where they are used: pytest collects this file, where there is no Spark too.
    from pyspark.ml.evaluation import ClusteringEvaluator
    from pyspark.ml.linalg import Vectors

    columns = [
        (Vectors.dense(row), float(label), 1.0 if weights is None else float(weights[i]))
        for i, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]
    frame = session.createDataFrame(columns, ["features", "prediction", "weight"])
    evaluator = ClusteringEvaluator(distanceMeasure=measure)
    if weights is not None:
        evaluator.setWeightCol("weight")
    return evaluator.evaluate(frame)


def main():
    import pyspark
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[1]").getOrCreate()
    found = {"pyspark": pyspark.__version__}
    for name, rows, labels, weights in cases():
        found[name] = {
            "rows": rows.tolist(),
            "labels": labels.tolist(),
            "weights": None if weights is None else weights.tolist(),
            **{
                measure: evaluate(session, rows, labels, weights, measure)
                for measure in ("squaredEuclidean", "cosine")
            },
        }
    OUTPUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
