"""Where the inertia stops falling fast."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from daskmeans import sweep
from daskmeans.algorithms.elbow import elbow
from daskmeans.errors import MissingExtraError


@pytest.mark.parametrize("k", range(3, 13))
def test_corner_of_the_logarithm(k):
    """Each missing cluster halves the inertia, each one too many takes a hundredth."""
    counts = range(2, 17)
    inertias = np.array([0.5 ** min(j, k) * 0.99 ** max(0, j - k) for j in counts])
    assert elbow(counts, inertias) == k


@pytest.mark.parametrize("k", range(3, 13))
def test_is_the_number_of_blobs_that_lie_apart(k):
    """Ten seeds of each number by `benchmarks/sweep.py`; one of each here."""
    generator = np.random.default_rng((7, k))
    centers: list[np.ndarray] = []
    while len(centers) < k:
        drawn = generator.uniform(-15, 15, 4)
        if all(np.linalg.norm(drawn - other) > 8 for other in centers):
            centers.append(drawn)
    rows = np.array(centers)[generator.integers(k, size=1500)] + generator.normal(size=(1500, 4))
    assert sweep(rows, range(2, 18), n_init=3, random_state=0).elbow == k


def test_numbers_may_have_gaps():
    assert elbow([2, 5, 8, 20, 30], np.array([100.0, 40.0, 1.0, 0.9, 0.8])) == 8


def test_inertia_zero_has_a_place():
    assert elbow([1, 2, 3, 4, 5], np.array([9.0, 8.0, 0.0, 0.0, 0.0])) == 3


@pytest.mark.parametrize(
    "inertias", [[3.0], [3.0, 1.0], [2.0, 2.0, 2.0, 2.0], [16.0, 8.0, 4.0, 2.0, 1.0]]
)
def test_no_elbow(inertias):
    assert elbow(range(1, 1 + len(inertias)), np.array(inertias)) is None


def test_missing_kneed_is_told_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "kneed", None)
    with pytest.raises(MissingExtraError, match=r"kneed.*daskmeans\[sweep\]"):
        elbow([1, 2, 3], np.array([3.0, 1.0, 0.9]))
