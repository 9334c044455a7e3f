"""Constructor parameters, checked by scikit-learn when a fit begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.base import _fit_context

_Fit = TypeVar("_Fit", bound=Callable[..., Any])


def checks_parameters(fit: _Fit) -> _Fit:
    """Check an estimator's parameters by their constraints before its `fit` or `partial_fit`.

    scikit-learn's own decorator. It comes without types, which would make the decorated method's
    parameters and result unknown to a user's type checker.
    """
    checked: _Fit = _fit_context(prefer_skip_nested_validation=True)(fit)
    return checked
