"""What the commands leave, print and refuse, as a user at a terminal sees it."""

from __future__ import annotations

import gc
import json
import os
import signal
import time
import warnings
import zipfile
from pathlib import Path

import click
import dask
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from click.testing import CliRunner
from distributed import LocalCluster

import daskmeans
from daskmeans import KMeans
from daskmeans.edges import cli_fit, cli_scheduler
from daskmeans.edges.cli import main
from daskmeans.estimators.saving import load


def read(path):
    return np.asarray(zarr.open_array(path, mode="r")[:])


@pytest.fixture
def model(store, run):
    """Name of a model of the store, saved by the command line."""
    run("fit", store, "-k", 4, "--model", "model")
    return "model"


@pytest.fixture
def workers_elsewhere(client):
    """Address of a cluster whose workers run in another folder than the user."""
    client.run(os.chdir, os.sep)
    yield client.scheduler.address
    client.run(os.chdir, str(Path(daskmeans.__file__).parents[1]))


class TestRoundTrip:
    """fit, predict and info give what the Python interface gives."""

    def test_fit_leaves_what_the_estimator_computes(self, store, rows, run):
        output = run(
            "fit", store, "-k", 4, "--labels", "labels.zarr", "--model", "model", "--seed", 7
        )
        expected = KMeans(4, random_state=7).fit(rows)
        loaded = load("model")
        np.testing.assert_array_equal(loaded.cluster_centers_, expected.cluster_centers_)
        np.testing.assert_array_equal(read("labels.zarr"), expected.labels_)
        assert (loaded.inertia_, loaded.n_iter_) == (expected.inertia_, expected.n_iter_)
        assert f"{expected.n_iter_} iterations, " in output
        assert f"passes, inertia {expected.inertia_:.10g} ({expected.stop_reason_})" in output
        assert sorted(os.listdir()) == ["labels.zarr", "model", store]

    def test_options_reach_the_estimator(self, store, run):
        run(
            *("fit", store, "-k", 3, "--model", "model", "--init", "k-means||", "--n-init", 2),
            *("--max-iter", 5, "--tol", 0.25, "--seed", 9, "--metric", "cosine"),
        )
        params = load("model").get_params()
        assert params == {
            **KMeans().get_params(),
            **{"n_clusters": 3, "init": "k-means||", "n_init": 2, "max_iter": 5},
            **{"tol": 0.25, "random_state": 9, "metric": "cosine"},
        }

    def test_predict_labels_as_the_estimator_does(self, store, rows, model, run):
        zarr.create_array("new.zarr", data=rows[::-1] + 0.5, chunks=(70, 3))
        assert "523 labels" in run("predict", model, "new.zarr", "labels.zarr")
        expected = KMeans(4, random_state=0).fit(rows).predict(rows[::-1] + 0.5)
        np.testing.assert_array_equal(read("labels.zarr"), expected)

    def test_array_in_a_group(self, in_folder, rows, run):
        zarr.open_group("field.zarr", mode="w").create_array("wind", data=rows, chunks=(100, 3))
        run("fit", "field.zarr/wind", "-k", 4, "--labels", "field.zarr/labels")
        expected = KMeans(4, random_state=0).fit(rows)
        np.testing.assert_array_equal(read("field.zarr/labels"), expected.labels_)

    def test_info_of_rows_and_of_a_model(self, store, model, run):
        rows_info, model_info = run("info", store), run("info", model)
        for word in ("523", "float64", "(100, 3)"):
            assert word in rows_info
        loaded = load(model)
        for word in ("KMeans", f"{loaded.n_iter_}", f"{loaded.inertia_:.10g}", '"n_clusters": 4'):
            assert word in model_info

    @pytest.mark.parametrize("kind", ["h5", "npy", "csv", "image"])
    def test_other_sources(self, in_folder, rows, run, kind):
        selection = []
        if kind == "h5":
            store = "rows.h5::/deep/rows"
            with h5py.File("rows.h5", "w") as file:
                file["deep/rows"] = rows
        elif kind == "npy":
            store = "rows.npy"
            np.save(store, rows)
        elif kind == "csv":
            store, selection = "rows.csv", ["--columns", "a,b,c"]
            pd.DataFrame({"x": rows[:, 0], **dict(zip("abc", rows.T, strict=True))}).to_csv(
                store, index=False
            )
        else:
            store, selection = "image.zarr", ["--name", "bands", "--feature-axis", 0]
            zarr.create_group(store).create_array("bands", data=rows.T[:, None, :])
        run("fit", store, "-k", 4, "--labels", "labels.zarr", "--model", "model", *selection)
        run("predict", "model", store, "again.zarr", *selection)
        expected = KMeans(4, random_state=0).fit(rows).labels_
        np.testing.assert_array_equal(read("labels.zarr"), expected)
        np.testing.assert_array_equal(read("again.zarr"), expected)
        described = run("info", store, *selection)
        assert ("a, b, c" if kind == "csv" else "523") in described

    @pytest.mark.parametrize("name", ["threads", "processes", "sync"])
    def test_local_schedulers(self, store, rows, name, start):
        """In a process of its own, which is what starts the workers of `processes`."""
        process = start(
            *("fit", store, "-k", 4, "--labels", "labels.zarr", "--scheduler", name),
        )
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        np.testing.assert_array_equal(
            read("labels.zarr"), KMeans(4, random_state=0).fit(rows).labels_
        )
        assert errors == "", "there is no terminal to show progress on"

    def test_cluster(self, store, rows, model, workers_elsewhere, run):
        """Relative paths must reach the workers whole."""
        address = workers_elsewhere
        run(*("fit", store, "-k", 4, "--labels", "one.zarr", "--scheduler", address))
        run(*("predict", model, store, "two.zarr", "--scheduler", address))
        expected = KMeans(4, random_state=0).fit(rows).labels_
        np.testing.assert_array_equal(read("one.zarr"), expected)
        np.testing.assert_array_equal(read("two.zarr"), expected)


class TestRefusals:
    """What is wrong is one line and exit code 1, told before any work."""

    @pytest.fixture(autouse=True)
    def nothing_is_read(self, request, monkeypatch):
        def fail(*_, **__):
            raise AssertionError("work has started")

        monkeypatch.setattr(KMeans, "fit", fail)
        monkeypatch.setattr(cli_fit, "write_zarr", fail)

    def test_missing_store(self, in_folder, fails):
        line = fails("fit", "rows.zarr", "-k", 4, "--model", "model")
        assert "There is nothing at rows.zarr" in line

    def test_group(self, in_folder, fails):
        group = zarr.open_group("field.zarr", mode="w")
        group.create_array("wind", data=np.ones((3, 2)))
        line = fails("fit", "field.zarr", "-k", 2, "--model", "model")
        assert "It holds the arrays wind: give for instance field.zarr/wind" in line

    def test_missing_model(self, store, fails):
        assert "There is no model at model" in fails("predict", "model", store, "labels.zarr")

    @pytest.mark.parametrize("option", ["--labels", "--model"])
    def test_existing_output(self, store, fails, option):
        os.mkdir("output")
        line = fails("fit", store, "-k", 4, option, "output")
        assert (
            "output exists already: choose another name, or pass overwrite=True (--overwrite on"
            in line
        )

    @pytest.mark.parametrize("option", ["--labels", "--model"])
    def test_unwritable_output(self, store, fails, option):
        open("file", "w").close()
        assert "file/output cannot be written" in fails(
            "fit", store, "-k", 4, option, "file/output"
        )

    @pytest.mark.parametrize("option", ["--labels", "--model"])
    def test_overwriting_something_else(self, store, fails, option):
        os.mkdir("photos")
        open("photos/summer.jpg", "w").close()
        line = fails("fit", store, "-k", 4, option, "photos", "--overwrite")
        assert "so it is not overwritten" in line
        assert os.listdir("photos") == ["summer.jpg"]

    @pytest.mark.parametrize("place", ["rows.zarr", "./rows.zarr/labels"])
    def test_labels_in_the_place_of_their_rows(self, store, fails, place):
        """The rows would be gone."""
        line = fails("fit", store, "-k", 4, "--labels", place, "--overwrite")
        assert "cannot be written where rows.zarr is" in line

    def test_labels_and_model_in_one_place(self, store, fails):
        line = fails("fit", store, "-k", 4, "--labels", "out", "--model", "out", "--overwrite")
        assert "out cannot be written where out is" in line


class TestErrors:
    """Errors that come up during the work are one line too."""

    def test_more_clusters_than_rows(self, store, fails):
        line = fails("fit", store, "-k", 524, "--model", "model")
        assert "n_samples=523 should be >= n_clusters=524" in line
        assert os.listdir() == [store]

    def test_not_a_number(self, in_folder, rows, fails):
        rows[345, 1] = np.nan
        zarr.create_array("rows.zarr", data=rows, chunks=(100, 3))
        line = fails("fit", "rows.zarr", "-k", 4, "--model", "model")
        assert "Input X contains NaN: block 3, row 345 " in line
        assert os.listdir() == ["rows.zarr"]

    def test_damaged_chunk(self, damaged, fails):
        line = fails("fit", damaged, "-k", 4, "--model", "model")
        assert "decompression error" in line
        assert "Block 3 (rows 300 to 399) of " in line

    def test_debug_shows_where(self, damaged):
        result = CliRunner().invoke(
            main, ["--debug", "fit", damaged, "-k", "4", "--model", "model"]
        )
        assert isinstance(result.exception.__cause__, RuntimeError)

    def test_rows_of_other_features_than_the_model(self, model, fails):
        zarr.create_array("wide.zarr", data=np.ones((10, 5)))
        line = fails("predict", model, "wide.zarr", "labels.zarr")
        assert "X has 5 features, but KMeans is expecting 3 features as input" in line

    def test_changed_model(self, store, model, fails):
        with zipfile.ZipFile("model") as file:
            members = {name: file.read(name) for name in file.namelist()}
        description = json.loads(members.pop("description.json"))
        with zipfile.ZipFile("model", "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
            file.writestr("description.json", json.dumps({**description, "format": 9}))
        assert "of format 9" in fails("predict", model, store, "labels.zarr")

    def test_warning_is_one_line(self, in_folder):
        zarr.create_array("rows.zarr", data=np.ones((10, 2)))
        with pytest.MonkeyPatch.context() as patch:
            # The tests make errors of warnings, a terminal does not.
            patch.setattr(warnings, "catch_warnings", shown_warnings(warnings))
            result = CliRunner().invoke(main, ["fit", "rows.zarr", "-k", "3", "--model", "model"])
        assert result.exit_code == 0
        (line,) = result.stderr.splitlines()
        assert line.startswith("Warning: Number of distinct clusters (1) found smaller than")


def shown_warnings(warnings):
    """catch_warnings that shows instead of raising."""
    original = warnings.catch_warnings
    return lambda: original(action="default")


class TestCheckpoint:
    FIT = ("fit", "rows.zarr", "-k", 4, "--init", "random", "--tol", 0, "--seed", 5)

    def test_goes_on_to_the_bits_of_a_fit_that_never_stopped(self, store, run):
        run(*self.FIT, "--model", "whole")
        options = ("--checkpoint", "fit.checkpoint", "--resume")
        # Nothing to go on from yet: it begins.
        output = run(*self.FIT, "--model", "model", *options, "--max-seconds", 1e-9)
        assert "0 iterations" in output
        assert output.endswith("(max_seconds)\n")
        output = run(*self.FIT, "--model", "model", *options, "--max-seconds", 60, "--overwrite")
        assert output.endswith("(center shift zero)\n")
        whole, resumed = load("whole"), load("model")
        np.testing.assert_array_equal(resumed.cluster_centers_, whole.cluster_centers_)
        assert resumed.n_iter_ == whole.n_iter_ > 1

    def test_unfinished_fit_is_not_begun_anew_by_mistake(self, store, run, fails):
        options = ("--model", "model", "--checkpoint", "fit.checkpoint")
        run(*self.FIT, *options, "--max-seconds", 1e-9)
        line = fails(*self.FIT, *options, "--overwrite")
        assert "fit.checkpoint holds a fit that has not ended" in line
        assert "--resume" in line

    def test_of_another_number_of_clusters(self, store, run, fails):
        options = ("--model", "model", "--checkpoint", "fit.checkpoint", "--resume")
        run(*self.FIT, *options, "--max-seconds", 1e-9)
        line = fails("fit", store, "-k", 3, *options, "--overwrite")
        assert "fit.checkpoint is of a fit with 4 clusters, and 3 are asked for" in line

    def test_resume_without_one(self, store):
        arguments = ["fit", store, "-k", "4", "--model", "model", "--resume"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert "give --resume a --checkpoint" in result.stderr


class TestSchedulerAddresses:
    @pytest.fixture(autouse=True)
    def no_client_left(self):
        """Let go of clients that did not connect: until then one is the default of later tests."""
        yield
        gc.collect()

    def test_nobody_answers(self, store, fails, monkeypatch):
        monkeypatch.setattr(cli_scheduler, "_CONNECT_SECONDS", 1)
        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            line = fails(
                *("fit", store, "-k", 4, "--model", "model", "--scheduler", "tcp://127.0.0.1:1")
            )
        assert "No dask scheduler answered at tcp://127.0.0.1:1 within 1 s" in line
        assert os.listdir() == [store]

    def test_tls_without_certificates(self, store, fails):
        line = fails(
            *("fit", store, "-k", 4, "--model", "model", "--scheduler", "tls://127.0.0.1:1")
        )
        assert "No dask scheduler answered at tls://127.0.0.1:1" in line

    def test_scheduler_without_workers(self, store, fails, monkeypatch):
        """dask itself would wait for one until the end of time."""
        monkeypatch.setattr(cli_scheduler, "_CONNECT_SECONDS", 1)
        with LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as cluster:
            address = cluster.scheduler_address
            line = fails("fit", store, "-k", 4, "--model", "model", "--scheduler", address)
        assert f"at {address} has no workers: start one with `dask worker {address}`" in line

    def test_other_words(self, store):
        arguments = ["fit", store, "-k", "4", "--model", "model", "--scheduler", "cloud"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert "'cloud' is neither one of threads, processes, sync nor an address" in result.stderr


class TestRunsThatDie:
    """They leave nothing that looks finished, and the old output where there was one."""

    def test_failure_midway_keeps_the_old_output(self, store, model, damaged, run, fails):
        run("predict", model, store, "labels.zarr")
        before = read("labels.zarr")
        zarr.create_array("longer.zarr", data=np.ones((7, 3)))
        arguments = ("predict", model, damaged, "labels.zarr", "--overwrite", "--scheduler", "sync")
        line = fails(*arguments)
        assert " of 6 chunks of labels.zarr are written and kept" in line
        np.testing.assert_array_equal(read("labels.zarr"), before)
        run("predict", model, "longer.zarr", "labels.zarr", "--overwrite")
        assert len(read("labels.zarr")) == 7
        assert sorted(os.listdir()) == sorted([damaged, "labels.zarr", "longer.zarr", model, store])

    def test_killed_run_leaves_no_output(self, store, model, in_folder, start):
        """A chunk that is a pipe nobody writes to holds the run midway for as long as it takes."""
        chunk = in_folder / store / "c" / "3" / "0"
        chunk.unlink()
        os.mkfifo(chunk)
        process = start("predict", model, store, "labels.zarr")
        deadline = time.monotonic() + 60
        while not list(in_folder.glob(".labels.zarr.*.partial/c/*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no chunk was written"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        visible = [name for name in os.listdir() if not name.startswith(".")]
        assert sorted(visible) == [model, store]


class TestHelp:
    def test_every_command_has_an_example_or_says_what_it_leaves(self, run):
        assert run("--version") == f"daskmeans, version {daskmeans.__version__}\n"
        for command in ("fit", "predict", "info"):
            assert f"Example: daskmeans {command}" in run(command, "--help")
        assert "daskmeans-demo" in run("demo", "--help")

    def test_fit_that_would_keep_nothing(self, store):
        result = CliRunner().invoke(main, ["fit", store, "-k", "4"])
        assert result.exit_code == 2
        assert "Nothing to keep: give --labels, --model or both." in result.stderr

    @pytest.mark.parametrize("name", ["labels.csv", "labels.npy", "labels.HDF5"])
    def test_labels_are_not_named_as_another_format(self, store, model, name):
        """A Zarr store of that name would be opened as what it is not."""
        for arguments in (
            ["fit", store, "-k", "4", "--labels", name],
            ["predict", model, store, name],
        ):
            result = CliRunner().invoke(main, [str(part) for part in arguments])
            assert result.exit_code == 2
            assert "give a name such as labels.zarr." in " ".join(result.stderr.split())
            assert not os.path.exists(name)

    @pytest.mark.parametrize("name", sorted(main.commands))
    def test_every_option_has_its_help(self, name):
        command = main.commands[name]
        assert all(p.help for p in command.params if isinstance(p, click.Option))
        # What the list of commands shows is not cut short.
        assert not command.get_short_help_str(60).endswith("...")

    def test_module_runs_as_the_command(self, start, in_folder):
        output, _ = start("--version").communicate(timeout=60)
        assert output == f"daskmeans, version {daskmeans.__version__}\n"
