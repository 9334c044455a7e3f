"""A fitted model as a folder of JSON and arrays. Nothing is pickled: loading runs no code."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from daskmeans.algorithms.restarts import IterationRecord
from daskmeans.edges.outputs import OutputKind, written_beside
from daskmeans.errors import ModelFormatError
from daskmeans.estimators.kmeans import KMeans
from daskmeans.version import __version__

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
    NotFittedError

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
    check_is_fitted(model)
    names = getattr(model, "feature_names_in_", None)
    centers = io.BytesIO()
    np.save(centers, model.cluster_centers_, allow_pickle=False)
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
        "stop_reason": model.stop_reason_,
        "n_passes": model.n_passes_,
        "bytes_read": model.bytes_read_,
        "history": [asdict(record) for record in model.history_],
        "centers_sha256": hashlib.sha256(centers.getvalue()).hexdigest(),
    }
    with written_beside(path, MODEL, overwrite=overwrite) as partial:
        partial.mkdir()
        text = json.dumps(description, indent=2)
        (partial / _DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        (partial / _CENTERS).write_bytes(centers.getvalue())


def is_model(path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds a model's description."""
    return (Path(path) / _DESCRIPTION).is_file()


MODEL = OutputKind("a saved model", is_model)


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
        content = (path / _CENTERS).read_bytes()
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"The model at {path} is incomplete or damaged: {error}") from error
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise ModelFormatError(
            f"The model at {path} is not of format {_FORMAT}, which daskmeans {__version__} reads: "
            "was it written by a newer version?"
        )
    try:
        return _restored(description, content)
    except KeyError as error:
        raise ModelFormatError(f"The model at {path} is damaged: it lacks {error}.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelFormatError(f"The model at {path} is damaged: {error}") from error


def _restored(description: dict[str, Any], content: bytes) -> KMeans:
    if hashlib.sha256(content).hexdigest() != description["centers_sha256"]:
        raise ValueError(f"{_CENTERS} is not what was saved, its SHA-256 differs")
    centers = np.load(io.BytesIO(content), allow_pickle=False)
    model = KMeans(**description["parameters"])
    model._validate_params()
    n_features = int(description["n_features_in"])
    shape = (model.n_clusters, n_features)
    if centers.dtype != np.float64 or centers.shape != shape:
        raise ValueError(
            f"centers of shape {centers.shape} and dtype {centers.dtype}, expected float64 {shape}"
        )
    if not np.isfinite(centers).all():
        raise ValueError("centers that are not finite")
    model.cluster_centers_ = np.ascontiguousarray(centers)
    model.n_features_in_ = n_features
    names = description["feature_names_in"]
    if names is not None:
        if len(names) != n_features:
            raise ValueError(f"{len(names)} feature names for {n_features} features")
        model.feature_names_in_ = np.asarray(names, dtype=object)
    model.n_iter_ = int(description["n_iter"])
    model.inertia_ = float(description["inertia"])
    model.stop_reason_ = str(description["stop_reason"])
    model.n_passes_ = int(description["n_passes"])
    model.bytes_read_ = int(description["bytes_read"])
    model.history_ = [IterationRecord(**record) for record in description["history"]]
    return model
