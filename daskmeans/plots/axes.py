"""Where plots are drawn, in which colors, and what they ask of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from daskmeans.algorithms.restarts import IterationRecord
from daskmeans.errors import missing_extra
from daskmeans.estimators.rows import metric_of
from daskmeans.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, which people with color blindness tell apart.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
BLUE, ORANGE = OKABE_ITO[:2]
GRAY = "0.45"


class FittedModel(Protocol):
    """What plots read of a fitted estimator."""

    cluster_centers_: Array
    labels_: Any
    inertia_: float
    history_: list[IterationRecord]
    n_features_in_: int


class Swept(Protocol):
    """What plots read of the result of a sweep."""

    @property
    def n_clusters(self) -> tuple[int, ...]: ...

    @property
    def models(self) -> Mapping[int, FittedModel]: ...

    @property
    def scores(self) -> Mapping[str, Array]: ...

    @property
    def elbow(self) -> int | None: ...


def inertia_label(model: FittedModel) -> str:
    """Return the label of an axis of inertias, with their unit."""
    if metric_of(model) == "cosine":
        return "inertia (sum of cosine distances)"
    return "inertia (squared units of the features)"


def axes_or_new(ax: Axes | None, width: float = 6.4, height: float = 4.8) -> Axes:
    """Return the axes, or those of a new figure of a size in inches.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_extra("matplotlib", "plot", "Drawing a plot") from error
    _, new = plt.subplots(figsize=(width, height), layout="constrained")
    return new


def figure_class(purpose: str) -> type[Figure]:
    """Return matplotlib's class of figures, which draw without pyplot: that may want a display.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed; `purpose` is the subject of its sentence.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "plot", purpose) from error
    return Figure


def short(value: float) -> str:
    """Return a number as a tick or legend has it: few digits, thousands apart.

    Examples
    --------
    >>> short(0.123456), short(1234567.8), short(2.5e12)
    ('0.1235', '1,234,568', '2.5e+12')
    """
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def cluster_colors(n_clusters: int) -> list[Any]:
    """Return a color for each cluster: of Okabe and Ito's while they last, else along viridis."""
    if n_clusters <= len(OKABE_ITO):
        return list(OKABE_ITO[:n_clusters])
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0, 1, n_clusters)))


def names_of_features(model: FittedModel, given: Sequence[str] | None = None) -> list[str]:
    """Return the features' names: those given, those of the fit, or their numbers.

    Raises
    ------
    ValueError
        If there is not one for each feature.
    """
    d = model.n_features_in_
    if given is None:
        fitted = getattr(model, "feature_names_in_", None)
        return [f"feature {j}" for j in range(d)] if fitted is None else list(map(str, fitted))
    if len(given) != d:
        raise ValueError(f"feature_names holds {len(given)} names, and the model has {d} features.")
    return list(map(str, given))
