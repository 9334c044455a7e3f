"""What a Preprocessor learns and does: scikit-learn's answers, in any chunking, lazily."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from daskmeans import KMeans
from daskmeans.errors import RowsError
from daskmeans.preprocessing import Preprocessor, numeric_columns, put_back
from tests import strategies
from tests.counting import CountedRows, counted_passes

LEARNED = ("mean_", "std_", "median_", "missing_")


@pytest.fixture
def rows():
    """Rows (307, 5) with a tenth of the values missing."""
    generator = np.random.default_rng(8)
    values = generator.normal(size=(307, 5)) * [1, 10, 1e-3, 1, 5] + [0, 1e6, 1, -5, 0]
    values[generator.uniform(size=values.shape) < 0.1] = np.nan
    return values


@pytest.fixture
def flights():
    """A table with text, flags, dates and missing numbers of each kind."""
    return pd.DataFrame(
        {
            "carrier": ["a", "b", "c", "d"],
            "late": [True, False, True, True],
            "day": pd.to_datetime(["2013-01-01"] * 4),
            "delay": [1.0, np.nan, 3.0, -4.0],
            "seats": pd.array([1, 2, None, 4], dtype="Int64"),
            "month": [1, 2, 3, 4],
        },
        index=[3, 5, 7, 11],
    )


def missing_somewhere(rows, data):
    """Rows as floats, with some values missing, at least one in each column left."""
    values = rows.astype(np.float64) if rows.dtype.kind in "iu" else rows.copy()
    chance = data.draw(st.sampled_from([0.0, 0.3]))
    seed = data.draw(st.integers(0, 2**32 - 1))
    gone = np.random.default_rng(seed).uniform(size=rows.shape) < chance
    gone[0] = False
    values[gone] = np.nan
    return values


@given(case=strategies.rows_weights_and_two_chunkings(), data=st.data())
def test_no_chunking_shows(case, data, run_under):
    """To the bit, in what is learned and in what is changed."""
    values = missing_somewhere(case.rows, data)
    weights = case.weights
    if weights is not None:
        weights[0] = 1.5  # so that no column is left without values
    options = {"outliers": 2.0, "robust": data.draw(st.booleans())}
    found = []
    for chunks, scheduler in zip(case.chunkings, ("sync", "threads-3"), strict=True):
        lazy = da.from_array(values, chunks=chunks)
        with run_under(scheduler):
            learned = Preprocessor(**options).fit(lazy, sample_weight=weights)
            found.append((learned, learned.transform(lazy).compute()))
    (one, changed), (other, changed_too) = found
    for name in LEARNED:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(changed, changed_too)
    in_memory = Preprocessor(**options).fit(values, sample_weight=weights)
    np.testing.assert_array_equal(in_memory.transform(values), changed)


def test_no_scheduler_shows(rows, scheduler):
    lazy = da.from_array(rows, chunks=(61, 3))
    wanted = Preprocessor(outliers=2.5).fit(rows)
    found = Preprocessor(outliers=2.5).fit(lazy)
    for name in LEARNED:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    np.testing.assert_array_equal(found.transform(lazy).compute(), wanted.transform(rows))


class TestEqualToScikitLearn:
    @pytest.mark.parametrize("strategy", ["mean", "median"])
    def test_imputing(self, rows, strategy):
        found = Preprocessor(impute=strategy, standardize=False).fit_transform(rows)
        wanted = SimpleImputer(strategy=strategy).fit_transform(rows)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)

    def test_standardising(self, rows):
        weights = np.random.default_rng(0).uniform(0, 3, len(rows))
        for sample_weight in (None, weights):
            scaler = StandardScaler().fit(rows, sample_weight=sample_weight)
            found = Preprocessor(impute=None).fit(rows, sample_weight=sample_weight)
            np.testing.assert_allclose(found.mean_, scaler.mean_, rtol=1e-9)
            np.testing.assert_allclose(found.std_, scaler.scale_, rtol=1e-9)
            np.testing.assert_allclose(
                found.transform(rows), scaler.transform(rows), rtol=1e-6, atol=1e-9
            )

    def test_weight_two_is_the_row_twice(self, rows):
        counts = np.random.default_rng(0).integers(0, 3, len(rows))
        weighted = Preprocessor().fit(rows, sample_weight=counts)
        repeated = Preprocessor().fit(np.repeat(rows, counts, axis=0))
        np.testing.assert_array_equal(weighted.mean_, repeated.mean_)
        np.testing.assert_array_equal(weighted.std_, repeated.std_)

    def test_variance_far_from_the_origin(self):
        """Squares of 1e9 leave no digit of a deviation of 1 in float64."""
        rows = 1e9 + np.array([[0.0], [1.0], [2.0]])
        assert Preprocessor().fit(rows).std_.tolist() == [np.sqrt(2 / 3)]
        weights = np.array([0.1, 0.2, 0.1])
        found = Preprocessor().fit(rows, sample_weight=weights).std_
        np.testing.assert_allclose(found, np.sqrt(0.5), rtol=1e-15)


class TestOutliers:
    def test_are_dropped_by_their_z_score(self, rows):
        learned = Preprocessor(outliers=2.0).fit(rows)
        scores = np.abs(rows - np.nanmean(rows, axis=0)) / np.nanstd(rows, axis=0)
        wanted = ~(scores > 2).any(axis=1)
        np.testing.assert_array_equal(learned.kept(rows), wanted)
        assert learned.transform(rows).shape == (wanted.sum(), 5)

    def test_or_clipped(self, rows):
        learned = Preprocessor(outliers=2.0, outlier_action="clip").fit(rows)
        changed = learned.transform(rows)
        assert len(changed) == 307
        scores = (learned.inverse_transform(changed) - np.nanmean(rows, axis=0)) / np.nanstd(
            rows, axis=0
        )
        assert np.abs(scores).max() == pytest.approx(2.0)
        assert learned.kept(rows).all()

    def test_robust_ones_do_not_hide_themselves(self):
        rows = np.append(np.arange(10.0), [100, 100])[:, None]
        assert Preprocessor(outliers=3.0).fit(rows).kept(rows).all()
        assert Preprocessor(outliers=3.0, robust=True).fit(rows).kept(rows).sum() == 10

    def test_constant_column_has_none(self):
        rows = np.full((1000, 1), 0.1)
        assert Preprocessor(outliers=1e-9).fit(rows).kept(rows).all()

    @pytest.mark.parametrize("action", ["drop", "clip"])
    def test_do_not_count(self, rows, action):
        """One of 1e9 would leave the others of its column all but equal."""
        rows[17, 2] = 1e9
        learned = Preprocessor(outliers=6.0, outlier_action=action).fit(rows)
        changed = learned.transform(rows)
        np.testing.assert_allclose(np.delete(changed, 17, axis=0).mean(axis=0), 0, atol=0.4)
        if action == "drop":
            np.testing.assert_allclose(learned.mean_, np.nanmean(np.delete(rows, 17, 0), axis=0))
            np.testing.assert_allclose(learned.std_, np.nanstd(np.delete(rows, 17, 0), axis=0))
            np.testing.assert_allclose(changed.mean(axis=0), 0, atol=1e-9)

    def test_column_of_dropped_rows_only(self):
        rows = np.column_stack([np.append(np.zeros(50), 1.0), np.append(np.full(50, np.nan), 2.0)])
        learned = Preprocessor(outliers=3.0).fit(rows)
        assert learned.mean_.tolist() == [0.0, 2.0]
        assert np.isfinite(learned.transform(rows)).all()

    @pytest.mark.parametrize("lazy", [False, True])
    def test_labels_are_put_back(self, rows, lazy):
        table = da.from_array(rows, chunks=(61, 5)) if lazy else rows
        learned = Preprocessor(outliers=2.0).fit(table)
        changed = learned.transform(table)
        model = KMeans(3, n_init=1, random_state=0).fit(changed)
        labels = put_back(model.labels_, learned.kept(table))
        assert isinstance(labels, da.Array) is lazy
        assert labels.shape == (307,)
        labels, kept = np.asarray(labels), np.asarray(learned.kept(table))
        np.testing.assert_array_equal(labels[kept], np.asarray(model.labels_))
        assert (labels[~kept] == -1).all()
        assert 0 < kept.sum() < 307

    def test_rows_of_a_frame_keep_their_index(self, flights):
        learned = Preprocessor(columns=["delay"], outliers=1.2).fit(flights)
        assert learned.transform(flights).index.tolist() == [3, 5, 7]
        lazy = dd.from_pandas(flights, npartitions=2)
        assert learned.transform(lazy).compute().index.tolist() == [3, 5, 7]


class TestTables:
    def test_numeric_columns_are_taken(self, flights):
        for table in (flights, dd.from_pandas(flights, npartitions=2)):
            learned = Preprocessor().fit(table)
            assert learned.columns_ == ["delay", "seats", "month"] == numeric_columns(table)
            assert learned.mean_.tolist() == [0.0, 7 / 3, 2.5]
            assert learned.missing_.tolist() == [1, 1, 0]
            assert learned.get_feature_names_out().tolist() == learned.columns_
            changed = learned.transform(table)
            assert list(changed.columns) == learned.columns_
            values = np.asarray(changed)
            assert values.dtype == np.float64
            np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-15)

    def test_arrays_like_the_table_of_the_fit(self, rows):
        table = pd.DataFrame(rows, columns=list("abcde"))
        learned = Preprocessor(columns=["d", "a"]).fit(table)
        found = learned.transform(table)
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            np.testing.assert_array_equal(learned.transform(rows), found)
        lazy = da.from_array(rows, chunks=(100, 5))
        np.testing.assert_array_equal(learned.transform(lazy), found)

    def test_columns_by_name_and_number(self, flights, rows):
        assert Preprocessor(columns=["month", "late"]).fit(flights).mean_.tolist() == [2.5, 0.75]
        learned = Preprocessor(columns=[3, 0]).fit(rows)
        np.testing.assert_allclose(learned.mean_, np.nanmean(rows, axis=0)[[3, 0]])
        assert learned.transform(rows).shape == (307, 2)
        assert learned.get_feature_names_out().tolist() == ["x3", "x0"]

    def test_constant_and_empty_columns_can_be_left_out(self, flights):
        table = flights.assign(year=2013, nothing=np.nan)
        learned = Preprocessor(drop_constant=True).fit(table)
        assert learned.constant_ == ["year", "nothing"]
        assert learned.columns_ == ["delay", "seats", "month"]
        assert list(learned.transform(table).columns) == learned.columns_

    def test_constant_columns_become_zero(self):
        rows = np.full((1000, 2), 0.1)
        assert (Preprocessor().fit_transform(rows) == 0).all()

    def test_float32_stays(self, rows):
        narrow = rows.astype(np.float32)
        assert Preprocessor().fit_transform(narrow).dtype == np.float32

    def test_stores(self, rows, tmp_path):
        store = zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(100, 5))
        changed = Preprocessor().fit(store).transform(store)
        assert isinstance(changed, da.Array)
        np.testing.assert_array_equal(changed.compute(), Preprocessor().fit_transform(rows))


class TestPasses:
    def test_learning_takes_one_or_two(self, rows):
        source = CountedRows(rows)
        lazy = da.from_array(source, chunks=(100, 5), name=False)
        learned = Preprocessor(impute="median")
        with counted_passes() as passes:
            learned.fit(lazy)
        assert passes == {"kmeans-columns": 1}
        assert len(source.reads) == 4
        learned.transform(lazy)
        learned.kept(lazy)
        assert len(source.reads) == 4
        with counted_passes() as passes:
            Preprocessor(outliers=3.0, robust=True).fit(lazy)
        assert passes == {"kmeans-columns": 2}

    def test_pipeline(self, rows, scheduler):
        lazy = da.from_array(rows, chunks=(100, 5))
        steps = make_pipeline(Preprocessor(), KMeans(3, n_init=1, random_state=0))
        found = steps.fit_predict(lazy)
        alone = KMeans(3, n_init=1, random_state=0).fit(Preprocessor().fit_transform(rows))
        np.testing.assert_array_equal(found.compute(), alone.labels_)
        assert isinstance(steps.predict(lazy), da.Array)

    def test_centers_in_the_units_of_the_columns(self, rows):
        learned = Preprocessor(impute=None).fit(rows)
        back = learned.inverse_transform(learned.transform(rows))
        np.testing.assert_allclose(back, rows, rtol=1e-12, atol=1e-14)


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"columns": ["delays"]}, "X has no column 'delays'. Its columns are carrier"),
            ({"columns": ["carrier"]}, "The column 'carrier' is not numeric, it is"),
            ({"columns": ["month", "month"]}, "holds 'month' more than once"),
            ({"columns": []}, r"columns=\[\]: give a list"),
        ],
    )
    def test_columns(self, flights, options, text):
        with pytest.raises(RowsError, match=text):
            Preprocessor(**options).fit(flights)

    def test_only_text(self, flights):
        with pytest.raises(RowsError, match=r"X has no numeric columns[.] Its columns are carrier"):
            Preprocessor().fit(flights[["carrier", "late"]])

    def test_no_value_at_all(self, flights):
        table = flights.assign(nothing=np.nan)
        with pytest.raises(RowsError, match="All values are missing in the column 'nothing'"):
            Preprocessor().fit(table)

    def test_nothing_but_outliers(self):
        with pytest.raises(RowsError, match=r"Every row of X has an outlier: raise outliers=0\.5"):
            Preprocessor(outliers=0.5).fit([[0.0], [1.0]])

    def test_nothing_left(self):
        with pytest.raises(RowsError, match="No column of X has two different values"):
            Preprocessor(drop_constant=True).fit(np.ones((5, 2)))

    @pytest.mark.parametrize("lazy", [False, True])
    def test_infinity(self, flights, lazy):
        flights.loc[7, "delay"] = np.inf
        table = dd.from_pandas(flights, npartitions=1) if lazy else flights
        with pytest.raises(RowsError, match=r"inf in block 0, row 2 of the block, .*'delay'"):
            Preprocessor().fit(table)

    def test_other_columns_than_in_the_fit(self, flights, rows):
        learned = Preprocessor().fit(flights)
        with pytest.raises(RowsError, match="X has no column 'month'"):
            learned.transform(flights.drop(columns="month"))
        with pytest.raises(ValueError, match="X has 3 features, but Preprocessor is expecting 5"):
            Preprocessor().fit(rows).transform(rows[:, :3])
        with pytest.raises(RowsError, match="expected a column for each of"):
            learned.inverse_transform(np.ones((2, 2)))

    def test_weights(self, rows):
        with pytest.raises(RowsError, match="All values of sample_weight are zero"):
            Preprocessor().fit(rows, sample_weight=np.zeros(307))

    def test_not_fitted(self, rows):
        with pytest.raises(NotFittedError):
            Preprocessor().transform(rows)

    def test_parameters(self, rows):
        with pytest.raises(ValueError, match="'outliers' parameter"):
            Preprocessor(outliers=0).fit(rows)
        with pytest.raises(ValueError, match="'impute' parameter"):
            Preprocessor(impute="zero").fit(rows)

    def test_put_back(self):
        kept = np.array([True, False])
        with pytest.raises(RowsError, match="2 labels, and 1 rows were kept"):
            put_back(np.zeros(2, int), kept)
        with pytest.raises(RowsError, match="both lazy"):
            put_back(np.zeros(1, int), da.from_array(kept))
        with pytest.raises(RowsError, match="2 blocks and kept has 1"):
            put_back(da.zeros(2, dtype=int, chunks=1), da.from_array(kept))
