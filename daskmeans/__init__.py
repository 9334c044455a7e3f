"""k-means on dask arrays and Zarr stores of any size, with scikit-learn's interface and answers."""

from daskmeans.edges.sources import open_rows
from daskmeans.estimators.functions import k_means, kmeans_parallel, kmeans_plusplus
from daskmeans.estimators.kmeans import KMeans

__all__ = ["KMeans", "__version__", "k_means", "kmeans_parallel", "kmeans_plusplus", "open_rows"]

__version__ = "0.1.0.dev0"
