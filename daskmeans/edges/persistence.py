"""A fitted model as a folder of JSON and arrays. Nothing is pickled: loading runs no code."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from daskmeans import __version__
from daskmeans.algorithms.lloyd import IterationRecord
from daskmeans.edges.outputs import written_beside
from daskmeans.errors import ModelFormatError
from daskmeans.estimators.kmeans import KMeans

_FORMAT = 1
_DESCRIPTION, _CENTERS = "model.json", "centers.npy"


def save_model(model: KMeans, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted model to a new folder.

    Labels are not part of it, and initial centers or a random state given as objects are not
    either: predictions need neither.

    Parameters
    ----------
    model : KMeans
        Fitted.
    path : str or path
    overwrite : bool, default=False

    Raises
    ------
    OutputExistsError, OutputError
        See `outputs.check_output`.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from daskmeans import KMeans
    >>> model = KMeans(2, random_state=0).fit(np.array([[1.0], [2.0], [9.0]]))
    >>> path = tempfile.mkdtemp() + "/model"
    >>> save_model(model, path)
    >>> load_model(path).predict([[8.0]]).tolist() == model.predict([[8.0]]).tolist()
    True
    """
    names = getattr(model, "feature_names_in_", None)
    description = {
        "format": _FORMAT,
        "estimator": "KMeans",
        "daskmeans": __version__,
        "parameters": {
            name: value
            for name, value in model.get_params().items()
            if value is None or isinstance(value, bool | int | float | str)
        },
        "n_features_in": model.n_features_in_,
        "feature_names_in": None if names is None else [str(name) for name in names],
        "n_iter": model.n_iter_,
        "inertia": model.inertia_,
        "history": [asdict(record) for record in model.history_],
    }
    with written_beside(path, overwrite=overwrite) as partial:
        partial.mkdir()
        text = json.dumps(description, indent=2)
        (partial / _DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        np.save(partial / _CENTERS, model.cluster_centers_, allow_pickle=False)


def is_model(path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds a model's description."""
    return (Path(path) / _DESCRIPTION).is_file()


def load_model(path: str | os.PathLike[str]) -> KMeans:
    """Read a model that `save_model` wrote.

    Returns
    -------
    KMeans
        Fitted, without `labels_`.

    Raises
    ------
    ModelFormatError
        If the folder is not such a model, of a newer format, incomplete or damaged.
    """
    path = Path(path)
    if not is_model(path):
        raise ModelFormatError(f"There is no model at {path}: {path / _DESCRIPTION} is missing.")
    try:
        description = json.loads((path / _DESCRIPTION).read_text(encoding="utf-8"))
        centers = np.load(path / _CENTERS, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelFormatError(f"The model at {path} is incomplete or damaged: {error}") from error
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise ModelFormatError(
            f"The model at {path} is not of format {_FORMAT}, which daskmeans {__version__} reads: "
            "was it written by a newer version?"
        )
    try:
        return _restored(description, centers)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFormatError(f"The model at {path} is damaged: {error!r}") from error


def _restored(description: dict[str, Any], centers: Any) -> KMeans:
    n_features = int(description["n_features_in"])
    if centers.dtype != np.float64 or centers.ndim != 2 or centers.shape[1] != n_features:
        raise ValueError(
            f"centers of shape {centers.shape} and dtype {centers.dtype}, expected float64 "
            f"(clusters, {n_features})"
        )
    if not len(centers) or not np.isfinite(centers).all():
        raise ValueError("centers that are not finite, or none")
    model = KMeans(**description["parameters"])
    model.cluster_centers_ = np.ascontiguousarray(centers)
    model.n_features_in_ = n_features
    names = description["feature_names_in"]
    if names is not None:
        if len(names) != n_features:
            raise ValueError(f"{len(names)} feature names for {n_features} features")
        model.feature_names_in_ = np.asarray(names, dtype=object)
    model.n_iter_ = int(description["n_iter"])
    model.inertia_ = float(description["inertia"])
    model.history_ = [IterationRecord(**record) for record in description["history"]]
    return model
