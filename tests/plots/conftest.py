"""Plots without a display, closed after each test."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from daskmeans import KMeans, sweep


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    matplotlib.use("agg")

    def show(*_, **__):
        raise AssertionError("a plot was shown")

    monkeypatch.setattr(plt, "show", show)
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def rows():
    """Five blobs, (2003, 3)."""
    generator = np.random.default_rng(2)
    middles = 6 * np.vstack((np.eye(3), -np.eye(3)[:2]))
    return middles[generator.integers(5, size=2003)] + generator.normal(size=(2003, 3))


@pytest.fixture(scope="session")
def model(rows):
    return KMeans(5, random_state=0).fit(rows)


@pytest.fixture(scope="session")
def swept(rows):
    return sweep(rows, range(2, 10), random_state=0)
