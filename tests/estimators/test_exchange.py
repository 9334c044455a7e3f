"""Models go to scikit-learn and come from there, and label rows alike on both sides."""

from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import cluster
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from daskmeans import BisectingKMeans, KMeans, MiniBatchKMeans, to_onnx

ROWS = np.random.default_rng(11).normal(size=(500, 3))


def away_from_ties(rows, centers):
    """Rows whose two nearest centers differ by more than either side rounds in float32."""
    sq_distances = ((rows[:, None].astype(np.float64) - centers) ** 2).sum(axis=2)
    if len(centers) == 1:
        return rows
    two = np.partition(sq_distances, 1, axis=1)
    return rows[two[:, 1] - two[:, 0] > 1e-4]


@given(
    k=st.integers(1, 9), d=st.integers(1, 5), seed=st.integers(0, 99), dtype=st.sampled_from("fd")
)
def test_exported_model_labels_rows_alike(k, d, seed, dtype):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(200, d)).astype(dtype)
    new = generator.normal(size=(300, d)).astype(dtype)
    model = KMeans(k, random_state=0, max_iter=5).fit(X)
    exported = model.to_sklearn(X.dtype.name)
    new = away_from_ties(new, model.cluster_centers_)
    np.testing.assert_array_equal(exported.predict(new), model.predict(new), strict=True)
    # Of the same centers the distances are the same up to how scikit-learn rounds them.
    rounded = dict(rtol=1e-6, atol=1e-3 if dtype == "f" else 1e-7)
    np.testing.assert_allclose(exported.transform(new), model.transform(new), **rounded)
    assert exported.score(new) == pytest.approx(model.score(new), rel=1e-4)


def test_exported_attributes():
    frame = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    model = KMeans(4, init="refined", algorithm="elkan", max_iter=7, random_state=3).fit(frame)
    exported = model.to_sklearn()
    assert type(exported) is cluster.KMeans
    np.testing.assert_array_equal(exported.cluster_centers_, model.cluster_centers_, strict=True)
    np.testing.assert_array_equal(exported.labels_, model.labels_, strict=True)
    np.testing.assert_array_equal(exported.predict(frame), model.labels_)
    assert (exported.inertia_, exported.n_iter_) == (model.inertia_, model.n_iter_)
    assert exported.n_features_in_ == 3
    assert list(exported.feature_names_in_) == ["a", "b", "c"]
    assert exported.get_feature_names_out().tolist() == [f"kmeans{i}" for i in range(4)]
    assert exported.get_params() == {
        **cluster.KMeans().get_params(),
        "n_clusters": 4,
        "algorithm": "elkan",
        "max_iter": 7,
        "random_state": 3,
    }
    pickle.loads(pickle.dumps(exported)).predict(frame)
    clone(exported).fit(frame)


def test_lazy_labels_are_not_exported():
    exported = KMeans(2, random_state=0).fit(da.from_array(ROWS, chunks=(100, -1))).to_sklearn()
    assert not hasattr(exported, "labels_")


def test_equal_centers_are_exported():
    centers = np.array([[0.0], [5.0], [5.0]])
    model = KMeans(3, init=centers, max_iter=1)
    with pytest.warns(match="distinct clusters"):
        model.fit(np.array([[0.0], [5.0], [5.0], [0.0]]))
    assert model.to_sklearn().predict([[5.0], [1.0]]).tolist() == model.predict([[5], [1]]).tolist()


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_model_that_is_not_fitted_is_not_exported(kind):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        kind().to_sklearn()
    theirs = getattr(cluster, kind.__name__)()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        kind.from_sklearn(theirs)


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="dtype='int8' has to be 'float64' or"):
        KMeans(2, random_state=0).fit(ROWS).to_sklearn("int8")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_exported_batches_go_on(dtype):
    """The next batches move scikit-learn's centers to where they move ours."""
    model = MiniBatchKMeans(5, batch_size=100, reassignment_ratio=0.0, random_state=0)
    batches = np.array_split(ROWS.astype(dtype), 5)
    for batch in batches[:2]:
        model.partial_fit(batch)
    exported = model.to_sklearn(dtype)
    assert type(exported) is cluster.MiniBatchKMeans
    assert exported.n_steps_ == 2
    for batch in batches[2:]:
        for each in (model, exported):
            each.partial_fit(batch, sample_weight=np.arange(100.0) % 4)
    rounded = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(exported.cluster_centers_, model.cluster_centers_, atol=rounded)
    rows = away_from_ties(batches[0], model.cluster_centers_)
    np.testing.assert_array_equal(exported.predict(rows), model.predict(rows))
    assert exported.n_steps_ == 5
    assert exported.get_params() == {
        **cluster.MiniBatchKMeans().get_params(),
        "n_clusters": 5,
        "batch_size": 100,
        "reassignment_ratio": 0.0,
        "random_state": 0,
    }


def test_exported_batches_look_for_dead_centers_as_often():
    """scikit-learn looks after 10 rows a center, by the number of rows of the first batch."""
    rows = np.concatenate((ROWS, ROWS[:1] + 1e3))
    model = MiniBatchKMeans(3, init=rows[-3:], batch_size=500, random_state=0).partial_fit(rows)
    exported = model.to_sklearn()
    for _ in range(3):
        exported.partial_fit(ROWS)
    assert not (exported.cluster_centers_ > 100).any()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_imported_model(dtype):
    frame = pd.DataFrame(ROWS.astype(dtype), columns=["a", "b", "c"])
    theirs = cluster.KMeans(4, n_init=2, max_iter=50, random_state=3).fit(frame)
    model = KMeans.from_sklearn(theirs)
    assert model.cluster_centers_.dtype == np.float64
    rows = pd.DataFrame(away_from_ties(frame.to_numpy(), model.cluster_centers_), columns=[*"abc"])
    np.testing.assert_array_equal(model.predict(rows), theirs.predict(rows), strict=True)
    np.testing.assert_array_equal(model.labels_, theirs.labels_)
    assert (model.inertia_, model.n_iter_) == (theirs.inertia_, theirs.n_iter_)
    assert (model.n_clusters, model.n_init, model.max_iter, model.random_state) == (4, 2, 50, 3)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    assert model.converged_


def test_imported_model_that_did_not_converge():
    theirs = cluster.KMeans(9, n_init=1, max_iter=2, tol=0, random_state=3)
    model = KMeans.from_sklearn(theirs.fit(ROWS))
    assert (model.stop_reason_, model.converged_) == ("max_iter", False)


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_there_and_back(kind, tmp_path):
    """Saved on the way: what comes back is a whole model."""
    model = kind(4, random_state=5).fit(ROWS)
    back = kind.from_sklearn(model.to_sklearn())
    back.save(tmp_path / "model")
    np.testing.assert_array_equal(back.cluster_centers_, model.cluster_centers_, strict=True)
    assert back.inertia_ == model.inertia_


def test_imported_batches_go_on():
    batches = np.array_split(ROWS, 5)
    theirs = cluster.MiniBatchKMeans(5, reassignment_ratio=0.0, random_state=0)
    for batch in batches[:2]:
        theirs.partial_fit(batch)
    model = MiniBatchKMeans.from_sklearn(theirs)
    for batch in batches[2:]:
        for each in (model, theirs):
            each.partial_fit(batch)
    np.testing.assert_allclose(model.cluster_centers_, theirs.cluster_centers_, atol=1e-12)
    assert model.n_steps_ == theirs.n_steps_
    assert not hasattr(model, "stop_reason_")


def test_another_kind_of_model_is_not_imported():
    theirs = cluster.MiniBatchKMeans(2, random_state=0).fit(ROWS)
    with pytest.raises(TypeError, match=r"takes a fitted sklearn.cluster.KMeans, not MiniBatch"):
        KMeans.from_sklearn(theirs)


@pytest.mark.parametrize("export", [KMeans.to_sklearn, to_onnx])
def test_what_scikit_learn_does_not_have_is_refused(export):
    """Its labels would be others."""
    with pytest.raises(ValueError, match=r"no KMeans with metric='cosine'.*Normalizer"):
        export(KMeans(2, metric="cosine", random_state=0).fit(ROWS))


def test_trees_are_not_exported():
    """Their labels go down the tree, which neither a KMeans nor its graph does."""
    assert not hasattr(BisectingKMeans, "to_sklearn")
    assert not hasattr(BisectingKMeans, "from_sklearn")
    with pytest.raises(TypeError, match=r"not BisectingKMeans.* down its tree"):
        to_onnx(BisectingKMeans(3, random_state=0).fit(ROWS))
