"""stream: every kind of source, checkpoints through kills, signals, bad batches, drift."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from distributed import as_completed

from daskmeans import MiniBatchKMeans, stream
from daskmeans.errors import ModelFormatError, RowsError


@pytest.fixture(scope="module")
def batches():
    """Thirty batches of 50 rows (50, 3) around four points."""
    generator = np.random.default_rng(9)
    middles = generator.uniform(-10, 10, (4, 3))
    return [
        middles[generator.integers(4, size=50)] + generator.normal(size=(50, 3)) for _ in range(30)
    ]


def new_model(**parameters):
    return MiniBatchKMeans(4, random_state=0, reassignment_ratio=0, **parameters)


@pytest.fixture(scope="module")
def expected(batches):
    model = new_model()
    for batch in batches:
        model.partial_fit(batch)
    return model


def same(model, expected):
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    np.testing.assert_array_equal(model.counts_, expected.counts_)
    assert model.n_steps_ == expected.n_steps_


# Sources.


def test_iterable_of_batches(batches, expected):
    model = new_model()
    summary = stream(model, iter(batches))
    same(model, expected)
    assert (summary.n_batches, summary.n_rows, summary.n_skipped) == (30, 1500, 0)
    assert summary.reason == "end of source"


def test_batches_with_weights(batches):
    weights = [np.linspace(0, 2, len(batch)) for batch in batches]
    model, by_hand = new_model(), new_model()
    stream(model, zip(batches, weights, strict=True))
    for batch, weight in zip(batches, weights, strict=True):
        by_hand.partial_fit(batch, sample_weight=weight)
    same(model, by_hand)


def test_asynchronous_iterable(batches, expected):
    async def coming():
        for batch in batches:
            await asyncio.sleep(0.001)
            yield batch

    model = new_model()
    stream(model, coming())
    same(model, expected)


def test_asynchronous_iterable_that_waits_for_ever_can_be_stopped(batches):
    async def coming():
        yield batches[0]
        await asyncio.Event().wait()

    model = new_model()
    summary = stream(model, coming(), max_seconds=0.5)
    assert (summary.reason, summary.n_batches) == ("max_seconds", 1)


def test_as_completed(batches, client):
    futures = client.map(np.copy, batches, pure=False)
    model = new_model()
    summary = stream(model, as_completed(futures, loop=client.loop))
    assert summary.n_rows == model.counts_.sum() == 1500


def test_dask_arrays_are_batches(batches, expected):
    model = new_model()
    stream(model, (da.from_array(batch, chunks=(20, 2)) for batch in batches))
    same(model, expected)


def test_folder_of_files(batches, expected, tmp_path):
    for number, batch in enumerate(batches[:-2]):
        np.save(tmp_path / f"{number:03}.npy", batch)
    (tmp_path / "notes.txt").write_text("not a batch")
    (tmp_path / ".hidden.npy").write_bytes(b"being written")
    model = new_model()
    stream(model, tmp_path, follow=False)
    for batch in batches[-2:]:
        model.partial_fit(batch)
    same(model, expected)


def test_tables_of_a_folder_bring_their_column_names(batches, tmp_path):
    for number, batch in enumerate(batches[:4]):
        frame = pd.DataFrame(batch, columns=["a", "b", "c"])
        if number % 2:
            frame.to_csv(tmp_path / f"{number}.csv", index=False)
        else:
            frame.to_parquet(tmp_path / f"{number}.parquet")
    model = new_model()
    stream(model, str(tmp_path), follow=False)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    assert model.counts_.sum() == 200


def test_folder_that_is_being_filled(batches, expected, tmp_path):
    def fill():
        for number, batch in enumerate(batches):
            with (tmp_path / ".coming").open("wb") as file:
                np.save(file, batch)
            (tmp_path / ".coming").rename(tmp_path / f"{number:03}.npy")
            time.sleep(0.01)

    writer = threading.Thread(target=fill)
    writer.start()
    model = new_model()
    summary = stream(model, tmp_path, n_batches=30, poll_seconds=0.05)
    writer.join()
    assert summary.reason == "n_batches"
    same(model, expected)


def test_file_that_is_being_written_is_waited_for(batches, tmp_path):
    """Whoever copies a file into the folder has not given it its name last."""
    np.save(tmp_path / "0.npy", batches[0])
    summary = stream(new_model(), tmp_path, poll_seconds=600, max_seconds=0.3)
    assert (summary.n_batches, summary.reason) == (0, "max_seconds")
    os.utime(tmp_path / "0.npy", (time.time() - 601,) * 2)
    assert stream(new_model(), tmp_path, poll_seconds=600, n_batches=1).n_batches == 1


def test_store_that_grows(batches, expected, tmp_path):
    store = zarr.create_array(tmp_path / "rows.zarr", shape=(0, 3), chunks=(50, 3), dtype="f8")

    def grow():
        for start in range(0, 30, 3):
            store.append(np.concatenate(batches[start : start + 3]))
            time.sleep(0.05)

    writer = threading.Thread(target=grow)
    writer.start()
    model = new_model()
    summary = stream(model, tmp_path / "rows.zarr", n_batches=30, poll_seconds=0.1)
    writer.join()
    assert (summary.n_rows, summary.reason) == (1500, "n_batches")
    same(model, expected)


def test_rest_of_a_store_is_a_batch_only_where_nothing_is_waited_for(batches, tmp_path):
    rows = np.concatenate(batches)[:1240]
    store = zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(50, 3))
    summary = stream(new_model(), store, follow=False, batch_rows=100)
    assert (summary.n_batches, summary.n_rows) == (13, 1240)
    summary = stream(new_model(), store, batch_rows=100, poll_seconds=0.02, max_seconds=1)
    assert (summary.n_batches, summary.n_rows) == (12, 1200)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.ones((5, 2)), "cannot come from ndarray"),
        (7, "cannot come from int"),
        ("nowhere.zarr", r"nowhere\.zarr"),
    ],
)
def test_no_source(source, message):
    with pytest.raises((RowsError, OSError), match=message):
        stream(new_model(), source)


# Before there are centers.


def test_first_batches_are_collected(batches):
    model = new_model()
    rows = np.concatenate(batches[:2])
    steps = []
    summary = stream(model, ([row] for row in rows), callback=steps.append)
    assert (summary.n_batches, summary.n_rows) == (100, 100)
    assert steps[0].record.n_rows == 4
    larger = new_model(init_size=60)
    steps.clear()
    stream(larger, batches, callback=steps.append)
    assert steps[0].record.n_rows == 100


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (([[0.0, 1.0]], [-1.0]), "Negative"),
        (([[0.0, 1.0]], [1.0, 1.0]), "sample_weight.shape"),
        (([[0.0, 1.0]], [0.0]), "sample_weight are zero"),
        (([[0.0, 1.0, 2.0]], None), "3 features, those before have 2"),
        (([["a", "b"]], None), "dtype|string"),
        (pd.DataFrame([[0.0, 1.0]], columns=["z", "y"]), "columns.*'z', 'y'"),
    ],
)
def test_a_bad_batch_takes_none_along_that_wait_with_it(bad, message):
    """It would be found out once there are rows enough, and those beside it be lost."""
    rows = np.random.default_rng(0).normal(size=(20, 2))
    good = [pd.DataFrame(rows[i : i + 2], columns=["x", "y"]) for i in range(0, 20, 2)]
    model, by_hand = new_model(), new_model()
    summary = stream(model, [good[0], bad, *good[1:]], on_bad="skip")
    assert (summary.n_batches, summary.n_rows, summary.n_skipped) == (10, 20, 1)
    (told,) = summary.errors
    assert re.search(rf"batch 2: .*({message})", told)
    stream(by_hand, good)
    same(model, by_hand)
    assert list(model.feature_names_in_) == ["x", "y"]


def test_a_row_without_direction_takes_no_batch_along():
    rows = np.random.default_rng(0).normal(size=(20, 2))
    batches = [rows[:2], np.zeros((2, 2)), rows[2:]]
    summary = stream(new_model(metric="cosine"), batches, on_bad="skip")
    assert (summary.n_rows, summary.n_skipped) == (20, 1)
    assert "batch 2: All values of row 0" in summary.errors[0]


def test_weights_of_batches_that_wait():
    rows = np.random.default_rng(0).normal(size=(9, 2))
    model = new_model()
    stream(model, [(rows[:3], [0.5, 1, 2]), (rows[3:5], None), (rows[5:], 3)])
    by_hand = new_model().partial_fit(rows[:5], sample_weight=[0.5, 1, 2, 1, 1])
    by_hand.partial_fit(rows[5:], sample_weight=[3, 3, 3, 3])
    same(model, by_hand)


def test_too_few_rows_in_all():
    with pytest.raises(RowsError, match="n_samples=3 should be >= n_clusters=4"):
        stream(new_model(), [[[0.0, 1.0]]] * 3)


# Bad batches.


BAD = {
    "NaN": (np.full((4, 3), np.nan), "NaN"),
    "width": (np.ones((4, 9)), "9 features"),
    "empty": (np.empty((0, 3)), "0 sample"),
    "one dimension": (np.ones(3), "2D"),
    "text": ("text", "2D|string|path"),
}


@pytest.mark.parametrize(
    ("name", "place"),
    # As the first one, any width is right, and an empty batch waits with those that follow.
    [*((name, 7) for name in BAD), ("NaN", 0), ("one dimension", 0), ("text", 0)],
)
def test_bad_batches_raise_or_are_skipped_and_counted(batches, expected, name, place):
    bad, message = BAD[name]
    with_bad = [*batches[:place], bad, *batches[place:]]
    model = new_model()
    with pytest.raises((ValueError, TypeError), match=message) as raised:
        stream(model, with_bad)
    assert f"batch {place + 1} of the stream" in raised.value.__notes__[0]
    assert getattr(model, "n_steps_", 0) == place
    model = new_model()
    summary = stream(model, with_bad, on_bad="skip")
    assert (summary.n_batches, summary.n_skipped) == (30, 1)
    assert summary.errors[0].startswith(f"batch {place + 1}: ")
    same(model, expected)


def test_unreadable_file_is_named_or_skipped(batches, tmp_path):
    for number, batch in enumerate(batches[:5]):
        np.save(tmp_path / f"{number}.npy", batch)
    os.truncate(tmp_path / "2.npy", 300)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - whatever NumPy says of it
        stream(new_model(), tmp_path, follow=False)
    assert "2.npy of the stream" in raised.value.__notes__[0]
    summary = stream(new_model(), tmp_path, follow=False, on_bad="skip")
    assert (summary.n_batches, summary.n_skipped) == (4, 1)


def test_what_the_source_raises_comes_through(batches):
    def failing():
        yield from batches[:3]
        raise ZeroDivisionError("of the source")

    model = new_model()
    with pytest.raises(ZeroDivisionError, match="of the source"):
        stream(model, failing(), on_bad="skip")
    assert model.n_steps_ == 3


# Stops, back-pressure, drift.


def test_callback_stops(batches):
    model = new_model()
    summary = stream(model, batches, callback=lambda step: step.n_batches == 12)
    assert (summary.reason, model.n_steps_) == ("callback", 12)


def test_source_is_not_read_far_ahead(batches):
    given = []

    def source():
        for number, batch in enumerate(batches):
            given.append(number)
            yield batch

    ahead = []

    def look(step):
        time.sleep(0.01)
        ahead.append(len(given) - step.n_batches)

    stream(new_model(), source(), read_ahead=3, callback=look)
    # Three wait, and one more is in the reader's hands.
    assert max(ahead) <= 4


def test_drift_raises_an_alarm(batches):
    moved = [batch + 100 for batch in batches[:3]]
    alarms = []
    summary = stream(new_model(half_life=2), [*batches, *moved], on_drift=alarms.append)
    assert alarms[0].name == "batch 31"
    assert alarms[0].drift > 100
    assert summary.n_alarms == len(alarms)
    quiet = stream(new_model(), batches, on_drift=alarms.append)
    assert quiet.n_alarms == 0


SCRIPT = """
import json, sys, time
import numpy as np
from daskmeans import MiniBatchKMeans, stream

def batches():
    generator = np.random.default_rng(4)
    for number in range(10**6):
        yield generator.normal(size=(20, 2))
        time.sleep(0.001)
        if number == 50:
            print("running", flush=True)

model = MiniBatchKMeans(3, random_state=0, reassignment_ratio=0, compute_labels=False)
summary = stream(model, batches(), checkpoint=sys.argv[1], checkpoint_every=0.02)
print(json.dumps([summary.reason, summary.n_rows, model.counts_.sum()]), flush=True)
"""


def started(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "checkpoint")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "running\n"
    return process


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
def test_signals_end_a_stream_cleanly_and_it_goes_on(tmp_path, number, word):
    rows = 0
    for _ in range(2):
        process = started(tmp_path)
        time.sleep(0.3)
        process.send_signal(number)
        reason, n_rows, weight = json.loads(process.communicate(timeout=60)[0])
        assert process.returncode == 0
        assert reason == word
        assert n_rows == weight > rows
        rows = n_rows


def test_kills_lose_nothing(tmp_path):
    """After each SIGKILL the stream goes on; at the end every row was used once."""
    for _ in range(3):
        process = started(tmp_path)
        time.sleep(0.2)
        process.kill()
        process.communicate()
    generator = np.random.default_rng(4)
    fed = [generator.normal(size=(20, 2)) for _ in range(5000)]
    model = MiniBatchKMeans(3, random_state=0, reassignment_ratio=0, compute_labels=False)
    summary = stream(model, fed, checkpoint=tmp_path / "checkpoint")
    whole = MiniBatchKMeans(3, random_state=0, reassignment_ratio=0, compute_labels=False)
    stream(whole, fed)
    assert summary.n_batches == 5000
    assert model.counts_.sum() == 100000
    same(model, whole)


# Checkpoints.


@pytest.mark.parametrize("kind", ["iterable", "folder", "store"])
def test_a_checkpoint_goes_on_where_it_ended(batches, expected, tmp_path, kind):
    if kind == "folder":
        source = tmp_path / "batches"
        source.mkdir()
        for number, batch in enumerate(batches):
            np.save(source / f"{number:03}.npy", batch)
    elif kind == "store":
        source = tmp_path / "rows.zarr"
        zarr.create_array(source, data=np.concatenate(batches), chunks=(50, 3))
    else:
        source = batches
    options = {"follow": False, "checkpoint": tmp_path / "checkpoint", "checkpoint_every": 0}
    model = new_model()
    for n_batches in (1, 11, 7):
        model = new_model()
        stream(model, source, n_batches=n_batches, **options)
    assert model.n_steps_ == 19
    last = new_model()
    summary = stream(last, source, **options)
    assert summary.n_batches == 30
    same(last, expected)


def test_a_source_that_goes_on_by_itself_is_not_skipped(batches, expected, tmp_path):
    source = iter(batches)
    options = {"checkpoint": tmp_path / "checkpoint", "replays": False}
    # Batches that were read ahead are gone with the first run: it takes just what it is given.
    stream(new_model(), (next(source) for _ in range(13)), **options)
    model = new_model()
    stream(model, source, **options)
    same(model, expected)


def test_checkpoint_of_another_model_or_file(batches, tmp_path):
    path = tmp_path / "checkpoint"
    stream(new_model(), batches, checkpoint=path)
    with pytest.raises(ModelFormatError, match="4 clusters, and this one is to have n_clusters=7"):
        stream(MiniBatchKMeans(7), batches, checkpoint=path)
    content = path.read_bytes()
    for damaged in (content[:-30], content[:200], b"", b"text", content.replace(b"cent", b"cost")):
        path.write_bytes(damaged)
        with pytest.raises(ModelFormatError):
            stream(new_model(), batches, checkpoint=path)


def test_a_store_that_shrank_is_not_taken_for_the_same(batches, tmp_path):
    rows = np.concatenate(batches)
    store = zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(50, 3))
    stream(new_model(), store, follow=False, checkpoint=tmp_path / "checkpoint")
    store.resize((100, 3))
    with pytest.raises(RowsError, match="has used 1500 rows of the store, which has 100"):
        stream(new_model(), store, follow=False, checkpoint=tmp_path / "checkpoint")


def test_log_tells_checkpoints_and_the_end(batches, tmp_path, caplog):
    path = tmp_path / "checkpoint"
    with caplog.at_level(logging.INFO, "daskmeans"):
        stream(new_model(), batches[:2], checkpoint=path, checkpoint_every=0)
    assert [record.getMessage() for record in caplog.records] == [
        f"Checkpoint {path} is written, after 1 batches.",
        f"Checkpoint {path} is written, after 2 batches.",
        f"Checkpoint {path} is written, after 2 batches.",
        "Stream ended after 2 batches: end of source.",
    ]
