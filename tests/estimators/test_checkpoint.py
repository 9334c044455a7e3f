"""A fit that was broken off goes on from its checkpoint, and ends as if nothing had happened."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import dask.array as da
import fsspec
import numpy as np
import pandas as pd
import pytest

from daskmeans import KMeans
from daskmeans.errors import ModelFormatError, OutputError, OutputExistsError, RowsError
from tests.counting import counted_passes


@pytest.fixture
def rows():
    """Rows (4001, 7) without clusters: it takes many iterations, and k = 23 is worth bounds."""
    return np.random.default_rng(5).uniform(-3, 5, (4001, 7))


def model(**options):
    return KMeans(**{"n_clusters": 23, "random_state": 3, "tol": 0.0, "max_iter": 60} | options)


def assert_same_fit(found, expected):
    """To the bit; what iterations cost may differ, since bounds were lost on the way."""
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_, strict=True)
    np.testing.assert_array_equal(np.asarray(found.labels_), np.asarray(expected.labels_))
    assert found.inertia_ == expected.inertia_
    assert found.n_iter_ == expected.n_iter_
    assert found.stop_reason_ == expected.stop_reason_
    assert found.n_passes_ == expected.n_passes_
    assert path_of(found) == path_of(expected)


def path_of(fitted):
    return [
        (each.inertia, each.center_shift, each.n_relocated, each.n_changed, each.n_passes)
        for each in fitted.history_
    ]


def stopped_after(n_iterations, path, rows, sample_weight=None, **options):
    """Fit up to an iteration; the checkpoint is left at `path`."""
    fitted = model(**options).fit(
        rows,
        sample_weight=sample_weight,
        checkpoint=path,
        callback=lambda state: state.iteration == n_iterations,
    )
    assert fitted.stop_reason_ == "callback"
    return fitted


class TestSameBits:
    @pytest.mark.parametrize("n_iterations", [1, 3, 4, 9])
    @pytest.mark.parametrize("algorithm", ["auto", "lloyd"])
    def test_wherever_it_stopped(self, rows, tmp_path, n_iterations, algorithm):
        path = tmp_path / "fit.checkpoint"
        stopped_after(n_iterations, path, rows, algorithm=algorithm)
        resumed = KMeans.resume(path, rows)
        assert_same_fit(resumed, model(algorithm=algorithm).fit(rows))
        assert resumed.get_params() == model(algorithm=algorithm).get_params()

    @pytest.mark.parametrize(
        "options",
        [
            {"n_init": 3, "init": "random"},
            {"init": "k-means||", "init_rounds": 2},
            {"tol": 1e-3},
            {"rtol": 1e-3},
            {"max_passes": 9},
            {"max_iter": 5},
        ],
        ids=str,
    )
    def test_with_parameters(self, rows, tmp_path, options):
        path = tmp_path / "fit.checkpoint"
        stopped_after(3, path, rows, **options)
        assert_same_fit(KMeans.resume(path, rows), model(**options).fit(rows))

    def test_in_other_chunks_on_any_scheduler(self, rows, tmp_path, scheduler):
        path = tmp_path / "fit.checkpoint"
        expected = model().fit(rows)
        stopped_after(4, path, da.from_array(rows, chunks=(1000, 3)))
        assert_same_fit(KMeans.resume(path, da.from_array(rows, chunks=(613, 7))), expected)

    def test_with_weights(self, rows, tmp_path):
        weights = np.random.default_rng(0).exponential(size=len(rows)) * (np.arange(len(rows)) % 5)
        path = tmp_path / "fit.checkpoint"
        stopped_after(2, path, rows, weights)
        expected = model().fit(rows, sample_weight=weights)
        assert_same_fit(KMeans.resume(path, rows, weights), expected)

    def test_on_rows_of_unknown_number(self, rows, tmp_path):
        lazy = da.from_array(rows, chunks=(500, 7))
        lazy = lazy[lazy[:, 0] > 0]
        path = tmp_path / "fit.checkpoint"
        stopped_after(3, path, lazy)
        assert_same_fit(KMeans.resume(path, lazy), model().fit(rows[rows[:, 0] > 0]))

    def test_from_the_seeds(self, rows, tmp_path):
        """Seeding may have been most of the work: the first checkpoint holds what it found."""
        path = tmp_path / "fit.checkpoint"

        def die(state):
            raise RuntimeError("died")

        with pytest.raises(RuntimeError, match="died"):
            model().fit(rows, checkpoint=path, callback=die, checkpoint_every=1e6)
        with counted_passes() as passes:
            resumed = KMeans.resume(path, rows)
        assert passes["kmeans-survey"] == 1
        assert_same_fit(resumed, model().fit(rows))

    def test_again_and_again(self, rows, tmp_path):
        path = tmp_path / "fit.checkpoint"
        stopped_after(2, path, rows)
        for n_iterations in (3, 5, 11):
            KMeans.resume(path, rows, callback=lambda state, n=n_iterations: state.iteration == n)
        assert_same_fit(KMeans.resume(path, rows), model().fit(rows))

    def test_clock_may_be_another_one(self, rows, tmp_path):
        path = tmp_path / "fit.checkpoint"
        assert model(max_seconds=1e-9).fit(rows, checkpoint=path).stop_reason_ == "max_seconds"
        assert KMeans.resume(path, rows).stop_reason_ == "max_seconds"
        resumed = KMeans.resume(path, rows, max_seconds=600)
        assert_same_fit(resumed, model().fit(rows))

    def test_after_its_end(self, rows, tmp_path):
        path = tmp_path / "fit.checkpoint"
        expected = model().fit(rows, checkpoint=path)
        with counted_passes() as passes:
            assert_same_fit(KMeans.resume(path, rows), expected)
        assert passes["kmeans-assign"] == 0

    def test_from_initial_centers(self, rows, tmp_path):
        path = tmp_path / "fit.checkpoint"
        stopped_after(2, path, rows, init=rows[:23], random_state=np.random.RandomState(0))
        assert_same_fit(KMeans.resume(path, rows), model(init=rows[:23]).fit(rows))

    def test_from_a_url(self, rows):
        url = "memory://daskmeans-test/fit.checkpoint"
        stopped_after(2, url, rows)
        assert_same_fit(KMeans.resume(url, rows), model().fit(rows))
        fsspec.filesystem("memory").rm("/daskmeans-test", recursive=True)


def test_killed_process_is_gone_on_with(rows, tmp_path):
    """SIGKILL in the middle of an iteration, with writing of checkpoints all the time."""
    np.save(tmp_path / "rows.npy", rows)
    path = tmp_path / "fit.checkpoint"
    script = textwrap.dedent(
        """
        import sys, time
        import dask.array as da, numpy as np
        from daskmeans import KMeans

        def slow(block):
            time.sleep(0.01)
            return block

        rows = da.from_array(np.load("rows.npy"), chunks=(500, 7)).map_blocks(slow, dtype=float)
        KMeans(23, random_state=3, tol=0.0, max_iter=60, persist=False).fit(
            rows,
            checkpoint="fit.checkpoint",
            checkpoint_every=0,
            callback=lambda state: print(state.iteration, flush=True),
        )
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if int(line) == 6:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    first = []
    # Read in each pass, as there: changed labels are told of rows in memory alone.
    lazy = da.from_array(rows, chunks=(700, 7)).map_blocks(np.copy)
    resumed = KMeans.resume(path, lazy, callback=lambda state: first.append(state.iteration))
    assert first[0] >= 6
    assert_same_fit(resumed, model(persist=False).fit(lazy))


class TestWriting:
    def test_not_more_often_than_asked_for(self, rows, tmp_path):
        path = tmp_path / "fit.checkpoint"
        written = []

        def look(state):
            written.append(os.stat(path).st_mtime_ns)
            time.sleep(0.002)  # the clock of a file system has steps

        model(max_iter=5).fit(rows, checkpoint=path, callback=look, checkpoint_every=1e6)
        assert len(set(written)) == 1
        written.clear()
        model(max_iter=5).fit(rows, checkpoint=path, callback=look, checkpoint_every=0)
        assert len(set(written)) == 5
        assert os.listdir(tmp_path) == ["fit.checkpoint"]

    def test_answer_is_the_same_with_it(self, rows, tmp_path):
        written = model().fit(rows, checkpoint=tmp_path / "fit.checkpoint", checkpoint_every=0)
        assert_same_fit(written, model().fit(rows))

    def test_fit_that_has_not_ended_is_not_overwritten(self, rows, tmp_path):
        path = tmp_path / "fit.checkpoint"
        stopped_after(2, path, rows)
        before = path.read_bytes()
        with counted_passes() as passes, pytest.raises(OutputExistsError, match="has not ended"):
            model().fit(rows, checkpoint=path)
        assert not passes
        assert path.read_bytes() == before

    def test_file_of_someone_else_is_not_overwritten(self, rows, tmp_path):
        path = tmp_path / "thesis.txt"
        path.write_text("years of work")
        with pytest.raises(OutputExistsError, match="not overwritten"):
            model().fit(rows, checkpoint=path)
        assert path.read_text() == "years of work"

    def test_place_that_cannot_be_written_is_named(self, rows, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="cannot be written"):
            model().fit(rows, checkpoint=tmp_path / "file" / "fit.checkpoint")


class TestRefusals:
    @pytest.fixture
    def saved(self, rows, tmp_path):
        path = tmp_path / "fit.checkpoint"
        stopped_after(2, path, rows)
        return path

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda rows: rows[:-1], "n_rows is 4000, and was 4001"),
            (lambda rows: rows[:, :6], "n_features is 6, and was 7"),
            (lambda rows: rows.astype(np.float32), "dtype is 'float32', and was 'float64'"),
            (lambda rows: rows[::-1], "their values or weights differ"),
            (lambda rows: pd.DataFrame(rows, columns=list("abcdefg")), "feature_names is"),
        ],
    )
    def test_other_rows(self, saved, rows, change, words):
        before = saved.read_bytes()
        with pytest.raises(RowsError, match=words):
            KMeans.resume(saved, change(rows))
        assert saved.read_bytes() == before

    def test_one_other_value(self, saved, rows):
        rows[17, 3] += 1e-9
        with pytest.raises(RowsError, match="their values or weights differ"):
            KMeans.resume(saved, rows)

    def test_weights_where_there_were_none(self, saved, rows):
        with pytest.raises(RowsError, match="weighted is True, and was False"):
            KMeans.resume(saved, rows, np.ones(len(rows)))

    def test_missing(self, rows, tmp_path):
        with pytest.raises(ModelFormatError, match=r"no checkpoint at .*nothing"):
            KMeans.resume(tmp_path / "nothing", rows)

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
    def test_cut_off(self, saved, rows, share):
        content = saved.read_bytes()
        saved.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ModelFormatError, match="damaged"):
            KMeans.resume(saved, rows)

    def test_changed_bytes(self, saved, rows):
        content = bytearray(saved.read_bytes())
        content[len(content) // 2] ^= 1
        saved.write_bytes(content)
        with pytest.raises(ModelFormatError, match="damaged"):
            KMeans.resume(saved, rows)

    @pytest.mark.parametrize(
        ("edit", "words"),
        [
            (lambda described: described.update(format=2), "format 2"),
            (lambda described: described["restarts"][0].pop("n_iter"), "damaged: 'n_iter'"),
            (lambda described: described["parameters"].update(k=3), "parameters"),
            (lambda described: described["parameters"].update(n_clusters=-3), "parameters"),
        ],
    )
    def test_foreign_description(self, saved, rows, edit, words):
        with zipfile.ZipFile(saved) as file:
            members = {name: file.read(name) for name in file.namelist()}
        described = json.loads(members["description.json"])
        edit(described)
        members["description.json"] = json.dumps(described).encode()
        with zipfile.ZipFile(saved, "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
        with pytest.raises(ModelFormatError, match=words):
            KMeans.resume(saved, rows)


def test_log_tells_passes_checkpoints_and_the_end(rows, tmp_path, caplog):
    """Whoever looks into a log of last night sees how far it came, and why it ended."""
    path = tmp_path / "fit.checkpoint"
    with caplog.at_level(logging.DEBUG, "daskmeans"):
        fitted = model(max_iter=3).fit(rows, checkpoint=path, checkpoint_every=0)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    messages = [message for level, message in told if level == "INFO"]
    assert sum(level == "DEBUG" for level, _ in told) == fitted.n_passes_
    assert f"Checkpoint {path} is written, after 4 passes." in messages
    assert messages[-1] == "Fit ended after 3 iterations: max_iter."
