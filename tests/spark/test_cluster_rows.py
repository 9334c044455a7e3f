"""From a table in Spark to labels and a report: the same way as from any other."""

from __future__ import annotations

import numpy as np
import pytest

import daskmeans
from daskmeans.errors import RowsError
from daskmeans.preprocessing import Preprocessor

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'daskmeans[spark]'")

import pandas as pd

LINES = 240


@pytest.fixture(scope="module")
def frame():
    """Three blobs, with names, a flag, missing values, a constant column and an outlier."""
    generator = np.random.default_rng(9)
    kinds = generator.integers(3, size=LINES)
    x = np.array([0.0, 5.0, 9.0])[kinds] + generator.normal(size=LINES)
    y = np.array([0.0, 7.0, -4.0])[kinds] + generator.normal(size=LINES)
    x[3], y[[8, 100]] = np.nan, np.nan
    x[20] = 1e3
    return pd.DataFrame({"name": [f"n{i}" for i in range(LINES)], "x": x, "y": y, "one": 1.0})


@pytest.fixture(scope="module")
def path(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    frame.to_csv(path, index=False, na_rep="NA")
    return str(path)


@pytest.mark.filterwarnings("ignore:Columns without two different values:UserWarning")
def test_csv_in_spark_ends_as_in_dask(spark, path, frame, tmp_path):
    options = {"k_range": [2, 3], "n_init": 2}
    found = daskmeans.cluster_rows(path, engine="spark", report=tmp_path / "out", **options)
    expected = daskmeans.cluster_rows(frame, report=None, **options)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.centers, expected.centers)
    assert (found.n_rows, found.n_dropped) == (LINES, 1)
    assert found.labels[20] == -1
    assert found.preprocessor.columns_ == ["x", "y"]
    assert found.scores.keys() == expected.scores.keys()
    for name, value in expected.scores.items():
        np.testing.assert_array_equal(found.scores[name], value)
    assert sorted(each.name for each in found.report.iterdir()) == [
        "labels.zarr",
        "model",
        "preparation.json",
        "report.html",
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        {"outliers": 3.0, "outlier_action": "clip", "impute": "median"},
        {"outliers": 2.0, "standardize": False},
        {"columns": ["y", "one"], "impute": None},
    ],
)
def test_preprocessor_changes_a_table_of_spark_to_the_same_bits(spark, frame, parameters):
    expected = Preprocessor(**parameters)
    changed = expected.fit_transform(frame)
    rows = list(frame.itertuples(index=False, name=None))
    table = spark.createDataFrame(rows, "name string, x double, y double, one double")
    found = Preprocessor(**parameters).fit(table)
    np.testing.assert_array_equal(found.mean_, expected.mean_)
    np.testing.assert_array_equal(found.std_, expected.std_)
    assert found.columns_ == expected.columns_
    collected = np.array(found.transform(table).collect(), dtype=np.float64)
    np.testing.assert_array_equal(collected, changed.to_numpy())
    kept = [row.kept for row in found.kept(table).collect()]
    np.testing.assert_array_equal(kept, expected.kept(frame))


@pytest.mark.parametrize(
    ("rows", "engine", "message"),
    [
        (np.zeros((3, 2)), "spark", "engine='spark' takes a Spark DataFrame"),
        ("rows.zarr", "spark", r"rows.zarr is of a format that Spark does not read here: .parquet"),
    ],
)
def test_rows_that_spark_does_not_read_are_refused(spark, rows, engine, message):
    with pytest.raises(RowsError, match=message):
        daskmeans.cluster_rows(rows, 2, engine=engine, report=None)


def test_engine_has_to_fit_the_rows(spark):
    table = spark.createDataFrame([(1.0,), (2.0,)], "a double")
    with pytest.raises(RowsError, match="engine='dask' does not read a Spark DataFrame"):
        daskmeans.cluster_rows(table, 2, engine="dask", report=None)
    with pytest.raises(ValueError, match="engine='flink' has to be"):
        daskmeans.cluster_rows(table, 2, engine="flink", report=None)
