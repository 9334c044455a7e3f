"""Fitted models as ONNX graphs, written by skl2onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from daskmeans.algorithms.assignment import model_shift
from daskmeans.errors import missing_extra
from daskmeans.estimators.kmeans import KMeans
from daskmeans.estimators.minibatch import MiniBatchKMeans

if TYPE_CHECKING:
    from onnx import ModelProto

    from daskmeans.estimators.exchange import ExportedDtype


def to_onnx(model: KMeans | MiniBatchKMeans, dtype: ExportedDtype = "float32") -> ModelProto:
    """Return a fitted model as an ONNX graph that labels rows, and measures them.

    Parameters
    ----------
    model : KMeans or MiniBatchKMeans
        Fitted.
    dtype : {"float32", "float64"}, default="float32"
        Dtype of the rows that the graph takes. Runtimes for phones and browsers know the first
        alone.

    Returns
    -------
    onnx.ModelProto
        Of one input ``X`` of shape (rows, features), and two outputs: ``label`` of shape (rows,),
        int64, and ``scores`` of shape (rows, clusters), distances to the centers. Its bytes are
        ``SerializeToString()``.

    Raises
    ------
    TypeError
        If it is another model: a BisectingKMeans labels rows down its tree.
    NotFittedError
    MissingExtraError
        If skl2onnx is not installed.

    Notes
    -----
    The graph subtracts the mean of the centers and computes |x|^2 - 2 x c + |c|^2 in `dtype`, in
    whatever order a runtime adds. Labels equal those of `predict` for each row x whose squared
    distances to its two nearest centers a and b differ by more than 8 (d + 8) u (|x| + r)^2, with
    the mean subtracted from x, r the length of the longest center beside it, d features, and u
    2^-24 for float32 or 2^-53 for float64. NaN is not refused: such rows get any label.

    Examples
    --------
    >>> import numpy as np, onnxruntime
    >>> from daskmeans import KMeans, to_onnx
    >>> model = KMeans(2, random_state=0).fit(np.array([[1.0], [2.0], [9.0]]))
    >>> session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    >>> rows = np.array([[0.0], [8.0]], np.float32)
    >>> labels, distances = session.run(None, {"X": rows})
    >>> labels.tolist() == model.predict(rows).tolist()
    True
    """
    if not isinstance(model, KMeans | MiniBatchKMeans):
        raise TypeError(
            f"to_onnx takes a fitted KMeans or MiniBatchKMeans, not {type(model).__name__}. A "
            "BisectingKMeans labels rows down its tree, and by its centers alone labels are others."
        )
    try:
        import skl2onnx
    except ImportError as error:
        raise missing_extra("skl2onnx", "onnx", "Writing a model as an ONNX graph") from error
    exported: Any = model.to_sklearn(dtype)
    # Less a shift, as everywhere: far from the origin float32 would have no digits left.
    shift = model_shift(model.cluster_centers_)
    exported.cluster_centers_ = (model.cluster_centers_ - shift).astype(dtype)
    subtract = StandardScaler(with_std=False).fit(shift[None, :])
    subtract.mean_ = shift
    pipeline = make_pipeline(subtract, exported)
    return skl2onnx.to_onnx(pipeline, np.zeros((1, model.n_features_in_), dtype))
