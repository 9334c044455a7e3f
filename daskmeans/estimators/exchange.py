"""Fitted models to scikit-learn's estimators, and theirs to ours, by public attributes."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from sklearn import cluster
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from daskmeans.typing import Array

ExportedDtype: TypeAlias = Literal["float64", "float32"]

# Ways of seeding that scikit-learn has no name for; all three seed by k-means++ in some way.
_OUR_SEEDING = ("auto", "refined", "k-means||")


def to_sklearn(model: BaseEstimator, dtype: ExportedDtype) -> cluster.KMeans:
    """Make scikit-learn's KMeans of a fitted one; see `KMeans.to_sklearn`."""
    check_is_fitted(model)
    exported = _of_shape(model, cluster.KMeans(max_iter=1), dtype)
    exported.set_params(algorithm="elkan" if model.algorithm == "elkan" else "lloyd", tol=model.tol)
    return exported


def to_sklearn_batches(model: BaseEstimator, dtype: ExportedDtype) -> cluster.MiniBatchKMeans:
    """Make scikit-learn's MiniBatchKMeans; see `MiniBatchKMeans.to_sklearn`."""
    shared = ("batch_size", "compute_labels", "max_no_improvement", "init_size", "tol")
    check_is_fitted(model)
    empty = cluster.MiniBatchKMeans(batch_size=model.batch_size, reassignment_ratio=0.0)
    exported = _of_shape(model, empty, dtype, weights=model.counts_)
    exported.set_params(
        reassignment_ratio=model.reassignment_ratio,
        **{name: getattr(model, name) for name in shared},
    )
    exported.n_steps_ = model.n_steps_
    return exported


def _of_shape(
    model: BaseEstimator,
    empty: cluster.KMeans | cluster.MiniBatchKMeans,
    dtype: ExportedDtype,
    weights: Array | None = None,
) -> Any:
    """Fit an estimator to numbers that stand for clusters, and then give it the model's centers.

    Fitting is what makes the private attributes that a release of scikit-learn predicts with, and
    the weights behind the centers of a MiniBatchKMeans, whatever their names are.
    """
    if getattr(model, "metric", "euclidean") != "euclidean":
        raise ValueError(
            "scikit-learn has no KMeans with metric='cosine'. Of rows divided by their lengths "
            "(sklearn.preprocessing.Normalizer) the nearest center by Euclidean distance is the "
            "same: fit such rows with metric='euclidean' and init=model.cluster_centers_."
        )
    if np.dtype(dtype) not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise ValueError(
            f"dtype={dtype!r} has to be 'float64' or 'float32', which scikit-learn takes."
        )
    centers = model.cluster_centers_
    # One feature is enough, and equal centers are no trouble here.
    places = np.arange(len(centers), dtype=dtype)[:, None]
    empty.set_params(n_clusters=len(centers), init=places, n_init=1)
    if weights is None:
        exported = empty.fit(places)
    else:
        # As many rows as later batches have: scikit-learn counts rows by those of the first one.
        n_rows = max(len(centers), model.batch_size)
        padded = np.zeros(n_rows)
        padded[: len(centers)] = weights
        exported = empty.partial_fit(np.resize(places, (n_rows, 1)), sample_weight=padded)
    exported.cluster_centers_ = centers.astype(dtype)
    exported.n_features_in_ = model.n_features_in_
    for name in ("feature_names_in_", "inertia_", "n_iter_", "labels_"):
        value = getattr(model, name, None)
        if value is not None and not hasattr(value, "dask"):
            setattr(exported, name, value)
        elif hasattr(exported, name):
            delattr(exported, name)
    init: Any = model.init
    return exported.set_params(
        init="k-means++" if isinstance(init, str) and init in _OUR_SEEDING else init,
        **{
            name: getattr(model, name) for name in ("n_init", "max_iter", "verbose", "random_state")
        },
    )


def take_from_sklearn(model: Any, given: Any, kind: type[Any]) -> None:
    """Become fitted by scikit-learn's estimator, parameters of the same name included.

    Raises
    ------
    TypeError
        If it is not of the class of scikit-learn's that `model` stands for.
    NotFittedError
    """
    if not isinstance(given, kind):
        raise TypeError(
            f"{type(model).__name__}.from_sklearn takes a fitted sklearn.cluster.{kind.__name__}, "
            f"not {type(given).__name__}."
        )
    check_is_fitted(given)
    ours = model.get_params()
    model.set_params(**{name: value for name, value in given.get_params().items() if name in ours})
    model.n_features_in_ = given.n_features_in_
    for name in ("feature_names_in_", "labels_", "n_iter_"):
        if hasattr(given, name):
            setattr(model, name, getattr(given, name))
    if hasattr(given, "inertia_"):
        model.inertia_ = float(given.inertia_)


def centers_of(given: Any) -> Array:
    """Return the centers of scikit-learn's estimator, float64, C order."""
    return np.array(given.cluster_centers_, dtype=np.float64, order="C")
