"""Fitted models in one file each, of JSON and arrays. Nothing is pickled: loading runs no code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from daskmeans.errors import ModelFormatError, OutputError, OutputExistsError
from daskmeans.estimators.archive import is_archive, opened, read_archive, write_archive
from daskmeans.typing import Array, Metric
from daskmeans.version import __version__

_KIND, _FORMAT = "saved model", 1
_PARAMETER = "parameter "

Estimator = TypeVar("Estimator", bound=type)


# By their names.
_ESTIMATORS: dict[str, Any] = {}


def saved_by_name(estimator: Estimator) -> Estimator:
    """Let `load` make models of a subclass of `FittedCenters`."""
    _ESTIMATORS[estimator.__name__] = estimator
    return estimator


def save(model: Any, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Write a fitted model; see `FittedCenters.save`."""
    check_is_fitted(model)
    system, place = opened(path)
    try:
        if system.exists(place):
            if not overwrite:
                raise OutputExistsError(
                    f"{path} exists already: choose another name, or pass overwrite=True."
                )
            if not is_model(path):
                raise OutputExistsError(
                    f"{path} is not a saved model, so it is not overwritten: choose another name."
                )
        fitted, arrays = model._what_to_save()
        scalars, kept = _parameters_to_save(model)
        names = getattr(model, "feature_names_in_", None)
        description = {
            "estimator": type(model).__name__,
            "daskmeans": __version__,
            "parameters": scalars,
            "n_features_in": model.n_features_in_,
            "feature_names_in": None if names is None else [str(name) for name in names],
            "fitted": fitted,
        }
        write_archive(path, _KIND, _FORMAT, description, {**arrays, **kept})
    except OutputExistsError:
        raise
    except OSError as error:
        raise OutputError(f"The model {path} cannot be written: {error}") from error


def _parameters_to_save(model: BaseEstimator) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return parameters as JSON, and those that are arrays of numbers; functions are left out."""
    scalars, arrays = {}, {}
    for name, value in model.get_params(deep=False).items():
        if value is None or isinstance(value, bool | int | float | str):
            scalars[name] = value
        elif isinstance(value, np.number):
            scalars[name] = value.item()
        elif isinstance(value, np.ndarray | list | tuple):
            array = np.asarray(value)
            if array.dtype.kind in "fiub":
                arrays[_PARAMETER + name] = array
    return scalars, arrays


def is_model(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a saved model, by how it begins."""
    return is_archive(path, _KIND)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model that `save` wrote. Nothing in the file is run.

    Parameters
    ----------
    path : str or path
        A file, or a URL of any file system that fsspec knows.

    Returns
    -------
    KMeans, MiniBatchKMeans or BisectingKMeans
        Fitted, without `labels_`. Parameters that were functions or RandomState objects have their
        defaults.

    Raises
    ------
    ModelFormatError
        If the file is missing, something else, of a newer format, or damaged.

    Examples
    --------
    >>> import daskmeans, numpy as np, tempfile
    >>> model = daskmeans.KMeans(2, random_state=0).fit(np.array([[1.0], [2.0], [9.0]]))
    >>> path = tempfile.mkdtemp() + "/model"
    >>> model.save(path)
    >>> daskmeans.load(path).predict([[8.0]]).tolist() == model.predict([[8.0]]).tolist()
    True
    """
    try:
        description, arrays = read_archive(path, _KIND, _FORMAT)
    except FileNotFoundError as error:
        raise ModelFormatError(f"There is no model at {path}.") from error
    try:
        return _restored(description, arrays)
    except KeyError as error:
        raise ModelFormatError(f"The model {path} is damaged: it lacks {error}.") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFormatError(f"The model {path} is damaged: {error}") from error


def _restored(description: dict[str, Any], arrays: dict[str, Array]) -> Any:
    name = description["estimator"]
    if name not in _ESTIMATORS:
        raise ValueError(f"this version of daskmeans has no estimator {name!r}")
    parameters = dict(description["parameters"])
    for key, array in arrays.items():
        if key.startswith(_PARAMETER):
            parameters[key.removeprefix(_PARAMETER)] = array
    model = _ESTIMATORS[name](**parameters)
    model._validate_params()
    n_features = int(description["n_features_in"])
    names = description["feature_names_in"]
    model.n_features_in_ = n_features
    if names is not None:
        model.feature_names_in_ = _checked_names(names, n_features)
    model._take_saved(description["fitted"], arrays)
    return model


def _checked_names(names: Any, n_features: int) -> Array:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("its feature names are not a list of text")
    if len(names) != n_features:
        raise ValueError(f"{len(names)} feature names for {n_features} features")
    return np.asarray(names, dtype=object)


def checked_numbers(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a saved record.

    Raises
    ------
    TypeError
        If one is neither a number nor None.
    """
    for name, value in fields.items():
        if value is not None and not isinstance(value, bool | int | float):
            raise TypeError(f"{name} is {value!r}, not a number")
    return dict(fields)


def checked_centers(array: Array, n_clusters: int, n_features: int, metric: Metric) -> Array:
    """Return saved centers.

    Raises
    ------
    ValueError
        If they are not finite float64 numbers of this shape, or not of length 1 for "cosine".
    """
    shape = (n_clusters, n_features)
    if array.dtype != np.float64 or array.shape != shape:
        raise ValueError(
            f"centers of shape {array.shape} and dtype {array.dtype}, expected float64 {shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError("centers that are not finite")
    if metric == "cosine" and not np.allclose((array**2).sum(axis=1), 1.0, rtol=0, atol=1e-9):
        raise ValueError("centers of cosine distances that are not of length 1")
    return np.ascontiguousarray(array)


def checked_sizes(array: Array, n_clusters: int) -> Array:
    """Return saved sizes of clusters.

    Raises
    ------
    ValueError
        If they are not one int64 number of rows a cluster.
    """
    if array.dtype != np.int64 or array.shape != (n_clusters,) or (array < 0).any():
        raise ValueError("cluster sizes that are not one number of rows a cluster")
    return array
