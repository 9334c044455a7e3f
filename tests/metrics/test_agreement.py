"""Agreement of labellings equals scikit-learn's, from a table that one pass makes."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.cluster import contingency_matrix

from daskmeans import metrics
from daskmeans.errors import RowsError
from tests import strategies
from tests.counting import counted_passes

SCORES = (
    "adjusted_rand_score",
    "adjusted_mutual_info_score",
    "mutual_info_score",
    "normalized_mutual_info_score",
)


@st.composite
def labellings(draw):
    n = draw(st.integers(1, 40))
    most = st.integers(0, draw(st.sampled_from([0, 1, 4])))
    return tuple(np.array(draw(st.lists(most, min_size=n, max_size=n))) for _ in range(2))


@given(both=labellings(), data=st.data())
def test_equals_scikit_learn_in_any_chunking(both, data):
    lazy = [
        da.from_array(labels, chunks=(data.draw(strategies.chunks_of(len(labels))),))
        for labels in both
    ]
    np.testing.assert_array_equal(metrics.contingency_matrix(*lazy), contingency_matrix(*both))
    for name in SCORES:
        wanted = getattr(sklearn.metrics, name)(*both)
        found = getattr(metrics, name)(*lazy)
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12), name
        assert found == getattr(metrics, name)(*both), name


@pytest.mark.parametrize("average", ["arithmetic", "geometric", "min", "max"])
@pytest.mark.parametrize("name", SCORES[1::2])
def test_averages(name, average):
    both = np.random.default_rng(0).integers(0, 5, (2, 1000))
    both[1, :600] = both[0, :600]
    wanted = getattr(sklearn.metrics, name)(*both, average_method=average)
    found = getattr(metrics, name)(*both, average_method=average)
    assert found == pytest.approx(wanted, rel=1e-9)


def test_takes_one_pass_over_both(scheduler):
    labels = da.arange(1000, chunks=90) % 7
    with counted_passes() as passes:
        assert metrics.adjusted_rand_score(labels, labels // 7) < 1
    assert passes.total() == 1


def test_labels_far_apart():
    """More pairs than rows to count them by: rows are sorted instead."""
    both = np.array([[-9_000_000, 5, 5, 9_000_000], [2**24 - 1, 0, 0, -3]])
    found = metrics.contingency_matrix(*(da.from_array(labels, chunks=3) for labels in both))
    np.testing.assert_array_equal(found, contingency_matrix(*both))


def test_text_beside_lazy_labels():
    table = metrics.contingency_matrix(["b", "a", "b"], da.from_array(np.array([-5, 9, 9])))
    assert table.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("labels_true", "labels_pred", "text"),
    [
        ([0, 1], [0, 1, 2], "labels_pred has 3 labels, and there are 2 rows"),
        (da.arange(2), da.arange(3), r"labels_pred.shape == \(3,\), expected \(2,\)"),
        ([], [], "labels_true is empty"),
        ([0.5, 1], da.arange(2) / 2, "labels_pred has dtype float64"),
    ],
)
def test_errors(labels_true, labels_pred, text):
    with pytest.raises(RowsError, match=text):
        metrics.adjusted_rand_score(labels_true, labels_pred)


def test_unknown_average():
    with pytest.raises(ValueError, match="average_method='mean' should be one of arithmetic"):
        metrics.normalized_mutual_info_score([0], [0], average_method="mean")
