"""The progress line says what the events said, and says nothing where nobody watches."""

from __future__ import annotations

import io
import re

from daskmeans import KMeans
from daskmeans.edges import progress
from daskmeans.edges.progress import progress_bar


def shown(monkeypatch, rows, *, is_terminal):
    """What a fit writes to standard error, and the model."""
    file = io.StringIO()
    file.isatty = lambda: is_terminal
    monkeypatch.setattr("sys.stderr", file)
    # Every update at once, not ten in a second.
    bar = progress.tqdm
    monkeypatch.setattr(progress, "tqdm", lambda **options: bar(mininterval=0, **options))
    with progress_bar(50):
        model = KMeans(4, random_state=0, max_iter=50).fit(rows)
    return file.getvalue(), model


def test_line_shows_pass_iteration_inertia_and_shift(monkeypatch, rows):
    text, model = shown(monkeypatch, rows, is_terminal=True)
    last = model.history_[-1]
    assert f"{model.n_iter_}/50" in text
    assert "kmeans-assign, 1 blocks" in text
    assert "rows/s=" in text
    assert f"inertia={last.inertia:.6g}" in text
    assert f"shift={last.center_shift:.3g}" in text


def test_first_read_is_announced(monkeypatch, rows):
    """It may take minutes until there is an iteration to count."""
    text, _ = shown(monkeypatch, rows, is_terminal=True)
    assert re.search(r"kmeans-survey, 1 blocks: +0%", text)


def test_log_file_stays_empty(monkeypatch, rows):
    text, _ = shown(monkeypatch, rows, is_terminal=False)
    assert text == ""


def test_notebook_shows_a_bar_without_widgets(monkeypatch, rows):
    """What a notebook shows is no terminal."""
    monkeypatch.setattr(progress, "_IN_NOTEBOOK", True)
    text, model = shown(monkeypatch, rows, is_terminal=False)
    assert f"{model.n_iter_}/50" in text
