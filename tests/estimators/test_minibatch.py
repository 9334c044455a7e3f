"""MiniBatchKMeans: parity with scikit-learn and Spark, one answer, bad batches, readers."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
import zarr
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from daskmeans import KMeans, MiniBatchKMeans
from daskmeans.errors import RowsError

SPARK = json.loads(Path(__file__).with_name("spark_streaming.json").read_text())


@pytest.fixture(scope="module")
def rows():
    """Rows (4000, 6) around nine points, float64."""
    generator = np.random.default_rng(5)
    middles = generator.uniform(-10, 10, (9, 6))
    return middles[generator.integers(9, size=4000)] + generator.normal(size=(4000, 6))


def fed(model, batches, weights=None):
    for number, batch in enumerate(batches):
        model.partial_fit(batch, sample_weight=None if weights is None else weights[number])
    return model


# Parity with scikit-learn.


@pytest.mark.parametrize("weighted", [False, True])
def test_batches_move_centers_as_in_scikit_learn(rows, weighted):
    batches = np.array_split(rows, 17)
    weights = None
    if weighted:
        generator = np.random.default_rng(1)
        weights = [generator.uniform(0, 3, len(batch)) for batch in batches]
    parameters = {"init": rows[:9], "n_init": 1, "reassignment_ratio": 0}
    ours = fed(MiniBatchKMeans(9, **parameters), batches, weights)
    theirs = fed(sklearn.cluster.MiniBatchKMeans(9, **parameters), batches, weights)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=1e-10)
    np.testing.assert_allclose(ours.counts_, theirs._counts, rtol=1e-10)
    assert ours.n_steps_ == theirs.n_steps_ == 17


def test_rows_far_from_the_origin_keep_their_digits(rows):
    batches = [(part + 1e5).astype(np.float32) for part in np.array_split(rows, 8)]
    wide = [part.astype(np.float64) for part in batches]
    parameters = {"init": batches[0][:9], "n_init": 1, "reassignment_ratio": 0}
    ours = fed(MiniBatchKMeans(9, **parameters), batches)
    theirs = fed(sklearn.cluster.MiniBatchKMeans(9, **parameters), wide)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=0, atol=1e-6)


def test_fit_is_as_good_as_scikit_learns_over_seeds(rows):
    ours = [MiniBatchKMeans(9, random_state=seed).fit(rows).inertia_ for seed in range(20)]
    theirs = [
        sklearn.cluster.MiniBatchKMeans(9, random_state=seed).fit(rows).inertia_
        for seed in range(20)
    ]
    assert np.median(ours) <= 1.01 * np.median(theirs)


def test_first_steps_of_a_fit_are_logged_with_falling_inertia(rows):
    model = MiniBatchKMeans(9, batch_size=200, max_no_improvement=None, max_iter=2, random_state=0)
    model.fit(rows)
    assert model.n_steps_ == len(model.history_) == 40
    assert model.n_iter_ == 2
    assert model.stop_reason_ == "max_iter"
    assert not model.converged_
    assert model.history_[-1].smoothed_inertia < model.history_[0].inertia
    assert [record.step for record in model.history_] == list(range(1, 41))


def test_fit_ends_without_improvement_and_by_tolerance(rows):
    model = MiniBatchKMeans(9, batch_size=500, random_state=0).fit(rows)
    assert (model.stop_reason_, model.converged_) == ("no improvement", True)
    lowest = min(record.smoothed_inertia for record in model.history_[1:])
    assert all(record.smoothed_inertia >= lowest for record in model.history_[-10:])
    model = MiniBatchKMeans(9, batch_size=500, tol=1e9, random_state=0).fit(rows)
    assert (model.stop_reason_, model.n_steps_) == ("tolerance", 2)


def test_interrupted_fit_keeps_its_centers(rows, monkeypatch):
    def see(self, record):
        if record.step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(MiniBatchKMeans, "_print_step", see)
    model = MiniBatchKMeans(9, batch_size=500, random_state=0)
    with pytest.warns(ConvergenceWarning, match="interrupted: centers are those of step 4"):
        model.fit(da.from_array(rows, chunks=(500, 6)))
    assert (model.stop_reason_, model.converged_, model.n_steps_) == ("interrupted", False, 4)
    assert model.labels_.compute().shape == (4000,)


# Spark's rule.


@pytest.mark.parametrize("name", list(SPARK["cases"]))
def test_forgetting_is_sparks(name):
    case = SPARK["cases"][name]
    model = MiniBatchKMeans(
        3,
        init=np.array(case["initial"]),
        half_life=case["half_life"],
        time_unit=case["time_unit"],
        dying_threshold=1e-8,
        compute_labels=False,
    )
    n_split = 0
    for number, expected in enumerate(case["steps"]):
        batch = np.array(SPARK["batches"][number % len(SPARK["batches"])])
        if number == 0 and any(case["initial_weights"]):
            # Spark's model is made with weights; ours has them from rows at the centers.
            at_centers = np.array(case["initial"])
            model.partial_fit(at_centers, sample_weight=case["initial_weights"])
        model.partial_fit(batch)
        n_split += model.history_[-1].n_split
        np.testing.assert_allclose(model.cluster_centers_, expected["centers"], rtol=1e-11)
        np.testing.assert_allclose(model.counts_, expected["weights"], rtol=1e-11)
    assert n_split == (1 if name == "dying" else 0)


def test_decay_is_what_a_half_life_leaves(rows):
    batches = np.array_split(rows, 5)
    by_half_life = fed(MiniBatchKMeans(4, half_life=3.0, random_state=0), batches)
    by_decay = fed(MiniBatchKMeans(4, decay=0.5 ** (1 / 3), random_state=0), batches)
    np.testing.assert_allclose(by_half_life.cluster_centers_, by_decay.cluster_centers_, rtol=1e-12)
    with pytest.raises(ValueError, match=r"decay=0\.5 and half_life=2\.0 say the same"):
        MiniBatchKMeans(2, decay=0.5, half_life=2.0).partial_fit(rows)


def test_forgetting_follows_centers_that_move():
    generator = np.random.default_rng(3)
    middles = generator.uniform(-10, 10, (4, 2))
    forgetful = MiniBatchKMeans(4, init=middles, half_life=2, reassignment_ratio=0)
    lasting = MiniBatchKMeans(4, init=middles, reassignment_ratio=0)
    for number in range(60):
        moved = middles + 0.1 * number
        batch = moved[generator.integers(4, size=400)] + 0.3 * generator.normal(size=(400, 2))
        forgetful.partial_fit(batch)
        lasting.partial_fit(batch)
    errors = [np.abs(model.cluster_centers_ - moved).max() for model in (forgetful, lasting)]
    assert errors[0] < 0.5 < 2 < errors[1]


# Dead centers.


def test_dead_centers_move_to_rows_of_the_batch(rows):
    init = np.vstack((rows[:5], np.full((4, 6), 1e6)))
    model = MiniBatchKMeans(9, init=init, random_state=0).partial_fit(rows[:500])
    assert model.history_[0].n_reassigned == 4
    for center in model.cluster_centers_[5:]:
        assert (rows[:500] == center).all(axis=1).any()
    assert (model.counts_[5:] == model.counts_[:5].min()).all()
    left = MiniBatchKMeans(9, init=init, reassignment_ratio=0).partial_fit(rows[:500])
    assert left.history_[0].n_reassigned == 0
    assert (left.cluster_centers_[5:] == 1e6).all()


def test_dead_centers_never_move_to_rows_without_weight(rows):
    init = np.vstack((rows[:5], np.full((4, 6), 1e6)))
    weights = np.where(np.arange(500) < 250, 1.0, 0.0)
    model = MiniBatchKMeans(9, init=init, random_state=0)
    model.partial_fit(rows[:500], sample_weight=weights)
    for center in model.cluster_centers_[5:]:
        assert (rows[:250] == center).all(axis=1).any()


# One answer.


@given(data=st.data())
def test_a_batch_is_the_same_in_any_chunks(rows, data):
    edges = data.draw(st.lists(st.integers(1, 499), unique=True, max_size=6).map(sorted))
    sizes = tuple(np.diff([0, *edges, 500]).tolist())
    weighted = data.draw(st.booleans())
    weights = np.random.default_rng(2).uniform(0, 2, 4000) if weighted else None
    chunked = MiniBatchKMeans(9, random_state=4)
    whole = MiniBatchKMeans(9, random_state=4)
    for start in (0, 500, 1000):
        part = slice(start, start + 500)
        each = None if weights is None else weights[part]
        batch = da.from_array(rows[part], chunks=(sizes, (2, 4)))
        chunked.partial_fit(batch, sample_weight=each)
        whole.partial_fit(rows[part], sample_weight=each)
    np.testing.assert_array_equal(chunked.cluster_centers_, whole.cluster_centers_)
    np.testing.assert_array_equal(chunked.counts_, whole.counts_)
    np.testing.assert_array_equal(chunked.labels_.compute(), whole.labels_)
    assert chunked.inertia_ == whole.inertia_


def test_a_batch_is_the_same_of_any_kind(rows, tmp_path):
    part = rows[:600]
    stored = zarr.create_array(tmp_path / "batch.zarr", data=part, chunks=(100, 6))
    np.save(tmp_path / "batch.npy", part)
    frame = pd.DataFrame(part)
    kinds = [
        stored,
        np.load(tmp_path / "batch.npy", mmap_mode="r"),
        frame,
        dd.from_pandas(frame, npartitions=3),
        np.asfortranarray(part),
    ]
    expected = MiniBatchKMeans(5, random_state=0).partial_fit(part)
    for batch in kinds:
        model = MiniBatchKMeans(5, random_state=0).partial_fit(batch)
        np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
        assert model.inertia_ == expected.inertia_


def test_fit_of_a_store_is_the_same_on_every_scheduler(rows, tmp_path, scheduler):
    stored = zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(700, 6))
    weights = da.from_array(np.random.default_rng(0).uniform(0, 2, 4000), chunks=900)
    model = MiniBatchKMeans(9, batch_size=300, random_state=3, max_no_improvement=5)
    model.fit(da.from_zarr(stored), sample_weight=weights)
    found = (model.cluster_centers_.tobytes(), model.inertia_, model.n_steps_)
    assert found == EXPECTED.setdefault("weighted", found)
    model.fit(da.from_zarr(stored).rechunk((700, 6)).map_blocks(np.copy))
    found = (model.cluster_centers_.tobytes(), model.inertia_, model.n_steps_)
    assert found == EXPECTED.setdefault("unweighted", found)


# What the first scheduler found, for the others to find.
EXPECTED: dict[str, tuple] = {}


def test_blocks_of_unknown_sizes(rows):
    frame = dd.from_pandas(pd.DataFrame(rows), npartitions=5)
    model = MiniBatchKMeans(9, random_state=0).fit(frame)
    assert len(model.labels_.compute()) == 4000
    assert model.inertia_ < 2 * KMeans(9, random_state=0).fit(rows).inertia_


def test_an_epoch_reads_each_block_once(rows):
    reads = []

    def read(block_info=None):
        number = block_info[None]["chunk-location"][0]
        reads.append(number)
        return rows[number * 100 : (number + 1) * 100]

    X = da.map_blocks(read, chunks=((100,) * 40, (6,)), dtype=rows.dtype, meta=np.empty((0, 0)))
    model = MiniBatchKMeans(
        9, init=rows[:9], max_iter=1, init_size=9, max_no_improvement=None, compute_labels=False
    ).fit(X)
    assert model.n_iter_ == 1
    # Seeding looks at a few blocks, and reads some ahead.
    counts = np.bincount(reads, minlength=40)
    assert counts.min() == 1
    assert counts.sum() <= 40 + 12


def test_few_rows_are_one_batch_in_any_blocks(rows):
    few = rows[:200]
    whole = MiniBatchKMeans(4, random_state=1).fit(few)
    chunked = MiniBatchKMeans(4, random_state=1, init=whole.cluster_centers_)
    other = MiniBatchKMeans(4, random_state=1, init=whole.cluster_centers_)
    chunked.fit(da.from_array(few, chunks=(23, 6)))
    other.fit(da.from_array(few, chunks=(90, 6)))
    np.testing.assert_array_equal(chunked.cluster_centers_, other.cluster_centers_)


# Bad batches.


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize(
    ("batch", "weights", "message"),
    [
        (np.array([[1.0, np.nan]] * 9), None, "NaN"),
        (da.from_array(np.array([[1.0, np.inf]] * 9), chunks=4), None, "infinity"),
        (np.empty((0, 2)), None, r"0 sample\(s\)"),
        (np.ones((9, 2)), -np.ones(9), "Negative"),
        (np.ones((9, 2)), np.ones(8), "sample_weight.shape"),
        (np.ones((9, 2)), np.zeros(9), "sample_weight are zero"),
        (np.ones((9, 2, 2)), None, "dim"),
    ],
)
def test_a_bad_batch_leaves_the_model_as_it_was(batch, weights, message, started):
    model = MiniBatchKMeans(2, random_state=0)
    if started:
        model.partial_fit(np.arange(12.0).reshape(6, 2))
    before = {name: np.copy(value) for name, value in vars(model).items()}
    with pytest.raises(ValueError, match=message):
        model.partial_fit(batch, sample_weight=weights)
    after = vars(model)
    assert set(after) == set(before)
    for name, value in before.items():
        np.testing.assert_array_equal(value, np.copy(after[name]))


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt()])
def test_labels_that_cannot_be_made_leave_the_model_as_it_was(error, started, rows, monkeypatch):
    """The centers have moved by then: labels are a second walk over the batch."""
    model = MiniBatchKMeans(3, random_state=0)
    if started:
        model.partial_fit(rows[:100])
    before = dict(vars(model))

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("daskmeans.estimators.minibatch.measure", fail)
    with pytest.raises(type(error)):
        model.partial_fit(rows[100:200])
    assert vars(model) == before


def test_first_batch_needs_as_many_rows_as_clusters():
    model = MiniBatchKMeans(5)
    with pytest.raises(RowsError, match="n_samples=3 should be >= n_clusters=5"):
        model.partial_fit(np.ones((3, 2)))
    assert not hasattr(model, "n_features_in_")


def test_other_width_is_refused(rows):
    model = MiniBatchKMeans(3, random_state=0).partial_fit(rows)
    with pytest.raises(ValueError, match="expecting 6 features"):
        model.partial_fit(rows[:, :4])
    with pytest.raises(ValueError, match="expecting 6 features"):
        model.partial_fit(da.from_array(rows[:, :4]))


def test_a_bad_row_of_a_store_is_named(rows):
    broken = rows.copy()
    broken[1234, 3] = np.nan
    with pytest.raises(RowsError, match=r"block 2, row 1234 \(row 234 of the block\), column 3"):
        MiniBatchKMeans(3).fit(da.from_array(broken, chunks=(500, 6)))


# Readers.


def test_readers_see_one_set_of_centers(rows):
    """All centers move together, so the labels of a reader are those of one moment."""
    model = MiniBatchKMeans(3, init=np.eye(3) * 100, reassignment_ratio=0, decay=0.01)
    model.partial_fit(np.eye(3) * 100)
    stop = threading.Event()
    wrong = []

    def look():
        while not stop.is_set():
            distances = model.transform(np.zeros((1, 3)))[0]
            if np.ptp(distances) > 1e-9 * distances[0]:
                wrong.append(distances)
            labels = model.predict(np.eye(3) * 103)
            # Three rows on axes of their own, each as far from its center as the others.
            distance = np.sqrt(-model.score(np.eye(3) * 103) / 3)
            if labels.tolist() != [0, 1, 2] or distance > 4:
                wrong.append((labels, distance))

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(300):
        model.partial_fit(np.eye(3) * (100 + number % 7))
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_a_model_goes_on_after_a_pickle(rows):
    model = fed(MiniBatchKMeans(5, random_state=0), [rows[:1000], rows[1000:2000]])
    copied = pickle.loads(pickle.dumps(model))
    for each in (model, copied):
        each.partial_fit(rows[2000:])
    np.testing.assert_array_equal(model.cluster_centers_, copied.cluster_centers_)


def test_history_of_a_stream_is_bounded():
    model = MiniBatchKMeans(2, init=np.array([[0.0], [9.0]]), compute_labels=False)
    for _ in range(1100):
        model.partial_fit([[0.0], [9.0]])
    assert len(model.history_) == 1000
    assert model.history_[-1].step == model.n_steps_ == 1100
