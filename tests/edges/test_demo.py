"""The demo end to end, on the real photographs."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import zarr
from PIL import Image

from daskmeans import KMeans
from daskmeans.datasets import sample_images
from daskmeans.estimators.saving import load

FILES = ["labels.zarr", "model", "palette.png", "pixels.zarr"]


@pytest.fixture
def pixels():
    return sample_images().reshape(-1, 3)


def test_demo_leaves_rows_labels_model_and_picture(in_folder, run, fails, pixels):
    output = run("demo")
    folder = in_folder / "daskmeans-demo"
    assert sorted(os.listdir(folder)) == FILES

    stored = zarr.open_array(folder / "pixels.zarr", mode="r")
    assert (stored.shape, stored.dtype) == ((546_560, 3), np.uint8)
    assert stored.nchunks > 4
    np.testing.assert_array_equal(stored[:], pixels)

    expected = KMeans(64, random_state=0).fit(pixels)
    model = load(folder / "model")
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    labels = np.asarray(zarr.open_array(folder / "labels.zarr", mode="r")[:])
    np.testing.assert_array_equal(labels, expected.labels_)

    largest = np.bincount(labels).argmax()
    color = "#" + bytes(np.rint(model.cluster_centers_[largest]).astype(np.uint8)).hex()
    for word in ("546,560", "64", f"{model.n_iter_}", f"{model.inertia_:,.0f}", color, *FILES):
        assert word in output

    with Image.open(folder / "palette.png") as picture:
        drawn = np.asarray(picture.convert("RGB"), dtype=int)
    height, width = drawn.shape[0] * 9 // 10, drawn.shape[1] // 2  # without the strip of centers
    original, recolored = drawn[:height, :width], drawn[:height, width : 2 * width]
    # Fewer colors, in the same places: halves that do not belong together differ by some 60.
    assert 0.5 < np.abs(original - recolored).mean() < 20
    n_colors = [len(np.unique(half.reshape(-1, 3), axis=0)) for half in (original, recolored)]
    assert n_colors[0] > n_colors[1]

    assert "exists already" in fails("demo")
    assert "546,560" in run("demo", "--overwrite")
    assert sorted(os.listdir(folder)) == FILES


def test_demo_in_a_folder_of_ones_choice(in_folder, run):
    run("demo", "colors/here", "-k", 5)
    assert sorted(os.listdir("colors/here")) == FILES
    assert load("colors/here/model").n_clusters == 5


def test_demo_touches_nothing_that_is_not_its_own(in_folder, fails):
    os.makedirs("daskmeans-demo/model")
    open("daskmeans-demo/model/thesis.txt", "w").close()
    assert "model is not a saved model" in fails("demo", "--overwrite")
    assert sorted(os.listdir("daskmeans-demo")) == ["model"]
    assert os.listdir("daskmeans-demo/model") == ["thesis.txt"]


def test_demo_without_the_extra(in_folder, fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install 'daskmeans[plot]'" in fails("demo")
    assert not os.path.exists("daskmeans-demo/pixels.zarr")
