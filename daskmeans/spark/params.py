"""The parameters that the Spark estimator and its model have, by the names of pyspark.ml."""

from __future__ import annotations

from typing import Any, TypeVar

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasDistanceMeasure,
    HasFeaturesCol,
    HasMaxIter,
    HasPredictionCol,
    HasSeed,
    HasTol,
    HasWeightCol,
)

from daskmeans.blocks.spark_rows import SparkRows, spark_rows

INIT_MODES = ("k-means||", "random", "k-means++", "refined", "auto")
DISTANCE_MEASURES = ("euclidean", "cosine")

Self = TypeVar("Self", bound="KMeansParams")


class KMeansParams(
    HasMaxIter,
    HasFeaturesCol,
    HasSeed,
    HasPredictionCol,
    HasTol,
    HasDistanceMeasure,
    HasWeightCol,
):
    """Parameters of `KMeans` and `KMeansModel`."""

    k: Param[int] = Param(
        Params._dummy(), "k", "The number of clusters (>= 1).", TypeConverters.toInt
    )
    initMode: Param[str] = Param(
        Params._dummy(),
        "initMode",
        f"How initial centers are made: {', '.join(INIT_MODES)}.",
        TypeConverters.toString,
    )
    initSteps: Param[int] = Param(
        Params._dummy(), "initSteps", "The rounds of k-means|| (>= 1).", TypeConverters.toInt
    )
    featuresCols: Param[list[str]] = Param(
        Params._dummy(),
        "featuresCols",
        "Columns of numbers, or of text to be cast to numbers, in place of featuresCol.",
        TypeConverters.toListString,
    )
    idCol: Param[str] = Param(
        Params._dummy(),
        "idCol",
        "Values by which rows are sorted, each one once: draws are then those of that order.",
        TypeConverters.toString,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(
            k=2,
            initMode="k-means||",
            initSteps=2,
            tol=1e-4,
            maxIter=20,
            distanceMeasure="euclidean",
            # pyspark's own default is the hash of a text, which differs from process to process.
            seed=0,
        )

    def getK(self) -> int:
        """Return `k`."""
        return int(self.getOrDefault(self.k))

    def getInitMode(self) -> str:
        """Return `initMode`."""
        return str(self.getOrDefault(self.initMode))

    def getInitSteps(self) -> int:
        """Return `initSteps`."""
        return int(self.getOrDefault(self.initSteps))

    def getFeaturesCols(self) -> list[str]:
        """Return `featuresCols`; an empty list where they are not set."""
        return list(self.getOrDefault(self.featuresCols)) if self._has(self.featuresCols) else []

    def getIdCol(self) -> str | None:
        """Return `idCol`; None where it is not set."""
        return str(self.getOrDefault(self.idCol)) if self._has(self.idCol) else None

    def _has(self, param: Param[Any]) -> bool:
        return bool(self.isDefined(param) and self.getOrDefault(param))

    def _rows(self, dataset: Any, *, fitting: bool) -> SparkRows:
        """Return the columns of a DataFrame that the parameters mean."""
        features: str | list[str] = self.getFeaturesCols() or self.getFeaturesCol()
        if not fitting:
            return spark_rows(dataset, features)
        weight = self.getWeightCol() if self._has(self.weightCol) else None
        return spark_rows(dataset, features, weight=weight, id=self.getIdCol())

    def _check(self) -> None:
        """Raise ValueError for parameters that a fit cannot take."""
        for param, least in ((self.k, 1), (self.maxIter, 1), (self.initSteps, 1), (self.tol, 0)):
            value = self.getOrDefault(param)
            if value < least:
                raise ValueError(f"{param.name}={value} has to be at least {least}.")
        for param, known in (
            (self.initMode, INIT_MODES),
            (self.distanceMeasure, DISTANCE_MEASURES),
        ):
            value = self.getOrDefault(param)
            if value not in known:
                raise ValueError(
                    f"{param.name}={value!r} is not known; known are {', '.join(map(repr, known))}."
                )
