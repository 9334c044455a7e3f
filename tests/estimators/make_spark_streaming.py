"""Write spark_streaming.json: how Spark's StreamingKMeansModel moves its centers, batch by batch.

Needs Java and pyspark (`pip install pyspark numpy`), which no test does:

    python tests/estimators/make_spark_streaming.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).with_name("spark_streaming.json")

# Half-life, its unit in Spark's words, and whether one of the initial centers is far from all rows.
CASES = {
    "no forgetting": (None, "batches", False),
    "batches": (2.5, "batches", False),
    "rows": (40.0, "points", False),
    "dying": (1.0, "batches", True),
}


def batches():
    """Six batches of unequal sizes that drift."""
    generator = np.random.default_rng(23)
    middles = generator.uniform(-5, 5, (3, 2))
    return [
        middles[generator.integers(3, size=size)] + 0.4 * number + generator.normal(size=(size, 2))
        for number, size in enumerate((20, 35, 12, 50, 28, 40))
    ]


def main():
    import pyspark
    from pyspark.mllib.clustering import StreamingKMeansModel
    from pyspark.mllib.linalg import Vectors

    context = pyspark.SparkContext("local[1]")
    fed = batches()
    found = {
        "pyspark": pyspark.__version__,
        "batches": [batch.tolist() for batch in fed],
        "cases": {},
    }
    for name, (half_life, unit, dying) in CASES.items():
        initial = fed[0][:3].copy()
        # Far enough that no row is ever its own; with 30 more batches it is given up.
        if dying:
            initial[2] = 1e3
        decay = 1.0 if half_life is None else math.exp(math.log(0.5) / half_life)
        weights = [1.0, 2.0, 3.0] if dying else [0.0, 0.0, 0.0]
        model = StreamingKMeansModel(initial.tolist(), weights)
        steps = []
        for number in range(36 if dying else len(fed)):
            batch = fed[number % len(fed)]
            rows = context.parallelize([Vectors.dense(row) for row in batch], 1)
            model.update(rows, decay, unit)
            steps.append(
                {
                    "centers": np.asarray(model.clusterCenters).tolist(),
                    "weights": list(model.clusterWeights),
                }
            )
        found["cases"][name] = {
            "half_life": half_life,
            "time_unit": {"batches": "batches", "points": "rows"}[unit],
            "initial": initial.tolist(),
            "initial_weights": weights,
            "steps": steps,
        }
    context.stop()
    OUTPUT.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
