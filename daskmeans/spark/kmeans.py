"""KMeans for Spark: pyspark.ml's conventions around `daskmeans.KMeans`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pyspark import keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.linalg import SparseVector
from pyspark.ml.param import Param
from pyspark.ml.util import (
    DefaultParamsReadable,
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql.functions import col
from sklearn.utils.validation import check_is_fitted

from daskmeans.algorithms.rowwise import label_rows
from daskmeans.algorithms.rowwise_spark import with_column
from daskmeans.algorithms.stop_reasons import CALLBACK, TOLERANCE
from daskmeans.algorithms.watch import IterationState
from daskmeans.blocks.block import make_block
from daskmeans.errors import ModelFormatError, RowsError
from daskmeans.estimators import kmeans as in_process
from daskmeans.estimators.fitted_centers import FittedCenters
from daskmeans.estimators.saving import load
from daskmeans.kernels.csr import AnyRows, CSRRows
from daskmeans.spark.params import KMeansParams
from daskmeans.typing import Array, Metric

# Beyond it, a seed of pyspark.ml has bits that NumPy's generator does not take.
_SEED_BITS = 32


class CentersStay:
    """Spark's rule for the end of iterations: no center moved farther than `tol`.

    Parameters
    ----------
    tol : float
        A distance.
    metric : {"euclidean", "cosine"}
        Whose distance. The cosine distance of centers of length 1 is half of the squared Euclidean.
    """

    def __init__(self, tol: float, metric: Metric = "euclidean") -> None:
        self._sq_distance = 2 * tol if metric == "cosine" else tol**2
        self._centers: Array | None = None

    def __call__(self, state: IterationState) -> bool:
        before, self._centers = self._centers, state.centers
        if before is None:
            # Initial centers are not told of: the sum of all shifts stands for the largest one.
            farthest = state.center_shift
        else:
            farthest = float(((state.centers - before) ** 2).sum(axis=1).max())
        return farthest <= self._sq_distance


class KMeans(KMeansParams, Estimator, DefaultParamsWritable, DefaultParamsReadable):
    """K-means for Spark DataFrames: `pyspark.ml.clustering.KMeans` on the kernels of this package.

    Rows are converted once, to numbers that Spark keeps in memory and on disk. Where there is room,
    tasks of one job hold them while passes come, and no iteration is a job of its own. The same
    rows in the same order with the same seed give, to the bit, the centers of `daskmeans.KMeans` on
    any dask scheduler.

    Parameters
    ----------
    featuresCol : str, default="features"
        A column of MLlib vectors, or of arrays of numbers. Sparse vectors stay sparse, and dense
        ones among them are taken as sparse ones with all values stored. `array<float>` takes half
        the memory and time of dense vectors, which are of doubles.
    featuresCols : list of str, optional
        Columns of numbers in its place. Columns of text are cast.
    predictionCol : str, default="prediction"
    k : int, default=2
        Number of clusters. There are as many centers in any case: where fewer rows differ, some are
        the same.
    initMode : {"k-means||", "random", "k-means++", "refined", "auto"}, default="k-means||"
        See `init` of `daskmeans.KMeans`; one start, as in MLlib.
    initSteps : int, default=2
        Rounds of "k-means||".
    tol : float, default=1e-4
        As in MLlib: iterations stop once no center moves farther than this distance, by
        `distanceMeasure`. (`tol` of `daskmeans.KMeans` is relative to the variance of the columns,
        as in scikit-learn.)
    maxIter : int, default=20
    seed : int, default=0
        Determines seeding, by its lower 32 bits.
    distanceMeasure : {"euclidean", "cosine"}, default="euclidean"
        See `metric` of `daskmeans.KMeans`.
    weightCol : str, optional
        Non-negative weights. Weight 2 counts as the row given twice.
    idCol : str, optional
        Values by which rows are sorted, each one once. Draws are keyed by the numbers of the rows,
        and Spark fixes no order of rows: without it they are numbered partition by partition, which
        is the same each time for a DataFrame read from files, but not after a shuffle (`groupBy`,
        `join`, `repartition`). Where Spark then computes a lost partition again, the fit may fail.

    Notes
    -----
    `k`, `maxIter` and the others are `Param`s, with getters and setters; parameters of a call of
    `fit(dataset, params)` come first. solver, maxBlockSizeInMB and intermediateStorageLevel of
    MLlib have no counterpart.

    Examples
    --------
    >>> from pyspark.sql import SparkSession  # doctest: +SKIP
    >>> spark = SparkSession.builder.getOrCreate()  # doctest: +SKIP
    >>> rows = [([0.0, 0.0],), ([1.0, 1.0],), ([9.0, 8.0],), ([8.0, 9.0],)]  # doctest: +SKIP
    >>> table = spark.createDataFrame(rows, "features array<float>")  # doctest: +SKIP
    >>> model = KMeans(k=2).fit(table)  # doctest: +SKIP
    >>> [center.tolist() for center in model.clusterCenters()]  # doctest: +SKIP
    [[0.5, 0.5], [8.5, 8.5]]
    """

    @keyword_only
    def __init__(
        self,
        *,
        featuresCol: str = "features",
        predictionCol: str = "prediction",
        k: int = 2,
        initMode: str = "k-means||",
        initSteps: int = 2,
        tol: float = 1e-4,
        maxIter: int = 20,
        seed: int | None = None,
        distanceMeasure: str = "euclidean",
        weightCol: str | None = None,
        featuresCols: list[str] | None = None,
        idCol: str | None = None,
    ) -> None:
        super().__init__()
        self._set(**self._input_kwargs)

    @keyword_only
    def setParams(self, **kwargs: Any) -> KMeans:
        """Set any of the parameters of the constructor."""
        self._set(**self._input_kwargs)
        return self

    def setK(self, value: int) -> KMeans:
        """Set `k`."""
        return self._with(self.k, value)

    def setInitMode(self, value: str) -> KMeans:
        """Set `initMode`."""
        return self._with(self.initMode, value)

    def setInitSteps(self, value: int) -> KMeans:
        """Set `initSteps`."""
        return self._with(self.initSteps, value)

    def setDistanceMeasure(self, value: str) -> KMeans:
        """Set `distanceMeasure`."""
        return self._with(self.distanceMeasure, value)

    def setMaxIter(self, value: int) -> KMeans:
        """Set `maxIter`."""
        return self._with(self.maxIter, value)

    def setTol(self, value: float) -> KMeans:
        """Set `tol`."""
        return self._with(self.tol, value)

    def setSeed(self, value: int) -> KMeans:
        """Set `seed`."""
        return self._with(self.seed, value)

    def setFeaturesCol(self, value: str) -> KMeans:
        """Set `featuresCol`."""
        return self._with(self.featuresCol, value)

    def setFeaturesCols(self, value: list[str]) -> KMeans:
        """Set `featuresCols`."""
        return self._with(self.featuresCols, value)

    def setPredictionCol(self, value: str) -> KMeans:
        """Set `predictionCol`."""
        return self._with(self.predictionCol, value)

    def setWeightCol(self, value: str) -> KMeans:
        """Set `weightCol`."""
        return self._with(self.weightCol, value)

    def setIdCol(self, value: str) -> KMeans:
        """Set `idCol`."""
        return self._with(self.idCol, value)

    def _with(self, param: Param[Any], value: Any) -> KMeans:
        self._set(**{param.name: value})
        return self

    def _fit(self, dataset: Any) -> KMeansModel:
        self._check()
        metric: Metric = self.getDistanceMeasure()
        fitted = in_process.KMeans(
            self.getK(),
            init=self.getInitMode(),
            n_init="auto" if self.getInitMode() in ("refined", "auto") else 1,
            init_rounds=self.getInitSteps(),
            max_iter=self.getMaxIter(),
            tol=0.0,
            random_state=self.getSeed() % 2**_SEED_BITS,
            metric=metric,
        ).fit(self._rows(dataset, fitting=True), callback=CentersStay(self.getTol(), metric))
        if fitted.stop_reason_ == CALLBACK:
            fitted.stop_reason_ = TOLERANCE
        model = self._copyValues(KMeansModel(fitted))
        model._summary = KMeansSummary(model, model.transform(dataset))
        return model


class KMeansModel(KMeansParams, Model, MLWritable, MLReadable):
    """What `KMeans` fits: a transformer that adds a column of labels.

    Parameters
    ----------
    fitted : daskmeans.KMeans, MiniBatchKMeans or BisectingKMeans
    """

    def __init__(self, fitted: FittedCenters) -> None:
        super().__init__()
        self._fitted = fitted
        self._summary: KMeansSummary | None = None
        self._set(k=len(fitted.cluster_centers_), distanceMeasure=fitted.metric)

    @classmethod
    def fromDaskmeans(cls, fitted: FittedCenters) -> KMeansModel:
        """Return a model of Spark for a model of this package that was fitted anywhere.

        Columns of a fit to a DataFrame are set as `featuresCols`; else `featuresCol` is meant.

        Parameters
        ----------
        fitted : daskmeans.KMeans, MiniBatchKMeans or BisectingKMeans

        Raises
        ------
        NotFittedError
        """
        check_is_fitted(fitted)
        model = cls(fitted)
        names = getattr(fitted, "feature_names_in_", None)
        if names is not None:
            model._set(featuresCols=[str(name) for name in names])
        return model

    def toDaskmeans(self) -> FittedCenters:
        """Return the same model as one of this package, for rows of any kind that it takes.

        It is a `daskmeans.KMeans`, whose `labels_` are the DataFrame that was fitted to, with a
        column more; or what `fromDaskmeans` was given.
        """
        return self._fitted

    def clusterCenters(self) -> list[Array]:
        """Return the centers, k arrays of shape (d,), float64."""
        return [center.copy() for center in self._fitted.cluster_centers_]

    def predict(self, value: Any) -> int:
        """Return the label of a single vector, sparse or not, or array of numbers, of length d."""
        d = self._fitted.n_features_in_
        rows: AnyRows
        if isinstance(value, SparseVector):
            ends = np.array([0, len(value.values)], np.int64)
            rows = CSRRows(value.values, value.indices, ends, value.size)
        else:
            rows = np.asarray(value.toArray() if hasattr(value, "toArray") else value)[None]
        if rows.shape != (1, d):
            raise RowsError(f"The vector has shape {rows.shape[1:]}, expected ({d},).")
        centers = self._fitted._center_set()
        block = make_block(0, 0, [rows], None, d, divide=self._fitted.metric == "cosine")
        return int(centers.label(block)[0])

    def setFeaturesCol(self, value: str) -> KMeansModel:
        """Set `featuresCol`."""
        self._set(featuresCol=value)
        return self

    def setFeaturesCols(self, value: list[str]) -> KMeansModel:
        """Set `featuresCols`."""
        self._set(featuresCols=value)
        return self

    def setPredictionCol(self, value: str) -> KMeansModel:
        """Set `predictionCol`."""
        self._set(predictionCol=value)
        return self

    def _transform(self, dataset: Any) -> Any:
        rows = self._rows(dataset, fitting=False)
        if rows.named and len(rows.features) != self._fitted.n_features_in_:
            raise RowsError(
                f"{len(rows.features)} columns are given, and the model has centers of "
                f"{self._fitted.n_features_in_} numbers."
            )
        centers = self._fitted._center_set()
        return with_column(rows, label_rows, centers, self.getPredictionCol(), self._fitted.metric)

    @property
    def hasSummary(self) -> bool:
        """Whether there is a summary: not for a model that was loaded or converted."""
        return self._summary is not None

    @property
    def summary(self) -> KMeansSummary:
        """What the fit came to.

        Raises
        ------
        RuntimeError
            If there is none.
        """
        if self._summary is None:
            raise RuntimeError(
                "No training summary available for this KMeansModel: it was loaded or converted."
            )
        return self._summary

    def copy(self, extra: Any = None) -> KMeansModel:
        """Return a copy with the same centers, and the parameters of `extra`."""
        copied: KMeansModel = super().copy(extra)
        return copied

    def write(self) -> MLWriter:
        """Return what writes the model to a path, or URL, of Spark's file systems."""
        return _ModelWriter(self)

    @classmethod
    def read(cls) -> MLReader[KMeansModel]:
        """Return what reads the model."""
        return _ModelReader()


class KMeansSummary:
    """What a fit came to.

    Attributes
    ----------
    k, numIter : int
    trainingCost : float
        Weighted sum of the squared distances of the rows to their centers, or of cosine distances.
    predictions : pyspark.sql.DataFrame
        The DataFrame of the fit with the labels, made when it is used.
    featuresCol, predictionCol : str
    """

    def __init__(self, model: KMeansModel, predictions: Any) -> None:
        fitted = model.toDaskmeans()
        self.k = model.getK()
        self.numIter = fitted.n_iter_
        self.trainingCost = fitted.inertia_
        self.predictions = predictions
        self.featuresCol = model.getFeaturesCol()
        self.predictionCol = model.getPredictionCol()

    @property
    def cluster(self) -> Any:
        """The column of labels alone."""
        return self.predictions.select(self.predictionCol)

    @property
    def clusterSizes(self) -> list[int]:
        """Rows of each cluster, whatever their weights. Reads all rows."""
        counted = self.cluster.groupBy(self.predictionCol).count().collect()
        rows = {label: count for label, count in counted}
        return [rows.get(label, 0) for label in range(self.k)]


class _ModelWriter(MLWriter):
    """Writes parameters as pyspark.ml does, and centers as `daskmeans.KMeans.save` does."""

    def __init__(self, model: KMeansModel) -> None:
        super().__init__()
        self._model = model

    def saveImpl(self, path: str) -> None:
        DefaultParamsWriter.saveMetadata(self._model, path, self.sparkSession)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model"
            self._model.toDaskmeans().save(file)
            content = file.read_bytes()
        # By way of Spark, for paths of any file system that it knows.
        table = self.sparkSession.createDataFrame([(bytearray(content),)], "model binary")
        table.coalesce(1).write.parquet(f"{path}/data")


class _ModelReader(MLReader[KMeansModel]):
    """Reads what `_ModelWriter` wrote. Nothing in it is run."""

    def load(self, path: str) -> KMeansModel:
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        found = self.sparkSession.read.parquet(f"{path}/data").select(col("model")).collect()
        if len(found) != 1:
            raise ModelFormatError(
                f"The model {path} is damaged: its data have {len(found)} rows, not 1."
            )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model"
            file.write_bytes(bytes(found[0].model))
            fitted = load(file)
        model = KMeansModel(fitted)
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
