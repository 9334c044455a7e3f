"""Pictures of models, sweeps and rows. Each function draws into `ax` and returns it; none shows it.

They need matplotlib, of the extra `plot`, and work without a display.
"""

from daskmeans.plots.clusters import clusters, label_map
from daskmeans.plots.convergence import convergence
from daskmeans.plots.profiles import profiles, sizes
from daskmeans.plots.silhouettes import silhouette
from daskmeans.plots.sweeps import elbow, metrics

__all__ = [
    "clusters",
    "convergence",
    "elbow",
    "label_map",
    "metrics",
    "profiles",
    "silhouette",
    "sizes",
]
