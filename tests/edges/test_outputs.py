"""Outputs are whole or not there, and overwriting replaces nothing but an output of the kind."""

from __future__ import annotations

import os

import pytest

from daskmeans.edges.outputs import OutputKind, check_apart, check_output, written_beside
from daskmeans.errors import OutputError, OutputExistsError

NOTE = OutputKind("a note", lambda path: path.is_file() and path.suffix == ".txt")
BOX = OutputKind("a box", lambda path: (path / "lid").exists())


def write_box(path, lid, *, overwrite=False, meanwhile=lambda: None):
    """Write a box; call `meanwhile` when all is written and nothing moved yet."""
    with written_beside(path, BOX, overwrite=overwrite) as partial:
        partial.mkdir()
        (partial / "lid").write_text(lid)
        meanwhile()


def test_output_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "note.txt"
    with written_beside(path, NOTE, overwrite=False) as partial:
        partial.write_text("whole")
        assert not path.exists()
        assert partial.parent == tmp_path, "a rename must not cross from disk to disk"
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["note.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_output_and_nothing_else(tmp_path, error):
    path = tmp_path / "box"
    write_box(path, "old")

    def fail():
        raise error

    with pytest.raises(error):
        write_box(path, "new", overwrite=True, meanwhile=fail)
    assert (path / "lid").read_text() == "old"
    assert os.listdir(tmp_path) == ["box"]


def test_overwriting_replaces_the_whole_folder(tmp_path):
    path = tmp_path / "box"
    write_box(path, "old")
    (path / "leftover").touch()
    write_box(path, "new", overwrite=True)
    assert os.listdir(path) == ["lid"]
    assert (path / "lid").read_text() == "new"
    assert os.listdir(tmp_path) == ["box"]


def test_what_exists_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("old")
    with pytest.raises(
        OutputExistsError, match=r"note\.txt exists already: .* pass overwrite=True .--overwrite"
    ):
        check_output(tmp_path / "note.txt", NOTE, overwrite=False)


def test_what_came_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "box"
    with pytest.raises(OutputExistsError, match="exists already"):
        write_box(path, "ours", meanwhile=lambda: path.write_text("someone else's"))
    assert path.read_text() == "someone else's"


@pytest.mark.parametrize("name", ["photos", "thesis.doc"])
def test_overwriting_leaves_other_things_alone(tmp_path, name):
    """A slip of the pen after --labels must not cost a folder of someone's work."""
    path = tmp_path / name
    if name == "photos":
        path.mkdir()
        (path / "summer.jpg").touch()
    else:
        path.touch()
    with pytest.raises(OutputExistsError, match=f"{name} is not a box, so it is not overwritten"):
        check_output(path, BOX, overwrite=True)
    assert path.exists()


def test_empty_folder_can_be_overwritten(tmp_path):
    (tmp_path / "box").mkdir()
    write_box(tmp_path / "box", "new", overwrite=True)
    assert (tmp_path / "box" / "lid").read_text() == "new"


def test_symbolic_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    write_box(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_box(tmp_path / "link", "new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "lid").read_text() == "new"


def test_missing_folder_is_made(tmp_path):
    write_box(tmp_path / "a" / "b" / "box", "new")
    assert (tmp_path / "a" / "b" / "box" / "lid").exists()


def test_folder_that_cannot_be_written_is_named(tmp_path):
    """Below a regular file: it holds for root too, whom permissions do not stop."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/box cannot be written: .*file\)"):
        check_output(tmp_path / "file" / "box", BOX, overwrite=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop root")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="cannot be written: Permission denied"):
            check_output(tmp_path / "box", BOX, overwrite=False)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("outputs", "inputs"),
    [
        (["rows"], ["rows"]),
        (["rows/labels"], ["rows"]),
        (["run"], ["run/rows"]),
        (["new", "new"], ["rows"]),
        (["new", "new/labels"], ["rows"]),
        (["elsewhere/../rows"], ["rows"]),
    ],
)
def test_outputs_that_would_cost_an_input_or_each_other(tmp_path, outputs, inputs):
    with pytest.raises(OutputError, match=r"cannot be written where .* is"):
        check_apart([tmp_path / path for path in outputs], [tmp_path / path for path in inputs])


def test_outputs_beside_their_input_are_fine(tmp_path):
    check_apart([tmp_path / "g" / "labels", tmp_path / "model"], [tmp_path / "g" / "rows"])
