"""Rows that k-means cannot take: what is said, and that it is said before iterations."""

from __future__ import annotations

import numpy as np
import pytest

import daskmeans
from daskmeans.errors import RowsError

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'daskmeans[spark]'")

from daskmeans.spark import KMeans, spark_rows


@pytest.fixture
def csv(spark, tmp_path):
    """Reads lines as `spark.read.option("header", True).csv` does: every column is text."""

    def read(*lines):
        (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
        return spark.read.option("header", True).csv(str(tmp_path / "table.csv"))

    return read


def test_null_is_named_by_column_and_row(spark):
    table = spark.createDataFrame([(1.0, 2.0), (3.0, None), (0.0, 1.0)], "a double, b double")
    with pytest.raises(RowsError, match=r"column 'b' has a null.* row 1 of partition 0"):
        KMeans(featuresCols=["a", "b"]).fit(table.coalesce(1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_named_by_column(spark, value):
    table = spark.createDataFrame(
        [(1.0, 2.0), (3.0, 4.0), (0.0, float(value))], "a double, b double"
    )
    with pytest.raises(RowsError, match=r"contains (NaN|infinity).* row 2 .* column 1 \('b'\)"):
        KMeans(featuresCols=["a", "b"]).fit(table)


@pytest.mark.parametrize(
    ("rows", "schema", "message"),
    [
        ([([1.0, 2.0],), (None,)], "x array<float>", "'x' has a null"),
        ([([1.0, 2.0],), ([1.0, None],)], "x array<float>", "null in row 1 .* place 1"),
        ([([1.0, 2.0],), ([1.0],)], "x array<float>", "has 1 numbers in row 1 .* 2 in rows before"),
        ([([],), ([],)], "x array<float>", "arrays without numbers"),
    ],
)
def test_arrays_have_to_be_whole(spark, rows, schema, message):
    table = spark.createDataFrame(rows, schema).coalesce(1)
    with pytest.raises(RowsError, match=message):
        KMeans(featuresCol="x").fit(table)


def test_arrays_of_partitions_have_to_be_of_one_length(table_of):
    table = table_of([([1.0, 2.0],), ([1.0],)], "x array<double>")
    with pytest.raises(RowsError, match=r"1 numbers in some rows .* 2 in others"):
        KMeans(featuresCol="x").fit(table)


def test_columns_of_a_csv_are_cast(csv):
    table = csv("name,width,height", "a,1,2.5", "b,3,1", "c,11,12", "d,10,13")
    model = KMeans(featuresCols=["width", "height"], k=2).fit(table)
    assert sorted(center.tolist() for center in model.clusterCenters()) == [[2, 1.75], [10.5, 12.5]]
    assert "prediction" in model.transform(table).columns


def test_text_that_is_no_number_is_named(csv):
    table = csv("width,height", "1,2.5", "tall,1")
    with pytest.raises(
        RowsError, match=r"'width' has a null, or text that is not a number, in row 1"
    ):
        KMeans(featuresCols=["width", "height"]).fit(table)


def test_table_of_text_alone_asks_for_names(csv):
    with pytest.raises(
        RowsError, match=r"no columns of numbers.*width \(string\).*cast to numbers"
    ):
        daskmeans.KMeans(2).fit(csv("width,height", "1,2.5"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["a", "x"], r"no column 'x'. Its columns are a \(double\), d \(date\)"),
        (["d"], "'d' is of type date"),
        (["a", "a"], "'a' is given more than once"),
        ([], "No columns are given"),
    ],
)
def test_columns_have_to_be_there_and_numbers(spark, columns, message):
    table = spark.sql("select 1.0D a, date'2024-01-01' d")
    with pytest.raises(RowsError, match=message):
        spark_rows(table, columns)


@pytest.mark.parametrize(
    ("weight", "found"), [(-1.0, "-1.0"), (float("nan"), "nan"), (None, "null")]
)
def test_weights_have_to_be_weights(spark, weight, found):
    table = spark.createDataFrame([(1.0, 1.0), (2.0, weight)], "a double, w double").coalesce(1)
    with pytest.raises(RowsError, match=rf"'w' has .*{found}.* row 1"):
        daskmeans.KMeans(1).fit(table, sample_weight="w")


def test_weights_are_a_column(spark):
    table = spark.createDataFrame([(1.0,), (2.0,)], "a double")
    with pytest.raises(RowsError, match=r"name of a column .* it is a ndarray"):
        daskmeans.KMeans(1).fit(table, sample_weight=np.ones(2))


@pytest.mark.parametrize(("second", "message"), [(1, "has 1 more than once"), (None, "has a null")])
def test_ids_are_those_of_one_row(spark, second, message):
    table = spark.createDataFrame([(1.0, 1), (2.0, second), (3.0, 2)], "a double, id long")
    with pytest.raises(RowsError, match=message):
        daskmeans.KMeans(1).fit(spark_rows(table, ["a"], id="id"))


def test_no_rows_and_fewer_than_clusters(spark):
    table = spark.createDataFrame([(1.0,), (2.0,)], "a double")
    with pytest.raises(RowsError, match="n_samples=2 should be >= n_clusters=3"):
        daskmeans.KMeans(3).fit(table)
    with pytest.raises(RowsError, match=r"0 sample\(s\)"):
        daskmeans.KMeans(1).fit(table.filter("a > 5"))


def test_other_columns_than_those_of_the_fit(spark):
    table = spark.createDataFrame([(1.0, 2.0), (2.0, 9.0)], "a double, b double")
    model = daskmeans.KMeans(1).fit(table)
    with pytest.raises(RowsError, match="no column 'b'"):
        model.predict(table.drop("b"))
    # Columns are found by their names, wherever they stand.
    swapped = table.selectExpr("'x' name", "b", "a")
    assert [row.prediction for row in model.predict(swapped).collect()] == [0, 0]


def test_functions_that_take_no_spark_say_which_do(spark):
    table = spark.createDataFrame([(1.0,), (2.0,)], "a double")
    with pytest.raises(RowsError, match=r"KMeans, sweep, .* take one"):
        daskmeans.metrics.inertia(table, [0, 1])
    with pytest.raises(RowsError, match=r"KMeans, sweep, .* take one"):
        daskmeans.MiniBatchKMeans(1).fit(table)
