"""A saved model comes back to the bit, and a damaged one does not come back at all."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from daskmeans import KMeans
from daskmeans.edges.persistence import load_model, save_model
from daskmeans.errors import ModelFormatError, OutputExistsError


@pytest.fixture
def model(rows):
    return KMeans(4, random_state=5, tol=1e-7, max_iter=50).fit(rows)


@pytest.fixture
def saved(model, tmp_path):
    """Folder of a saved model."""
    save_model(model, tmp_path / "model")
    return tmp_path / "model"


def change(folder, edit):
    """Change what the model's description says."""
    description = json.loads((folder / "model.json").read_text())
    edit(description)
    (folder / "model.json").write_text(json.dumps(description))


def test_model_comes_back_to_the_bit(model, saved, rows):
    loaded = load_model(saved)
    assert loaded.get_params() == model.get_params()
    np.testing.assert_array_equal(loaded.cluster_centers_, model.cluster_centers_, strict=True)
    assert (loaded.inertia_, loaded.n_iter_) == (model.inertia_, model.n_iter_)
    assert loaded.n_features_in_ == model.n_features_in_
    assert loaded.history_ == model.history_
    np.testing.assert_array_equal(loaded.predict(rows), model.labels_)
    np.testing.assert_array_equal(loaded.transform(rows), model.transform(rows))


def test_feature_names_come_back(tmp_path):
    frame = pd.DataFrame({"height": [1.0, 2.0, 9.0], "width": [1.0, 2.0, 3.0]})
    save_model(KMeans(2, random_state=0).fit(frame), tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert list(loaded.feature_names_in_) == ["height", "width"]
    loaded.predict(frame)


def test_objects_among_the_parameters_are_left_out(rows, tmp_path):
    fitted = KMeans(4, init=rows[:4], random_state=np.random.RandomState(0)).fit(rows)
    save_model(fitted, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.random_state is None
    np.testing.assert_array_equal(loaded.predict(rows), fitted.labels_)


def test_nothing_is_pickled(saved):
    assert sorted(os.listdir(saved)) == ["centers.npy", "model.json"]
    assert np.load(saved / "centers.npy", allow_pickle=False).dtype == np.float64


def test_model_that_is_not_fitted(tmp_path):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        save_model(KMeans(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_overwriting(model, saved, rows):
    with pytest.raises(OutputExistsError, match="exists already"):
        save_model(model, saved)
    save_model(KMeans(2, random_state=0).fit(rows), saved, overwrite=True)
    assert load_model(saved).n_clusters == 2


def test_folder_without_a_model(tmp_path):
    with pytest.raises(ModelFormatError, match=r"There is no model at .*model\.json is missing"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "centers.npy"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x80\x04N.", b"\xff\xfe"])
def test_damaged_file(saved, name, content):
    (saved / name).write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"The model at .* is (not of format|incompl|damag)"):
        load_model(saved)


def test_missing_centers(saved):
    (saved / "centers.npy").unlink()
    with pytest.raises(ModelFormatError, match="incomplete or damaged"):
        load_model(saved)


def test_one_changed_byte_of_the_centers(saved):
    """The file is as valid as before, and would predict other labels."""
    content = bytearray((saved / "centers.npy").read_bytes())
    content[-1] ^= 1
    (saved / "centers.npy").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"centers\.npy is not what was saved"):
        load_model(saved)


def test_pickled_centers_are_not_executed(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    np.save(saved / "centers.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(ModelFormatError):
        load_model(saved)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(format=2), "not of format 1.* written by a newer version"),
        (lambda d: d.pop("format"), "not of format 1"),
        (lambda d: d.pop("n_iter"), "lacks 'n_iter'"),
        (lambda d: d["parameters"].update(n_clusters=5), r"centers of shape \(4, 3\).*\(5, 3\)"),
        (lambda d: d["parameters"].update(tol="x"), "'tol' parameter of KMeans must be"),
        (lambda d: d["parameters"].update(speed=9), "unexpected keyword argument 'speed'"),
        (lambda d: d.update(n_features_in=2), r"centers of shape \(4, 3\).*\(4, 2\)"),
        (lambda d: d.update(feature_names_in=["a"]), "1 feature names for 3 features"),
        (lambda d: d.update(parameters=None), "is damaged"),
        (lambda d: d.update(history=[{"inertia": 1}]), "is damaged"),
        (lambda d: d.update(inertia="low"), "is damaged.*low"),
    ],
)
def test_changed_description(saved, edit, message):
    change(saved, edit)
    with pytest.raises(ModelFormatError, match=message):
        load_model(saved)
