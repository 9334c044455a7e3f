"""Mistakes of a user. Each line that ends in `# error: CODE` gives this error and no other does."""

import numpy as np

import daskmeans
from daskmeans import BisectingKMeans, IterationState, KMeans, MiniBatchKMeans, metrics
from daskmeans.preprocessing import Preprocessor


def mistakes(rows: list[list[float]], state: IterationState) -> None:
    KMeans(n_cluster=3)  # error: call-arg
    KMeans("3")  # error: arg-type
    KMeans(3, 10)  # error: call-arg
    KMeans(3, persist="yes")  # error: arg-type
    KMeans(3).fit(rows, callback=True)  # error: arg-type
    KMeans(3).fit()  # error: call-arg
    KMeans(3).save()  # error: call-arg
    KMeans.resume("checkpoint")  # error: call-arg
    number: str = KMeans(3).fit(rows).n_iter_  # error: assignment
    print(number)
    MiniBatchKMeans(time_unit="seconds")  # error: arg-type
    MiniBatchKMeans(3).fit(rows, checkpoint="path")  # error: call-arg
    BisectingKMeans(3).fit(rows, callback=print)  # error: call-arg
    daskmeans.stream(MiniBatchKMeans(3), [rows], on_bad="ignore")  # error: arg-type
    daskmeans.sweep(rows, 5)  # error: arg-type
    daskmeans.open_rows("rows.zarr", columns=3)  # error: arg-type
    metrics.inertia(rows)  # error: call-arg
    Preprocessor(scale=True)  # error: call-arg
    state.inertia = 0.0  # error: misc
    daskmeans.kmeans(np.eye(3))  # error: attr-defined
