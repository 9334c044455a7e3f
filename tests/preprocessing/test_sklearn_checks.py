"""scikit-learn's own checks of a transformer, all of them, with no failure expected."""

from __future__ import annotations

from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from daskmeans.preprocessing import Preprocessor


@parametrize_with_checks([Preprocessor(), Preprocessor(outliers=9.0, outlier_action="clip")])
def test_scikit_learn_check(estimator, check):
    check(estimator)


def test_checks_were_collected():
    """A release of scikit-learn once collected a single check for an estimator."""
    assert sum(1 for _ in estimator_checks_generator(Preprocessor())) > 40
