"""A scikit-learn transformer that learns columns in one pass, and changes rows lazily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import dask.array as da
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from daskmeans.algorithms.columns import Limits, survey_columns
from daskmeans.algorithms.seeding import new_seed
from daskmeans.blocks.inputs import ArrayLike, column_names, is_lazy
from daskmeans.blocks.spark_rows import is_spark, spark_rows
from daskmeans.errors import RowsError
from daskmeans.estimators.parameters import checks_parameters
from daskmeans.estimators.rows import check_rows, runner_over
from daskmeans.preprocessing.changes import Changes, changed_block, changed_frame, kept_block
from daskmeans.preprocessing.lazily import as_numbers, change_lazily, kept_lazily
from daskmeans.preprocessing.selection import check_values, checked_columns, is_frame, taken
from daskmeans.preprocessing.spark_frames import (
    changed_in_spark,
    checked_in_spark,
    frame_of,
    kept_in_spark,
)
from daskmeans.typing import Array


class Preprocessor(TransformerMixin, BaseEstimator):
    """Select columns, fill missing values, drop or clip outliers, and standardise, in this order.

    One pass over the rows learns all of it; with `outliers` a second one learns mean, median and
    deviation without them. What is learned is the same, to the bit, in any chunking. `transform` is
    lazy for rows that are lazy or in a store.

    Parameters
    ----------
    columns : sequence of str or int, default=None
        Columns to take: names of a DataFrame's, numbers of an array's. None takes all that hold
        integers or floats.
    drop_constant : bool, default=False
        Leave out columns in which all values are the same, or all are missing.
    impute : {"mean", "median"} or None, default="mean"
        What stands for missing values: the mean, or the median of a sample of 10,000 rows. None
        leaves them, and `KMeans` will not take them.
    outliers : float or None, default=None
        Values farther than this many standard deviations from the mean are outliers.
    outlier_action : {"drop", "clip"}, default="drop"
        Leave out rows with an outlier, or put outliers at the limit.
    robust : bool, default=False
        Tell outliers by the median and 1.4826 times the median distance from it, of a sample of
        10,000 rows, where that is not zero: outliers then do not hide themselves by their own
        weight. Columns with a long tail lose much of it.
    standardize : bool, default=True
        Subtract the mean and divide by the standard deviation of the column.
    random_state : int, RandomState instance or None, default=0
        Draws the sample.

    Attributes
    ----------
    columns_ : list of str or int
        Columns that are taken.
    constant_ : list of str or int
        Columns that `drop_constant` left out.
    mean_, std_, median_ : ndarrays of shape (len(columns_),), float64
        Of the values that are there, without outliers, or with clipped ones.
    missing_ : ndarray of shape (len(columns_),), int64
        Missing values; those of rows of weight 0 too.
    n_rows_ : int
        Rows that were read.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Sums of values and of squares are exact, whatever the order of the rows: the variance is rounded
    once, at the end.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from daskmeans import KMeans
    >>> from daskmeans.preprocessing import Preprocessor
    >>> X = np.array([[1.0, 900.0], [np.nan, 100.0], [3.0, 200.0], [3.0, 800.0]])
    >>> Preprocessor().fit(X).mean_.tolist()
    [2.3333333333333335, 500.0]
    >>> prepare = Preprocessor(outliers=1.3).fit(X)
    >>> prepare.kept(X).tolist()
    [False, True, True, True]
    >>> prepare.inverse_transform(prepare.transform(X)).round()[:, 1].tolist()
    [100.0, 200.0, 800.0]
    >>> prepare.get_feature_names_out().tolist()
    ['x0', 'x1']
    >>> make_pipeline(Preprocessor(), KMeans(2, random_state=0)).fit_predict(X).shape
    (4,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "columns": ["array-like", None],
        "drop_constant": ["boolean"],
        "impute": [StrOptions({"mean", "median"}), None],
        "outliers": [Interval(Real, 0, None, closed="neither"), None],
        "outlier_action": [StrOptions({"drop", "clip"})],
        "robust": ["boolean"],
        "standardize": ["boolean"],
        "random_state": ["random_state"],
    }

    columns_: list[Any]
    constant_: list[Any]
    mean_: Array
    std_: Array
    median_: Array
    missing_: Array
    n_rows_: int

    def __init__(
        self,
        *,
        columns: Sequence[str | int] | None = None,
        drop_constant: bool = False,
        impute: str | None = "mean",
        outliers: float | None = None,
        outlier_action: str = "drop",
        robust: bool = False,
        standardize: bool = True,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.columns = columns
        self.drop_constant = drop_constant
        self.impute = impute
        self.outliers = outliers
        self.outlier_action = outlier_action
        self.robust = robust
        self.standardize = standardize
        self.random_state = random_state

    @checks_parameters
    def fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None
    ) -> Preprocessor:
        """Learn the columns, in one pass over the rows, or two for outliers.

        Parameters
        ----------
        X : pandas or dask DataFrame, or array-like of shape (n_samples, n_features)
            Of any kind that `KMeans.fit` takes; NaN is a missing value.
        y : None
            Ignored, here for scikit-learn's interface.
        sample_weight : array-like or dask array of shape (n_samples,), default=None
            Non-negative weights. Weight 2 counts as the row given twice.

        Returns
        -------
        self : Preprocessor
            Fitted.

        Raises
        ------
        RowsError
            For columns that are missing, not numeric or without any value; for infinity; if every
            row has an outlier.
        """
        if is_spark(X):
            self._keep_names(frame_of(X))
            columns = checked_in_spark(X, self.columns)
            numbers = spark_rows(X, columns, missing=True)
        else:
            if is_frame(X):
                self._keep_names(X)
            else:
                X = check_rows(self, X, reset=True)
            columns = checked_columns(X, self.columns)
            numbers = as_numbers(taken(X, columns))
        # Another estimator, for it is these columns that it is told of.
        with runner_over(Preprocessor(), numbers, sample_weight, reset=True) as run:
            seed = new_seed(check_random_state(self.random_state))
            found = survey_columns(run, seed)
            constant = ~(found.high > found.low)
            check_values(columns, found.counts, constant, self.drop_constant)
            limits = None
            if self.outliers is not None:
                limits = found.limits(self.outliers, self.robust, self.outlier_action == "drop")
            inside = found if limits is None else survey_columns(run, seed, limits)
        left_out = constant & self.drop_constant
        self.constant_ = [name for name, out in zip(columns, left_out, strict=True) if out]
        self.columns_ = [name for name, out in zip(columns, left_out, strict=True) if not out]
        self.n_rows_ = found.n_rows
        self.missing_ = found.n_rows - found.counts[~left_out]
        if not inside.counts.any():
            raise RowsError(
                f"Every row of X has an outlier: raise outliers={self.outliers}, clip them, or "
                "switch it off by None."
            )
        # All values of a column may have been in rows that are dropped.
        self.mean_, self.std_, self.median_ = (
            np.where(inside.counts > 0, inner, outer)[~left_out]
            for inner, outer in (
                (inside.mean, found.mean),
                (inside.std, found.std),
                (inside.median, found.median),
            )
        )
        if limits is not None:
            limits = replace(limits, low=limits.low[~left_out], high=limits.high[~left_out])
        self._changes = self._learned(limits)
        return self

    def _keep_names(self, frame: Any) -> None:
        self.n_features_in_ = len(frame.columns)
        names = column_names(frame)
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _learned(self, limits: Limits | None) -> Changes:
        """Return the changes that the learned attributes come to."""
        fill = {"mean": self.mean_, "median": self.median_, None: None}[self.impute]
        if not self.standardize:
            return Changes(fill, limits, None, None)
        return Changes(fill, limits, self.mean_, np.where(self.std_ > 0, self.std_, 1.0))

    def transform(self, X: ArrayLike) -> Any:
        """Return changed rows, without those that were dropped.

        Parameters
        ----------
        X : pandas or dask DataFrame, or array-like of shape (n_samples, n_features)
            With the columns of the fit.

        Returns
        -------
        ndarray, dask array, pandas or dask DataFrame of shape (<= n_samples, len(columns_))
            float32 for arrays of float32, else float64. Lazy for rows that are lazy or in a store,
            and a Spark DataFrame for one of Spark.
            Rows of a DataFrame keep their index; `kept` tells which rows of an array are left.

        Raises
        ------
        RowsError
            If X does not have the columns of the fit.
        """
        if is_spark(X):
            check_is_fitted(self)
            return changed_in_spark(frame_of(X), self.columns_, self._changes)
        table = self._table(X)
        if not is_lazy(table):
            change = changed_frame if is_frame(table) else changed_block
            return change(table, changes=self._changes)
        drops = self.outliers is not None and self.outlier_action == "drop"
        return change_lazily(table, self._changes, drops=drops)

    def kept(self, X: ArrayLike) -> Any:
        """Tell which rows `transform` leaves.

        Parameters
        ----------
        X : pandas or dask DataFrame, or array-like of shape (n_samples, n_features)
            With the columns of the fit.

        Returns
        -------
        ndarray or dask array of shape (n_samples,), bool
            Lazy for rows that are lazy or in a store. Of a Spark DataFrame another one, of one
            column "kept".

        Raises
        ------
        RowsError
            If X does not have the columns of the fit.
        """
        if is_spark(X):
            check_is_fitted(self)
            return kept_in_spark(frame_of(X), self.columns_, self._changes)
        table = self._table(X)
        if is_lazy(table):
            return kept_lazily(table, self._changes)
        return kept_block(table, changes=self._changes)

    def inverse_transform(self, X: ArrayLike) -> Any:
        """Return standardised rows, such as cluster centers, in the units of the columns.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, len(columns_))
            A column for each of `columns_`.

        Returns
        -------
        ndarray or dask array of shape (n_samples, len(columns_)), float64
            Filled values, and those that were clipped, stay what they became.

        Raises
        ------
        RowsError
            If there is not a column for each of `columns_`.
        """
        check_is_fitted(self)
        array: Any = X if isinstance(X, da.Array) else np.asarray(X, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != len(self.columns_):
            raise RowsError(
                f"X has shape {array.shape}, expected a column for each of {self.columns_}."
            )
        mean, scale = self._changes.mean, self._changes.scale
        return array if mean is None else array * scale + mean

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Return the names of the columns that are taken.

        Parameters
        ----------
        input_features : object, default=None
            Ignored, here for scikit-learn's interface.

        Returns
        -------
        ndarray of shape (len(columns_),), object
            Text: those of a DataFrame's columns, or `x` and the number of an array's.
        """
        check_is_fitted(self)
        named = hasattr(self, "feature_names_in_")
        names = [str(name) if named else f"x{name}" for name in self.columns_]
        return np.asarray(names, dtype=object)

    def _table(self, X: ArrayLike) -> Any:
        """Return the columns of the fit, of rows like those of the fit."""
        check_is_fitted(self)
        columns = self.columns_
        if not is_frame(X):
            X = check_rows(self, X, reset=False)
            if hasattr(self, "feature_names_in_"):
                # Columns of an array come in the order of those of the fit.
                names = list(self.feature_names_in_)
                columns = [names.index(name) for name in columns]
        return taken(X, checked_columns(X, columns))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
