"""scikit-learn's own checks of an estimator, all of them, with no failure expected."""

from __future__ import annotations

import warnings

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from daskmeans import BisectingKMeans, KMeans, MiniBatchKMeans


@parametrize_with_checks(
    [KMeans(), KMeans(algorithm="elkan"), MiniBatchKMeans(), BisectingKMeans()]
)
def test_scikit_learn_check(estimator, check):
    with warnings.catch_warnings():
        # Checks fit data of fewer distinct points than clusters, and data without names.
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("estimator", [KMeans(), MiniBatchKMeans()])
def test_checks_were_collected(estimator):
    """A release of scikit-learn once collected a single check for an estimator."""
    assert sum(1 for _ in estimator_checks_generator(estimator)) > 40
