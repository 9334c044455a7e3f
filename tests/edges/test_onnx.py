"""A graph that onnxruntime runs labels rows as the model does, away from ties."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from daskmeans import KMeans, MiniBatchKMeans, to_onnx
from daskmeans.errors import MissingExtraError

UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def run(graph, rows):
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["label", "scores"], {"X": rows})


def decided(rows, centers):
    """Which rows the documented bound promises the label of."""
    shift = centers.mean(axis=0).astype(np.float32).astype(np.float64)
    y, c = rows.astype(np.float64) - shift, centers - shift
    reach = np.linalg.norm(y, axis=1) + np.linalg.norm(c, axis=1).max()
    bound = 8 * (rows.shape[1] + 8) * UNIT[rows.dtype.name] * reach**2
    if len(c) == 1:
        return np.ones(len(rows), bool)
    nearest = np.partition(((y[:, None] - c) ** 2).sum(axis=2), 1, axis=1)
    return nearest[:, 1] - nearest[:, 0] > bound


@given(
    k=st.integers(1, 7),
    d=st.integers(1, 6),
    offset=st.sampled_from([0.0, 1e2, 1e4]),
    dtype=st.sampled_from(["float32", "float64"]),
    kind=st.sampled_from([KMeans, MiniBatchKMeans]),
)
def test_labels_are_those_of_the_model(k, d, offset, dtype, kind):
    generator = np.random.default_rng(k * d)
    X = (generator.normal(size=(200, d)) + offset).astype(dtype)
    model = kind(k, random_state=0, max_iter=5).fit(X)
    labels, distances = run(to_onnx(model, dtype), X)
    sure = decided(X, model.cluster_centers_)
    # The bound leaves few rows out, even far from the origin: the test cannot pass by emptiness.
    assert sure.mean() > 0.95
    np.testing.assert_array_equal(labels[sure], model.predict(X)[sure])
    assert distances.dtype == np.dtype(dtype)
    worst = 200 * np.sqrt(UNIT[dtype])  # of the root of a square that rounding left near zero
    np.testing.assert_allclose(distances, model.transform(X), atol=worst)


def test_graph_is_sound():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["a", "b"])
    model = KMeans(3, random_state=0).fit(frame)
    graph = to_onnx(model)
    onnx.checker.check_model(graph)
    labels, _ = run(graph, frame.to_numpy(np.float32))
    assert (labels == model.labels_).mean() > 0.95


def test_model_stays_as_it_was():
    model = KMeans(2, random_state=0).fit(np.array([[1.0], [2.0], [9.0]]))
    to_onnx(model)
    assert sorted(model.cluster_centers_.ravel()) == [1.5, 9.0]


def test_model_that_is_not_fitted():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        to_onnx(KMeans())


def test_without_skl2onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(MissingExtraError, match=r"needs skl2onnx.*daskmeans\[onnx\]"):
        to_onnx(KMeans(1).fit([[1.0]]))
