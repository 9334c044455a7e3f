"""The generators: the same rows in any chunking, laziness, and the statistics asked for."""

from __future__ import annotations

import sys

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_sample_images

from daskmeans.datasets import (
    make_blobs,
    make_gauss_mixture,
    make_uniform,
    sample_image_pixels,
    sample_images,
)

N_ROWS, N_FEATURES = 61, 5

GENERATORS = {
    "blobs": lambda n, **options: make_blobs(n, N_FEATURES, centers=7, **options),
    "overlapping blobs": lambda n, **options: make_blobs(n, N_FEATURES, overlap=0.1, **options),
    "gauss mixture": lambda n, **options: make_gauss_mixture(n, N_FEATURES, 7, **options)[0],
    "uniform": lambda n, **options: make_uniform(n, N_FEATURES, **options),
}

each_generator = pytest.mark.parametrize("generate", GENERATORS.values(), ids=GENERATORS.keys())


def refuse_to_compute(graph, keys, **options):
    raise AssertionError(f"{keys} were computed")


@st.composite
def chunks_of(draw, length, with_empty=True):
    """Chunks of one axis, in any sizes."""
    cuts = draw(st.lists(st.integers(0, length), max_size=4, unique=not with_empty))
    edges = [0, *sorted(cuts), length]
    return tuple(int(size) for size in np.diff(edges))


@each_generator
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_rows_do_not_depend_on_chunking(generate, data):
    one, other = (
        generate(N_ROWS, chunks=data.draw(st.tuples(chunks_of(N_ROWS), chunks_of(N_FEATURES))))
        for _ in range(2)
    )
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(one.compute(), other.compute())


@each_generator
def test_rows_of_large_blocks_do_not_depend_on_chunking(generate):
    """A block of this size is drawn in several parts, none of which ends where the chunks do."""
    whole = generate(20_011, chunks=-1).compute()
    np.testing.assert_array_equal(generate(20_011, chunks=7_001).compute(), whole)


@each_generator
def test_more_rows_start_with_the_same_rows(generate):
    np.testing.assert_array_equal(generate(1_000)[:N_ROWS].compute(), generate(N_ROWS).compute())


def test_labels_do_not_depend_on_chunking():
    options = {"centers": 7, "return_labels": True}
    _, whole = make_blobs(1_000, 2, chunks=-1, **options)
    _, parts = make_blobs(1_000, 2, chunks=(137, 1), **options)
    assert parts.chunks == ((137,) * 7 + (41,),)
    np.testing.assert_array_equal(whole.compute(), parts.compute())


@each_generator
def test_nothing_is_computed_by_asking(generate):
    with dask.config.set(scheduler=refuse_to_compute):
        rows = generate(10**12, chunks=10**9)
    assert isinstance(rows, da.Array)
    assert rows.shape == (10**12, N_FEATURES)


def test_pixels_are_read_when_computed():
    with dask.config.set(scheduler=refuse_to_compute):
        assert sample_image_pixels().shape == (546_560, 3)


@each_generator
def test_rows_far_down_cost_no_more_than_the_first(generate):
    """Draws are addressed by the row's number: nothing before it is generated."""
    rows = generate(10**12, chunks=((10**12 - N_ROWS, N_ROWS), -1))
    assert np.isfinite(rows.blocks[1].compute()).all()


@each_generator
def test_same_parameters_give_the_same_keys(generate):
    name = generate(N_ROWS, random_state=3).name
    assert generate(N_ROWS, random_state=3).name == name
    assert generate(N_ROWS, random_state=4).name != name
    assert generate(N_ROWS, random_state=3, chunks=10).name != name
    assert generate(N_ROWS, random_state=3, dtype="float16").name != name


def test_tasks_hold_no_copy_of_the_centers():
    rows, centers = make_gauss_mixture(10_000, 64, 1_000, chunks=100)
    (optimized,) = dask.optimize(rows)
    for array in (rows, optimized):
        tasks = [
            task for key, task in dict(array.__dask_graph__()).items() if isinstance(key, tuple)
        ]
        assert len(tasks) == 100
        assert max(len(cloudpickle.dumps(task)) for task in tasks) < centers.nbytes / 100


@each_generator
def test_seeds_give_different_rows(generate):
    one, other = (generate(N_ROWS, random_state=seed).compute() for seed in (0, 1))
    assert not np.isin(one, other).any()


@each_generator
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_rounds_the_same_rows(generate, dtype):
    rows = generate(N_ROWS, dtype=dtype)
    computed = rows.compute()
    assert rows.dtype == computed.dtype == dtype
    np.testing.assert_array_equal(
        computed, generate(N_ROWS, dtype="float64").compute().astype(dtype)
    )


@each_generator
def test_no_rows_are_an_empty_array(generate):
    assert generate(0).compute().shape == (0, N_FEATURES)


def test_int_chunks_cut_rows_only():
    assert make_uniform(100, 30, chunks=25).chunks == ((25,) * 4, (30,))
    assert make_uniform(100, 30, chunks=(25, 10)).chunks == ((25,) * 4, (10,) * 3)


def test_auto_chunks_cut_rows_only():
    rows = make_blobs(10**8, 30, dtype="float64")
    assert rows.numblocks[0] > 1
    assert rows.numblocks[1] == 1


def test_auto_label_chunks_are_those_of_the_rows():
    rows, labels = make_blobs(10**8, 30, return_labels=True)
    assert labels.chunks == rows.chunks[:1]


def test_labels_are_the_nearest_center_of_separated_blobs():
    centers = 30.0 * np.eye(4, 6)
    rows, labels = make_blobs(2_000, 6, centers=centers, chunks=300, return_labels=True)
    rows, labels = dask.compute(rows, labels)
    sq_distances = ((rows[:, np.newaxis] - centers) ** 2).sum(axis=2)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, sq_distances.argmin(axis=1))


def test_sizes_are_proportions():
    sizes = 1 / np.arange(1, 8)
    n_rows = 50_000
    _, labels = make_blobs(n_rows, 2, centers=7, sizes=sizes, return_labels=True)
    counts = np.bincount(labels.compute(), minlength=7)
    p = sizes / sizes.sum()
    # Five standard deviations of a binomial count.
    assert (np.abs(counts - n_rows * p) < 5 * np.sqrt(n_rows * p * (1 - p))).all()


def test_blob_of_size_zero_gets_no_row():
    _, labels = make_blobs(5_000, 2, centers=3, sizes=[1, 0, 2], return_labels=True)
    assert set(np.unique(labels.compute())) == {0, 2}


def test_blobs_are_gaussian_with_their_own_standard_deviation():
    cluster_std = np.array([0.5, 1.0, 4.0])
    rows, labels, centers = make_blobs(
        30_000,
        4,
        centers=3,
        cluster_std=cluster_std,
        dtype="float64",
        return_labels=True,
        return_centers=True,
    )
    rows, labels = dask.compute(rows, labels)
    residuals = (rows - centers[labels]) / cluster_std[labels, np.newaxis]
    for feature in residuals.T:
        assert stats.kstest(feature, "norm").pvalue > 1e-3
    # Features of one row, and neighbors in one feature, have nothing to do with each other.
    correlations = np.corrcoef(np.column_stack([residuals[1:], residuals[:-1]]).T)
    assert np.abs(correlations - np.eye(8)).max() < 5 / np.sqrt(len(rows))


def test_offset_moves_rows_and_centers():
    offset = np.array([1e4, -3.0])
    options = {"centers": 3, "dtype": "float64", "return_centers": True}
    near, near_centers = make_blobs(500, 2, **options)
    far, far_centers = make_blobs(500, 2, offset=offset, **options)
    # One rounding of numbers up to 1e4 on either side.
    atol = 1e4 * np.finfo(np.float64).eps
    np.testing.assert_allclose(far.compute(), near.compute() + offset, rtol=0, atol=atol)
    np.testing.assert_array_equal(far_centers, near_centers + offset)


@pytest.mark.parametrize("overlap", [0.01, 0.1, 0.4])
def test_overlap_is_the_share_of_rows_nearer_to_the_neighboring_center(overlap):
    n_rows, n_centers = 50_000, 11
    rows, labels, centers = make_blobs(
        n_rows,
        3,
        centers=n_centers,
        cluster_std=np.linspace(0.5, 2.0, n_centers),
        sizes=np.arange(1, n_centers + 1),
        overlap=overlap,
        return_labels=True,
        return_centers=True,
    )
    rows, labels = dask.compute(rows, labels)
    between = ((centers[:, np.newaxis] - centers) ** 2).sum(axis=2)
    np.fill_diagonal(between, np.inf)
    neighbors = centers[between.argmin(axis=1)]
    to_own = ((rows - centers[labels]) ** 2).sum(axis=1)
    to_neighbor = ((rows - neighbors[labels]) ** 2).sum(axis=1)
    share = (to_neighbor < to_own).mean()
    assert abs(share - overlap) < 5 * np.sqrt(overlap * (1 - overlap) / n_rows)


@pytest.mark.parametrize("R", [1.0, 10.0, 100.0])
def test_gauss_mixture_has_unit_variance_around_centers_of_standard_deviation_r(R):
    rows, centers = make_gauss_mixture(R=R)
    assert rows.shape == (10_000, 15)
    assert centers.shape == (50, 15)
    # 750 numbers: the relative error of their standard deviation is 1 / sqrt(1500).
    assert centers.std() == pytest.approx(R, rel=5 / np.sqrt(1_500))
    if R > 1:
        # The cost of the true centers, one unit for each row and feature: the "15" (in units of
        # 1e4) that the best rows of Table 1 of the k-means|| paper end at.
        sq_distances = ((rows.compute()[:, np.newaxis] - centers) ** 2).sum(axis=2)
        assert sq_distances.min(axis=1).sum() / 1e4 == pytest.approx(15, rel=0.02)
        counts = np.bincount(sq_distances.argmin(axis=1), minlength=50)
        assert stats.chisquare(counts).pvalue > 1e-3


def test_uniform_rows_fill_their_bounds():
    rows = make_uniform(30_000, 2, low=-3, high=5, dtype="float64").compute()
    for feature in rows.T:
        assert stats.kstest(feature, stats.uniform(-3, 8).cdf).pvalue > 1e-3


def test_uniform_rows_share_nothing_with_blobs_of_the_same_seed():
    uniform = make_uniform(10_000, 2, dtype="float64").compute()
    blobs = make_blobs(10_000, 2, centers=[[0, 0]], dtype="float64").compute()
    correlations = np.corrcoef(np.column_stack([uniform, blobs]).T)
    assert np.abs(correlations - np.eye(4)).max() < 5 / np.sqrt(10_000)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("chunks", ["auto", 100_000, (77_777, 2)])
def test_pixels_are_those_of_scikit_learn(dtype, chunks):
    images = np.stack(load_sample_images().images)
    pixels = sample_image_pixels(dtype, chunks)
    computed = pixels.compute(scheduler="synchronous")
    assert pixels.dtype == computed.dtype == dtype
    assert pixels.chunks == da.core.normalize_chunks(
        chunks if isinstance(chunks, tuple) else (chunks, -1), (546_560, 3), dtype=pixels.dtype
    )
    np.testing.assert_array_equal(computed, images.reshape(-1, 3))
    np.testing.assert_array_equal(sample_images(), images)


def test_missing_pillow_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs Pillow.*pip install 'daskmeans\[plot\]'"):
        sample_images()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": -1}, "n_samples=-1 must not be negative"),
        ({"n_features": 0}, "n_features=0 must be at least 1"),
        ({"centers": 0}, "centers=0 must be at least 1"),
        ({"centers": [[1.0, 2.0]]}, r"shape \(1, 2\).*\(n_centers, n_features=3\)"),
        ({"centers": [[1.0, 2.0, np.nan]]}, "centers must be finite"),
        ({"cluster_std": [1.0, 2.0]}, r"cluster_std has shape \(2,\).*each center: \(10,\)"),
        ({"cluster_std": -1.0}, "cluster_std must not be negative, got -1.0"),
        ({"sizes": [1.0, 2.0]}, r"sizes has shape \(2,\).*each center: \(10,\)"),
        ({"sizes": [0.0, 0.0], "centers": 2}, "one of them positive"),
        ({"offset": [1.0, 2.0]}, r"offset has shape \(2,\).*each feature: \(3,\)"),
        ({"offset": np.inf}, "offset must be finite"),
        ({"overlap": 0.5}, "overlap=0.5 must be between 0 and 0.5"),
        ({"overlap": 0.1, "centers": 1}, "needs at least 2 centers, got centers=1"),
        ({"overlap": 0.1, "centers": [[1.0, 2.0, 3.0]]}, "or leave overlap out"),
        ({"overlap": 0.1, "cluster_std": 0.0}, "needs every cluster_std above 0"),
        ({"dtype": "int8"}, "dtype=int8 must be a floating type"),
        ({"random_state": -1}, "random_state=-1 must not be negative"),
    ],
)
def test_impossible_blobs_are_refused(options, message):
    arguments = {"n_samples": 100, "n_features": 3} | options
    with pytest.raises(ValueError, match=message):
        make_blobs(**arguments)


@pytest.mark.parametrize("random_state", [None, 1.5, np.random.default_rng(0)])
def test_only_an_int_is_a_seed(random_state):
    with pytest.raises(TypeError, match="random_state must be an int"):
        make_uniform(10, 2, random_state=random_state)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0, np.inf), (np.nan, 1.0)])
def test_impossible_bounds_are_refused(bounds):
    low, high = bounds
    with pytest.raises(ValueError, match=f"low={low} and high={high} must be finite"):
        make_uniform(10, 2, low=low, high=high)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n_clusters": 0}, "n_clusters=0 must be at least 1"), ({"R": -1.0}, "R=-1.0 must be")],
)
def test_impossible_gauss_mixtures_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_gauss_mixture(**options)
