"""A saved Preprocessor changes rows to the same bits, and other files are refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from daskmeans.edges.preparation import load_preprocessor, save_preprocessor
from daskmeans.errors import ModelFormatError, OutputExistsError
from daskmeans.preprocessing import Preprocessor


@pytest.fixture
def rows():
    """Rows (97, 3), a tenth of the values missing; the second column is constant."""
    values = np.random.default_rng(1).normal(size=(97, 3)) / 3
    values[:, 1] = 0.1
    values[::10, 2] = np.nan
    return values


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"impute": "median", "outliers": 2.0},
        {"outliers": 2.0, "outlier_action": "clip", "robust": True},
        {"drop_constant": True, "impute": None, "standardize": False, "random_state": None},
        {"columns": np.array([2, 0])},
    ],
)
def test_round_trip(rows, options, tmp_path):
    saved = Preprocessor(**options).fit(rows)
    save_preprocessor(saved, tmp_path / "file.json")
    loaded = load_preprocessor(tmp_path / "file.json")
    np.testing.assert_array_equal(loaded.transform(rows), saved.transform(rows))
    np.testing.assert_array_equal(loaded.kept(rows), saved.kept(rows))
    for name in ("mean_", "std_", "median_", "missing_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    assert loaded.get_feature_names_out().tolist() == saved.get_feature_names_out().tolist()


def test_names_of_columns(rows, tmp_path):
    table = pd.DataFrame(rows, columns=["a", "b", "c"])
    save_preprocessor(Preprocessor(drop_constant=True).fit(table), tmp_path / "file.json")
    loaded = load_preprocessor(tmp_path / "file.json")
    assert (loaded.columns_, loaded.constant_) == (["a", "c"], ["b"])
    assert list(loaded.transform(table).columns) == ["a", "c"]


def test_other_files(rows, tmp_path):
    path = tmp_path / "file.json"
    with pytest.raises(ModelFormatError, match="is not a saved Preprocessor"):
        load_preprocessor(path)
    path.write_text("[1, 2]")
    with pytest.raises(OutputExistsError, match="is not a saved Preprocessor"):
        save_preprocessor(Preprocessor().fit(rows), path, overwrite=True)
    path.unlink()
    save_preprocessor(Preprocessor().fit(rows), path)
    described = json.loads(path.read_text())
    path.write_text(json.dumps({**described, "format": 2}))
    with pytest.raises(ModelFormatError, match="is of format 2, and daskmeans"):
        load_preprocessor(path)
