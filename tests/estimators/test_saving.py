"""A saved model comes back to the bit, and a damaged one does not come back at all."""

from __future__ import annotations

import io
import json
import os
import pickle
import uuid
import zipfile

import fsspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

import daskmeans
from daskmeans import KMeans, MiniBatchKMeans
from daskmeans.errors import ModelFormatError, OutputError, OutputExistsError


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(3).normal(size=(300, 3))


@pytest.fixture(scope="module")
def models(rows):
    """A fitted model of each kind, by name."""
    batches = MiniBatchKMeans(4, half_life=3.0, time_unit="rows", random_state=1)
    for part in np.array_split(rows, 7):
        batches.partial_fit(part)
    return {
        "KMeans": KMeans(4, random_state=5, tol=1e-7, max_iter=50).fit(rows),
        "MiniBatchKMeans": MiniBatchKMeans(4, batch_size=50, random_state=5).fit(rows),
        "MiniBatchKMeans of batches": batches,
    }


KINDS = ["KMeans", "MiniBatchKMeans", "MiniBatchKMeans of batches"]


@pytest.fixture
def saved(models, tmp_path):
    """Path of a saved KMeans."""
    models["KMeans"].save(tmp_path / "model")
    return tmp_path / "model"


def members_of(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write_members(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def change(path, edit):
    """Change what the model's description says; all checksums are right."""
    members = members_of(path)
    description = json.loads(members["description.json"])
    edit(description)
    write_members(path, {**members, "description.json": json.dumps(description)})


def npy(array, **options):
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_model_comes_back_to_the_bit(models, kind, rows, tmp_path):
    model = models[kind]
    model.save(tmp_path / "model")
    loaded = daskmeans.load(tmp_path / "model")
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    kept = {name for name in vars(model) if name.endswith("_") and name != "labels_"}
    assert kept == {name for name in vars(loaded) if name.endswith("_")}
    for name in kept:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name), strict=True)
    np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))
    np.testing.assert_array_equal(loaded.transform(rows), model.transform(rows))


def test_model_of_a_stream_goes_on(models, rows, tmp_path):
    model = pickle.loads(pickle.dumps(models["MiniBatchKMeans of batches"]))
    model.save(tmp_path / "model")
    loaded = daskmeans.load(tmp_path / "model")
    for each in (model, loaded):
        each.partial_fit(rows[:50] * 3)
    np.testing.assert_array_equal(loaded.cluster_centers_, model.cluster_centers_)
    np.testing.assert_array_equal(loaded.counts_, model.counts_)
    assert loaded.n_steps_ == model.n_steps_ == 8


def test_url(models, rows):
    url = f"memory://{uuid.uuid4().hex}/models/first"
    models["KMeans"].save(url)
    np.testing.assert_array_equal(daskmeans.load(url).predict(rows), models["KMeans"].labels_)
    with pytest.raises(OutputExistsError, match="exists already"):
        models["KMeans"].save(url)
    models["KMeans"].save(url, overwrite=True)


def test_feature_names_come_back(tmp_path):
    frame = pd.DataFrame({"height": [1.0, 2.0, 9.0], "width": [1.0, 2.0, 3.0]})
    KMeans(2, random_state=0).fit(frame).save(tmp_path / "model")
    loaded = daskmeans.load(tmp_path / "model")
    assert list(loaded.feature_names_in_) == ["height", "width"]
    loaded.predict(frame)


def test_arrays_among_the_parameters_come_back_and_objects_do_not(rows, tmp_path):
    fitted = KMeans(4, init=rows[:4], random_state=np.random.RandomState(0)).fit(rows)
    fitted.save(tmp_path / "model")
    loaded = daskmeans.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.init, rows[:4])
    assert loaded.random_state is None
    np.testing.assert_array_equal(loaded.predict(rows), fitted.labels_)


def test_nothing_is_pickled(saved):
    members = members_of(saved)
    assert set(members) == {"description.json", "cluster_centers_.npy"}
    array = np.load(io.BytesIO(members["cluster_centers_.npy"]), allow_pickle=False)
    assert array.dtype == np.float64


def test_model_that_is_not_fitted(tmp_path):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        KMeans().save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_overwriting(models, saved, rows, tmp_path):
    with pytest.raises(OutputExistsError, match="exists already"):
        models["KMeans"].save(saved)
    KMeans(2, random_state=0).fit(rows).save(saved, overwrite=True)
    assert daskmeans.load(saved).n_clusters == 2
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="is not a saved model"):
        models["KMeans"].save(tmp_path / "thesis.txt", overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_write_that_fails_leaves_the_model_before(models, saved, monkeypatch, tmp_path):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot be written: .*No space left"):
        models["KMeans"].save(saved, overwrite=True)
    assert saved.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("url", ["nowhere/model", "memory://nowhere/model"])
def test_no_model(url):
    with pytest.raises(ModelFormatError, match="There is no model at"):
        daskmeans.load(url)


def test_folder(tmp_path):
    with pytest.raises(ModelFormatError, match="cannot be read"):
        daskmeans.load(tmp_path)


def test_checkpoint_is_not_a_model(rows, tmp_path):
    path = tmp_path / "checkpoint"
    KMeans(3, random_state=0).fit(rows, checkpoint=path)
    with pytest.raises(ModelFormatError, match="is not a saved model but a checkpoint of a fit"):
        daskmeans.load(path)
    with pytest.raises(OutputExistsError, match="is not a saved model"):
        KMeans(3, random_state=0).fit(rows).save(path, overwrite=True)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(format=4), "of format 4.* written by a newer version"),
        (lambda d: d.update(format=1), "of format 1.*reads formats 2 to 3"),
        (lambda d: d.pop("format"), "is not a saved model, or it is damaged"),
        (lambda d: d.update(kind="picture"), "is not a saved model but a picture"),
        (lambda d: d.update(estimator="Oracle"), "has no estimator 'Oracle'"),
        (lambda d: d["fitted"].pop("n_iter_"), "lacks 'n_iter_'"),
        (lambda d: d["parameters"].update(n_clusters=5), r"centers of shape \(4, 3\).*\(5, 3\)"),
        (lambda d: d["parameters"].update(tol="x"), "'tol' parameter of KMeans must be"),
        (lambda d: d["parameters"].update(speed=9), "unexpected keyword argument 'speed'"),
        (lambda d: d.update(n_features_in=2), r"centers of shape \(4, 3\).*\(4, 2\)"),
        (lambda d: d.update(feature_names_in=["a"]), "1 feature names for 3 features"),
        (lambda d: d.update(parameters=None), "is damaged"),
        (lambda d: d["fitted"].update(history_=[{"inertia": 1}]), "is damaged"),
        (lambda d: d["fitted"].update(inertia_="low"), "is damaged.*low"),
    ],
)
def test_changed_description(saved, edit, message):
    change(saved, edit)
    with pytest.raises(ModelFormatError, match=message):
        daskmeans.load(saved)


@pytest.mark.parametrize(
    "centers",
    [
        np.zeros((4, 3), np.float32),
        np.full((4, 3), np.nan),
        np.zeros((2, 3)),
        np.array([["a"] * 3] * 4),
        np.zeros((4, 3), [("x", "f8")]),
    ],
)
def test_other_centers(saved, centers):
    members = members_of(saved)
    write_members(saved, {**members, "cluster_centers_.npy": npy(centers)})
    with pytest.raises(ModelFormatError, match="is damaged"):
        daskmeans.load(saved)


@pytest.mark.parametrize("counts", [-np.ones(4), np.ones(3), np.full(4, np.nan)])
def test_other_counts(models, tmp_path, counts):
    path = tmp_path / "model"
    models["MiniBatchKMeans"].save(path)
    write_members(path, {**members_of(path), "counts_.npy": npy(counts)})
    with pytest.raises(ModelFormatError, match="counts that are not one weight a cluster"):
        daskmeans.load(path)


def test_pickled_centers_are_not_executed(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    content = npy(np.array([Bomb()], dtype=object), allow_pickle=True)
    write_members(saved, {**members_of(saved), "cluster_centers_.npy": content})
    with pytest.raises(ModelFormatError):
        daskmeans.load(saved)
    assert not (tmp_path / "executed").exists()


@given(data=st.data())
def test_a_damaged_file_gives_our_error_or_the_same_model(models, data):
    """Cut, flipped and inserted bytes: never another error, never another model."""
    kind = data.draw(st.sampled_from(KINDS))
    url = f"memory://damaged-{uuid.uuid4().hex}"
    models[kind].save(url)
    file_system, place = fsspec.url_to_fs(url)
    content = bytearray(file_system.cat_file(place))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        what = data.draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
        if what == "flip":
            content[at] ^= data.draw(st.integers(1, 255))
        elif what == "cut":
            del content[max(at, 1) :]
        elif what == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=40))
        else:
            del content[at : at + data.draw(st.integers(1, 40))]
        content = content or bytearray(b"0")
    file_system.pipe_file(place, bytes(content))
    try:
        loaded = daskmeans.load(url)
    except ModelFormatError:
        pass
    else:
        expected = models[kind].cluster_centers_
        np.testing.assert_array_equal(loaded.cluster_centers_, expected)
    finally:
        file_system.rm(place)


@given(data=st.data())
def test_a_changed_description_gives_our_error_or_a_model(models, data):
    """JSON of any kind in place of any value: checksums are right, so each value is looked at."""
    kind = data.draw(st.sampled_from(KINDS))
    url = f"memory://changed-{uuid.uuid4().hex}"
    models[kind].save(url)
    file_system, place = fsspec.url_to_fs(url)
    with zipfile.ZipFile(io.BytesIO(file_system.cat_file(place))) as file:
        members = {name: file.read(name) for name in file.namelist()}
    description = json.loads(members["description.json"])
    level = description
    for _ in range(data.draw(st.integers(0, 2))):
        inner = [value for value in level.values() if isinstance(value, dict)]
        level = data.draw(st.sampled_from(inner)) if inner else level
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=3), scalars)
    level[data.draw(st.sampled_from(sorted(level)))] = data.draw(values)
    content = io.BytesIO()
    write_members(content, {**members, "description.json": json.dumps(description)})
    file_system.pipe_file(place, content.getvalue())
    try:
        loaded = daskmeans.load(url)
    except ModelFormatError:
        pass
    else:
        loaded.predict(np.zeros((2, 3)) if loaded.n_features_in_ == 3 else [])
    finally:
        file_system.rm(place)
