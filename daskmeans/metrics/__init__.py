"""How good clusterings are: metrics of rows of any size in a few passes, equal in any chunking.

`evaluate` judges models by several metrics in the same passes. The functions take labels, as
scikit-learn's do, or a fitted model.
"""

from daskmeans.metrics.agreement import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    contingency_matrix,
    mutual_info_score,
    normalized_mutual_info_score,
)
from daskmeans.metrics.evaluate import evaluate
from daskmeans.metrics.scores import (
    calinski_harabasz_score,
    cluster_sizes,
    cluster_spreads,
    cosine_silhouette_score,
    davies_bouldin_score,
    inertia,
    silhouette_score,
    simplified_silhouette_score,
    squared_euclidean_silhouette_score,
)

__all__ = [
    "adjusted_mutual_info_score",
    "adjusted_rand_score",
    "calinski_harabasz_score",
    "cluster_sizes",
    "cluster_spreads",
    "contingency_matrix",
    "cosine_silhouette_score",
    "davies_bouldin_score",
    "evaluate",
    "inertia",
    "mutual_info_score",
    "normalized_mutual_info_score",
    "silhouette_score",
    "simplified_silhouette_score",
    "squared_euclidean_silhouette_score",
]
