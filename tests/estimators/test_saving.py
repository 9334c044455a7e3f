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
    assert set(members) == {"description.json", "cluster_centers_.npy", "cluster_sizes_.npy"}
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
    with pytest.raises(ModelFormatError, match=r"saved model .* is a folder, not a file\."):
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
        (lambda d: d.update(format=2), "of format 2.*reads format 1: .*a newer version"),
        (lambda d: d.pop("format"), "is not a saved model, or it is damaged"),
        (lambda d: d.update(kind="picture"), "is not a saved model but a picture"),
        (lambda d: d.update(estimator="Oracle"), "has no estimator 'Oracle'"),
        (lambda d: d["fitted"].pop("n_iter_"), "lacks 'n_iter_'"),
        (lambda d: d["parameters"].update(n_clusters=5), r"centers of shape \(4, 3\).*\(5, 3\)"),
        (lambda d: d["parameters"].update(tol="x"), "'tol' parameter of KMeans must be"),
        (lambda d: d["parameters"].update(speed=9), "unexpected keyword argument 'speed'"),
        (lambda d: d.update(n_features_in=2), r"centers of shape \(4, 3\).*\(4, 2\)"),
        (lambda d: d.update(feature_names_in=["a"]), "1 feature names for 3 features"),
        (lambda d: d.update(feature_names_in=[None] * 3), "feature names are not a list of text"),
        (lambda d: d.update(feature_names_in="abc"), "feature names are not a list of text"),
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


@pytest.mark.parametrize("sizes", [-np.ones(4, int), np.ones(3, int), np.ones(4)])
@pytest.mark.parametrize("kind", KINDS)
def test_other_cluster_sizes(models, kind, sizes, tmp_path):
    path = tmp_path / "model"
    models[kind].save(path)
    write_members(path, {**members_of(path), "cluster_sizes_.npy": npy(sizes)})
    with pytest.raises(ModelFormatError, match="not one number of rows a cluster"):
        daskmeans.load(path)


def test_file_without_cluster_sizes(saved, models):
    """They are no part of a model whose fit was interrupted."""
    members = members_of(saved)
    del members["cluster_sizes_.npy"]
    write_members(saved, members)
    loaded = daskmeans.load(saved)
    assert loaded.cluster_sizes_ is None
    np.testing.assert_array_equal(loaded.cluster_centers_, models["KMeans"].cluster_centers_)
    loaded.save(saved, overwrite=True)
    assert daskmeans.load(saved).cluster_sizes_ is None


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


@given(
    shape=st.lists(st.integers(-2, 2**40), max_size=4).map(tuple),
    descr=st.sampled_from(["<f8", ">f8", "<f4", "<c16", "|O", "|S8", "<M8[s]", "|V8", "f8,f8"]),
    fortran=st.booleans(),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]),
    n_bytes=st.integers(0, 200),
)
def test_what_an_array_claims_is_compared_with_what_is_there(
    models, shape, descr, fortran, version, n_bytes
):
    """A header is all that a shape of terabytes takes; NumPy would ask for the memory first."""
    url = f"memory://claims-{uuid.uuid4().hex}"
    models["KMeans"].save(url)
    file_system, place = fsspec.url_to_fs(url)
    with zipfile.ZipFile(io.BytesIO(file_system.cat_file(place))) as file:
        description = file.read("description.json")
    header = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode() + b"\n"
    length = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    member = b"\x93NUMPY" + bytes(version) + length + header + b"\0" * n_bytes
    content = io.BytesIO()
    write_members(content, {"description.json": description, "cluster_centers_.npy": member})
    file_system.pipe_file(place, content.getvalue())
    # None of these is 4 x 3 numbers in 96 bytes.
    if (shape, descr, n_bytes) != ((4, 3), "<f8", 96):
        with pytest.raises(ModelFormatError):
            daskmeans.load(url)
    file_system.rm(place)


def test_members_that_are_compressed_are_not_unpacked(saved):
    """A gigabyte of zeros takes a megabyte in a file."""
    members = members_of(saved)
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
        with file.open("bomb.npy", "w") as bomb:
            for _ in range(64):
                bomb.write(bytes(1 << 20))
    assert saved.stat().st_size < 1 << 20
    with pytest.raises(ModelFormatError, match="members are compressed"):
        daskmeans.load(saved)


def test_members_that_lie_over_each_other_are_not_read(saved):
    """Many names of one place in the file: each is read, and none takes room."""
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as file:
        directory = file.start_dir
    end = content.rindex(b"PK\x05\x06")
    entries, tail = bytes(content[directory:end]), bytearray(content[end:])
    copies = 50
    tail[8:12] = (2 * copies).to_bytes(2, "little") * 2
    tail[12:16] = (len(entries) * copies).to_bytes(4, "little")
    saved.write_bytes(bytes(content[:directory]) + entries * copies + bytes(tail))
    with pytest.raises(ModelFormatError, match=r"more than its own size|damaged"):
        daskmeans.load(saved)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["fitted"]["state"].update(n_steps="7"), "n_steps is '7', not a number"),
        (lambda d: d["fitted"]["state"].update(seed=-1), "seed is -1, not a whole number"),
        (lambda d: d["fitted"]["state"].update(n_rows=2.5), "n_rows is 2.5, not a whole number"),
        (lambda d: d["fitted"]["history_"][0].update(inertia=[]), "inertia is .., not a number"),
    ],
)
def test_changed_state_of_a_stream(models, tmp_path, edit, message):
    """What the next batch would stumble over is found when the model is read."""
    path = tmp_path / "model"
    models["MiniBatchKMeans of batches"].save(path)
    change(path, edit)
    with pytest.raises(ModelFormatError, match=message):
        daskmeans.load(path)


@pytest.mark.parametrize("depth", [10_000, 1_000_000])
def test_nested_description(saved, depth):
    members = members_of(saved)
    write_members(saved, {**members, "description.json": "[" * depth + "]" * depth})
    with pytest.raises(ModelFormatError, match="is not a saved model, or it is damaged"):
        daskmeans.load(saved)


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
        rows = np.zeros((2, loaded.n_features_in_))
        names = getattr(loaded, "feature_names_in_", None)
        loaded.predict(rows if names is None else pd.DataFrame(rows, columns=names))
    finally:
        file_system.rm(place)
