"""How a fitted estimator shows itself in notebooks: as in scikit-learn, with what the fit found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask.utils import format_bytes
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from daskmeans.plots.html import Summary


class ShownInNotebooks:
    """Shows what a fit came to beside scikit-learn's box of parameters.

    It stands before `BaseEstimator`, whose representation it adds to: `sklearn.set_config` has its
    say, and what is not fitted is shown by scikit-learn alone.
    """

    def _summary(self) -> Summary:
        raise NotImplementedError

    # scikit-learn 1.6 to 1.9 makes HTML at two places, of which neither calls the other.
    def _repr_html_inner(self) -> str:
        return self._with_summary(super()._repr_html_inner())  # type: ignore[misc]

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if "text/html" in bundle:
            bundle["text/html"] = self._with_summary(bundle["text/html"])
        return bundle

    def _with_summary(self, box: str) -> str:
        from daskmeans.plots.html import beside

        try:
            check_is_fitted(self)
        except NotFittedError:
            return box
        return beside(box, self._summary())


def passes_shown(n_passes: int, bytes_read: int) -> str:
    """Return how often a fit went over the rows, and what it read of them."""
    read = f"{format_bytes(bytes_read)} read" if bytes_read else "rows in memory"
    return f"{n_passes:,} ({read})"
