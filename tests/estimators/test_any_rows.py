"""Rows as users have them: any dtype, byte order and layout; few features, rows, distinct rows."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import zarr

from daskmeans import KMeans, MiniBatchKMeans

VALUES = np.random.default_rng(7).integers(0, 100, size=(240, 4))

KINDS = {
    "uint8 image": VALUES.astype(np.uint8),
    "int16": VALUES.astype(np.int16) - 50,
    "float16 embeddings": (VALUES / 64).astype(np.float16),
    "big-endian float32": VALUES.astype(">f4"),
    "big-endian int16": VALUES.astype(">i2"),
    "big-endian float16": VALUES.astype(">f2"),
    "Fortran order": np.asfortranarray(VALUES.astype(np.float32)),
    "strided": np.repeat(VALUES.astype(np.float64), 2, axis=1)[::-1, ::2],
    "read-only": np.frombuffer(VALUES.astype(np.float32).tobytes(), np.float32).reshape(-1, 4),
}


def in_zarr(rows, path):
    stored = zarr.create_array(path, shape=rows.shape, chunks=(50, 4), dtype=rows.dtype)
    stored[:] = rows
    return stored


@pytest.fixture(params=["NumPy", "dask", "Zarr"])
def held(request, tmp_path):
    """Put rows where a user may have them."""
    return {
        "NumPy": lambda rows: rows,
        "dask": lambda rows: da.from_array(rows, chunks=(50, 3)),
        "Zarr": lambda rows: in_zarr(rows, tmp_path / "rows.zarr"),
    }[request.param]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_plain_rows(kind, held):
    """Of float64 in C order: the same numbers give the same bits."""
    rows = KINDS[kind]
    plain = np.array(rows, dtype=np.float64, order="C")
    X = held(rows)
    model = KMeans(5, init=plain[:5], max_iter=4).fit(X)
    expected = KMeans(5, init=plain[:5], max_iter=4).fit(plain)
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_, strict=True)
    assert model.inertia_ == expected.inertia_
    np.testing.assert_array_equal(np.asarray(model.labels_), expected.labels_, strict=True)
    np.testing.assert_array_equal(np.asarray(model.predict(X)), expected.labels_, strict=True)
    np.testing.assert_allclose(np.asarray(model.transform(X)), expected.transform(plain), rtol=1e-6)
    assert model.score(X) == expected.score(plain)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_those_of_plain_rows(kind, held):
    rows = KINDS[kind]
    plain = np.array(rows, dtype=np.float64, order="C")
    steps = [
        MiniBatchKMeans(5, init=plain[:5], random_state=0).partial_fit(X).partial_fit(X)
        for X in (held(rows), plain)
    ]
    for name in ("cluster_centers_", "counts_", "inertia_"):
        np.testing.assert_array_equal(getattr(steps[0], name), getattr(steps[1], name))


@pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
class TestSmallestCases:
    def test_one_feature(self, estimator):
        rows = np.array([[0], [1], [10], [11], [20], [21]], np.float32).repeat(4, axis=0)
        model = estimator(3, random_state=0).fit(da.from_array(rows, chunks=5))
        assert sorted(model.cluster_centers_.ravel().round(3)) == [0.5, 10.5, 20.5]

    def test_one_cluster(self, estimator, held):
        model = estimator(1, random_state=0).fit(held(VALUES))
        if estimator is KMeans:
            np.testing.assert_allclose(model.cluster_centers_[0], VALUES.mean(axis=0), rtol=1e-12)
        assert not np.asarray(model.labels_).any()

    def test_as_many_clusters_as_rows(self, estimator):
        rows = np.unique(VALUES, axis=0)[:30].astype(np.float64)
        model = estimator(30, random_state=0).fit(da.from_array(rows, chunks=(7, 4)))
        assert model.inertia_ == 0
        assert sorted(model.cluster_centers_.tolist()) == sorted(rows.tolist())

    @pytest.mark.parametrize("n_clusters", [1, 3])
    def test_equal_rows(self, estimator, held, n_clusters):
        rows = np.full((40, 4), 7.25)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model = estimator(n_clusters, random_state=0).fit(held(rows))
        assert (model.cluster_centers_ == 7.25).all()
        assert model.inertia_ == 0
        if estimator is KMeans:
            assert ("distinct clusters (1)" in str([each.message for each in told])) == (
                n_clusters == 3
            )
