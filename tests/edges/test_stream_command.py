"""`daskmeans stream`: follows a folder or a store, goes on after a stop, and says what it did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

from daskmeans import MiniBatchKMeans, load


@pytest.fixture
def incoming(in_folder, rows):
    """Folder with five files of a hundred rows."""
    (in_folder / "incoming").mkdir()
    for number in range(5):
        np.save(in_folder / "incoming" / f"{number}.npy", rows[100 * number : 100 * (number + 1)])
    return "incoming"


def expected(rows, **parameters):
    model = MiniBatchKMeans(4, random_state=0, **parameters)
    for start in range(0, 500, 100):
        model.partial_fit(rows[start : start + 100])
    return model


def test_folder_once(incoming, rows, run):
    output = run("stream", incoming, "-k", 4, "--model", "model", "--once", "--half-life", 3)
    assert "5 batches, 500 rows, 0 skipped (end of source): model" in output
    loaded = load("model")
    by_hand = expected(rows, half_life=3)
    np.testing.assert_array_equal(loaded.cluster_centers_, by_hand.cluster_centers_)
    assert "MiniBatchKMeans" in run("info", "model")


def test_store_once_goes_on(store, rows, run):
    options = ("-k", 4, "--model", "model", "--once", "--batch-rows", 50)
    assert "11 batches, 523 rows" in run("stream", store, *options)
    zarr.open_array(store).append(rows[:77])
    assert "13 batches, 600 rows" in run("stream", store, *options)
    assert load("model").n_steps_ == 13


def test_predict_by_a_streamed_model(store, rows, run):
    run("stream", store, "-k", 4, "--model", "model", "--once")
    run("predict", "model", store, "labels.zarr")
    labels = zarr.open_array("labels.zarr", mode="r")[:]
    np.testing.assert_array_equal(labels, load("model").predict(rows))


def test_bad_file_is_named_or_skipped(incoming, fails, run):
    np.save("incoming/2.npy", np.full((3, 3), np.nan))
    line = fails("stream", incoming, "-k", 4, "--model", "model", "--once")
    assert "NaN" in line
    assert "In 2.npy of the stream" in line
    output = run("stream", incoming, "-k", 4, "--model", "model", "--once", "--skip-bad")
    assert "4 batches, 400 rows, 1 skipped" in output


def test_empty_folder(in_folder, fails):
    (in_folder / "incoming").mkdir()
    line = fails("stream", "incoming", "-k", 4, "--model", "model", "--once")
    assert "No batch of incoming was used" in line


def test_model_of_another_run_stays(incoming, fails, run):
    run("stream", incoming, "-k", 4, "--model", "model", "--once")
    os.remove("model.stream")
    line = fails("stream", incoming, "-k", 4, "--model", "model", "--once")
    assert "model exists already" in line


def test_follows_until_terminated(incoming, rows):
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "daskmeans", "stream", incoming, "-k", "4"),
            *("--model", "model", "--poll", "0.1", "--save-every", "0"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (os.path.exists("model") and load("model").n_steps_ == 5):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    np.save(".coming.npy", rows[:100])
    os.rename(".coming.npy", "incoming/5.npy")
    while load("model").n_steps_ < 6:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "6 batches, 600 rows, 0 skipped (terminated): model" in output
