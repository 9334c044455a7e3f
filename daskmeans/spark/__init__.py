"""k-means on Spark DataFrames, as an estimator of pyspark.ml. Needs the extra `spark`."""

from daskmeans.errors import missing_extra

try:
    import pyspark  # noqa: F401
except ImportError as error:
    raise missing_extra("pyspark", "spark", "daskmeans.spark") from error

from daskmeans.blocks.spark_rows import spark_rows
from daskmeans.spark.kmeans import KMeans, KMeansModel, KMeansSummary

__all__ = ["KMeans", "KMeansModel", "KMeansSummary", "spark_rows"]
