"""Fits that are ended early: by a callback, by the clock, by Ctrl-C. Each leaves a usable model."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import dask
import dask.array as da
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from daskmeans import IterationState, KMeans
from daskmeans.passes.events import IterationEnded, PassStarted, observing


@pytest.fixture
def rows():
    """Rows (3001, 4) without clusters, which take many iterations."""
    return np.random.default_rng(3).uniform(-3, 5, (3001, 4))


def model(**options):
    return KMeans(**{"n_clusters": 12, "random_state": 3, "tol": 0.0, "n_init": 1} | options)


class TestCallback:
    def test_is_told_of_each_iteration(self, rows):
        told = []
        fitted = model().fit(rows, callback=told.append)
        assert [state.iteration for state in told] == list(range(1, fitted.n_iter_ + 1))
        assert all(isinstance(state, IterationState) for state in told)
        assert [state.inertia for state in told] == [each.inertia for each in fitted.history_]
        assert [s.center_shift for s in told] == [each.center_shift for each in fitted.history_]
        np.testing.assert_array_equal(told[-1].centers, fitted.cluster_centers_)
        seconds = [state.seconds for state in told]
        assert seconds == sorted(seconds)
        assert [state.n_running for state in told] == [1] * (len(told) - 1) + [0]
        assert fitted.converged_

    def test_true_ends_the_fit(self, rows, scheduler):
        fitted = model().fit(
            da.from_array(rows, chunks=(500, 4)), callback=lambda s: s.iteration == 4
        )
        assert (fitted.n_iter_, fitted.stop_reason_, fitted.converged_) == (4, "callback", False)
        # The same as far as it went, and measured as any other fit.
        expected = model(max_iter=4).fit(rows)
        np.testing.assert_array_equal(fitted.cluster_centers_, expected.cluster_centers_)
        assert fitted.inertia_ == expected.inertia_
        np.testing.assert_array_equal(np.asarray(fitted.labels_), expected.labels_)

    def test_cannot_change_the_fit(self, rows):
        def spoil(state):
            state.centers[:] = 0

        fitted = model().fit(rows, callback=spoil)
        np.testing.assert_array_equal(fitted.cluster_centers_, model().fit(rows).cluster_centers_)

    def test_its_errors_are_the_users(self, rows):
        def fail(state):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            model().fit(rows, callback=fail)

    def test_of_restarts_the_best_one_is_told(self, rows):
        told = []
        fitted = model(n_init=4, init="random").fit(rows, callback=told.append)
        assert told[0].n_running == 4
        assert told[0].inertia <= fitted.history_[0].inertia


class TestSeconds:
    def test_no_iteration_is_begun_after_them(self, rows):
        fitted = model(max_seconds=0.2).fit(rows, callback=lambda _: time.sleep(0.11))
        assert fitted.n_iter_ == 2
        assert (fitted.stop_reason_, fitted.converged_) == ("max_seconds", False)
        assert fitted.inertia_ == -fitted.score(rows)

    def test_enough_of_them_change_nothing(self, rows):
        fitted, expected = model(max_seconds=600).fit(rows), model().fit(rows)
        np.testing.assert_array_equal(fitted.cluster_centers_, expected.cluster_centers_)
        assert fitted.stop_reason_ == expected.stop_reason_

    @pytest.mark.parametrize("seconds", [0, -1.0, "5"])
    def test_nonsense(self, rows, seconds):
        with pytest.raises(ValueError, match="max_seconds"):
            model(max_seconds=seconds).fit(rows)


def interrupting(after):
    """Observer that sends this process SIGINT in the middle of the iteration after some."""
    ended = []

    def observe(event):
        if isinstance(event, IterationEnded):
            ended.append(event)
        if isinstance(event, PassStarted) and len(ended) == after:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    return observe


class TestInterrupted:
    @pytest.mark.parametrize("name", ["threads-3", "sync", "cluster"])
    def test_model_is_that_of_the_last_whole_iteration(self, rows, run_under, name):
        def slowly(block):
            time.sleep(0.1)
            return block

        lazy = da.from_array(rows, chunks=(500, 4)).map_blocks(slowly, dtype=rows.dtype)
        with (
            run_under(name),
            observing(interrupting(after=3)),
            pytest.warns(ConvergenceWarning, match="interrupted: centers are those of iteration 3"),
        ):
            fitted = model(persist=False).fit(lazy)
        expected = model(max_iter=3).fit(rows)
        np.testing.assert_array_equal(fitted.cluster_centers_, expected.cluster_centers_)
        assert (fitted.n_iter_, fitted.stop_reason_, fitted.converged_) == (3, "interrupted", False)
        assert fitted.inertia_ == fitted.history_[-1].inertia
        with run_under(name):
            np.testing.assert_array_equal(fitted.predict(rows), expected.labels_)

    def test_what_is_queued_on_a_cluster_is_cancelled(self, rows, client):
        def slowly(block):
            time.sleep(0.2)
            return block

        lazy = da.from_array(rows, chunks=(20, 4)).map_blocks(slowly, dtype=rows.dtype)

        def tasks():
            return client.run_on_scheduler(
                lambda dask_scheduler: {
                    key for key in map(str, dask_scheduler.tasks) if "kmeans" in key
                }
            )

        # Other tests share the cluster.
        before = tasks()
        with (
            dask.config.set(scheduler=client),
            observing(interrupting(after=0)),
            pytest.raises(KeyboardInterrupt),
        ):
            model(persist=False, init=rows[:12]).fit(lazy)
        gc.collect()
        deadline = time.monotonic() + 10
        while left := tasks() - before:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)

    def test_ctrl_c_in_a_terminal(self, tmp_path):
        """The process goes on after the fit, and ends without threads that hold it up."""
        script = textwrap.dedent(
            """
            import json, time, warnings
            import dask.array as da, numpy as np
            from daskmeans import KMeans

            def slow(block):
                time.sleep(0.05)
                return block

            warnings.simplefilter("ignore")
            rows = np.random.default_rng(3).uniform(-3, 5, (3000, 4))
            lazy = da.from_array(rows, chunks=(100, 4)).map_blocks(slow, dtype=float)
            model = KMeans(12, random_state=3, tol=0.0, n_init=1, persist=False)
            model.fit(lazy, callback=lambda state: print("at", state.iteration, flush=True))
            same = KMeans(12, random_state=3, tol=0.0, n_init=1, max_iter=model.n_iter_).fit(rows)
            print(json.dumps([model.stop_reason_, model.n_iter_,
                              bool((same.cluster_centers_ == model.cluster_centers_).all())]))
            """
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for line in process.stdout:
            if line == "at 2\n":
                break
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        reason, n_iter, same = json.loads(rest.splitlines()[-1])
        assert reason == "interrupted"
        assert 2 <= n_iter < 10
        assert same
