"""The progress line says what the events said, and says nothing where nobody watches."""

from __future__ import annotations

import io
import re
import warnings

import dask
import dask.array as da
import numpy as np
import pytest

from daskmeans import BisectingKMeans, KMeans, MiniBatchKMeans, write_zarr
from daskmeans.edges import progress
from daskmeans.edges.progress import progress_bar
from daskmeans.errors import RowsError
from daskmeans.passes.events import IterationStarted, observing


@pytest.fixture
def screen(monkeypatch):
    """What is written to standard error, a terminal on which nothing is too quick to be drawn."""
    file = io.StringIO()
    file.isatty = lambda: True
    file.n_columns = None
    bar = progress.tqdm

    class EveryTime(bar):
        def __init__(self, **options):
            # Now, since pytest puts a file of its own there after all fixtures are made.
            monkeypatch.setattr("sys.stderr", file)
            super().__init__(mininterval=0, ncols=file.n_columns, **options)

    monkeypatch.setattr(progress, "tqdm", EveryTime)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    return file


def lines(screen):
    """The lines that one saw, each over the one before."""
    return [line.rstrip() for line in screen.getvalue().split("\r") if line.strip()]


def blocks_of(rows):
    """The rows in four blocks, the last of which has one row less."""
    return da.from_array(rows, chunks=(-(-len(rows) // 4), rows.shape[1])).map_blocks(np.array)


def assert_cleared(screen):
    """Nothing is left of the line: what comes next begins at the left of an empty one."""
    assert re.search(r"\r *\r$", screen.getvalue())


def test_line_shows_stage_iteration_inertia_and_shift(screen, rows, monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 3600.0)
    with progress_bar():
        model = KMeans(4, random_state=0, max_iter=50).fit(rows)
    drawn = lines(screen)
    last = model.history_[-1]
    said = f"iteration {model.n_iter_}/50, center shift {last.center_shift:.2g}, "
    assert any(line.startswith(said) and "rows/s" in line for line in drawn)
    assert any(f"inertia {last.inertia:.6g}" in line for line in drawn)
    stages = [re.match(r"[a-z]+", line)[0] for line in drawn]
    assert list(dict.fromkeys(stages)) == ["starting", "survey", "seeding", "iteration", "labels"]
    assert_cleared(screen)


def test_line_shows_how_far_a_pass_is(screen, rows):
    with progress_bar(), dask.config.set(scheduler="sync"):
        KMeans(4, random_state=0, max_iter=2, tol=0, persist=False).fit(blocks_of(rows))
    drawn = lines(screen)
    for stage in ("survey", "iteration 1/2", "iteration 2/2", "labels"):
        said = [
            re.search(r"(\d+)% of the rows \|.*\| \d.*B/s", line)
            for line in drawn
            if line.startswith(stage) and "%" in line
        ]
        # Each block, and once more where an event without news came.
        assert list(dict.fromkeys(int(found[1]) for found in said)) == [25, 50, 75, 100]
    # In one line with the way that the centers went.
    assert any(re.match(r"iteration 2/2, center shift [\d.e+-]+, 50% of", line) for line in drawn)


def test_blocks_are_said_where_rows_are_unknown(screen, rows):
    given = blocks_of(rows)[da.ones(len(rows), chunks=-(-len(rows) // 4), dtype=bool)]
    with progress_bar():
        KMeans(4, random_state=0, max_iter=1).fit(given)
    said = [line for line in lines(screen) if line.startswith("survey, 100% of the")]
    assert said[0].startswith("survey, 100% of the blocks")


def test_other_fits_are_named_in_plain_words(screen, rows, tmp_path):
    blocks = blocks_of(rows)
    with progress_bar():
        KMeans(4, init="k-means||", random_state=0, max_iter=2).fit(blocks)
        model = MiniBatchKMeans(4, random_state=0, max_iter=2).fit(blocks)
        BisectingKMeans(3, random_state=0, max_iter=2).fit(blocks)
        write_zarr(model.predict(blocks), tmp_path / "labels.zarr")
    text = re.sub(r"center shift [\d.e+-]+, ", "", screen.getvalue())
    assert "kmeans-" not in text
    for said in (
        "seeding, 100% of the rows",
        "epoch 1/2, 100% of the rows",
        "epoch 2/2, 100% of the rows",
        "splitting, iteration 1/2, 100% of the rows",
        "writing, 100% of the blocks",
    ):
        assert said in text


def test_epochs_show_shift_and_inertia_of_the_last_step(screen, rows):
    with progress_bar(), dask.config.set(scheduler="sync"):
        KMeans(4, random_state=0, max_iter=2).fit(rows)
        before = len(lines(screen))
        model = MiniBatchKMeans(4, random_state=0, max_iter=3, batch_size=25, tol=0.0)
        model.fit(blocks_of(rows))
    drawn = lines(screen)[before:]
    # Nothing of the fit before.
    assert any(line.startswith("epoch 1/3, 25%") for line in drawn)
    for record in model.history_[:-1]:
        shift = f", center shift {record.center_shift:.2g}, "
        inertia = f"inertia {record.smoothed_inertia:.6g} a row"
        assert any(shift in line and inertia in line for line in drawn), record


@pytest.mark.parametrize("name", ["sync", "threads-3", "processes", "cluster"])
def test_writing_tells_of_each_chunk(screen, rows, run_under, tmp_path, name):
    labels = KMeans(4, random_state=0).fit(rows).predict(blocks_of(rows))
    with run_under(name), progress_bar():
        write_zarr(labels, tmp_path / "labels.zarr")
    said = [
        int(found[1])
        for line in lines(screen)
        if (found := re.match(r"writing, (\d+)% of the blocks", line))
    ]
    assert said == sorted(said)
    assert said[-1] == 100
    assert set(said) <= {25, 50, 75, 100}
    if name == "sync":
        assert set(said) == {25, 50, 75, 100}


def test_most_iterations_can_be_said(screen, rows):
    with progress_bar(7):
        KMeans(4, random_state=0, max_iter=50).fit(rows)
    assert any(line.startswith("iteration 1/7") for line in lines(screen))


def test_narrow_terminal_is_not_overrun(screen, rows):
    """A line that is too long would go on in the next one, and stay there."""
    screen.n_columns = 39
    with progress_bar():
        KMeans(4, random_state=0, max_iter=5).fit(rows)
        KMeans(4, random_state=0, max_iter=5).fit(blocks_of(rows))
    assert max(map(len, lines(screen))) == 39


def test_error_leaves_no_line_behind(screen, rows):
    spoilt = rows.copy()
    spoilt[-1, 0] = np.nan
    with dask.config.set(scheduler="sync"), pytest.raises(RowsError, match="NaN"), progress_bar():
        KMeans(4, random_state=0, persist=False).fit(blocks_of(spoilt))
    assert "75% of the rows" in screen.getvalue()
    assert_cleared(screen)


def interrupting(iteration):
    """Observer that is Ctrl-C as an iteration begins."""

    def interrupt(event):
        if event == IterationStarted(iteration, 50):
            raise KeyboardInterrupt

    return observing(interrupt)


def test_interrupt_leaves_no_line_behind(screen, rows):
    def show(message, *_):
        screen.write(f"{message}\n")

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        # pytest would keep it.
        warnings.showwarning = show
        with progress_bar(), interrupting(2):
            model = KMeans(4, random_state=0, max_iter=50, tol=0).fit(rows)
        assert warnings.showwarning is show
    assert model.stop_reason_ == "interrupted"
    text = screen.getvalue()
    # The warning has a line of its own.
    assert re.search(r"\r *\rThe fit was interrupted", text)
    assert_cleared(screen)


def test_interrupt_before_any_iteration_leaves_no_line_behind(screen, rows):
    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress_bar(), observing(interrupt):
        KMeans(4, random_state=0).fit(rows)
    assert_cleared(screen)


def test_log_file_stays_empty(screen, rows):
    screen.isatty = lambda: False
    with progress_bar():
        KMeans(4, random_state=0).fit(rows)
    assert screen.getvalue() == ""


def test_notebook_shows_a_bar_without_widgets(screen, rows, monkeypatch):
    """What a notebook shows is no terminal."""
    screen.isatty = lambda: False
    monkeypatch.setattr(progress, "_IN_NOTEBOOK", True)
    with progress_bar():
        model = KMeans(4, random_state=0).fit(rows)
    assert f"iteration {model.n_iter_}/300" in screen.getvalue()
