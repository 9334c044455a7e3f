"""The notebooks run from top to bottom, and their committed outputs are small and clean."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Of a file: pictures are most of it.
MOST_BYTES = 400_000

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# What must not be in an output: paths of a machine, addresses, warnings, uncaught errors.
_FORBIDDEN = {
    "an absolute path": r"(?<![\w:/.])/(?:home|root|tmp|usr|opt|var|work|Users|private)/",
    "a path of Windows": r"\b[A-Z]:\\",
    "a warning": r"[A-Z]\w*Warning\b|\bWARN(?:ING)?\b",
    "a traceback": r"Traceback \(most recent call last\)",
    "an address of a network": r"\b(?!127\.0\.0\.1)\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b",
    "the name of this machine": rf"\b{re.escape(socket.gethostname())}\b",
    "the state of a widget": r"application/vnd\.jupyter\.widget",
}


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts_of(output):
    """All that a reader sees of an output as text."""
    if output.output_type == "stream":
        return [output.text]
    if output.output_type == "error":
        return [*output.traceback]
    return [str(data) for kind, data in output.data.items() if not kind.startswith("image/")]


def complaints(notebook):
    """A sentence for each thing that an output of a notebook should not hold."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"{cell.id} raised {output.ename}: {output.evalue}"
            if output.output_type == "stream" and output.name != "stdout":
                yield f"{cell.id} wrote to {output.name}: {output.text}"
            for what, pattern in _FORBIDDEN.items():
                for text in texts_of(output):
                    # scikit-learn's box holds scripts and styles, which nobody reads.
                    shown = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)
                    if found := re.search(pattern, shown):
                        yield f"{cell.id} shows {what}: {found.group()}"


def test_there_are_six():
    assert [path.stem[0] for path in NOTEBOOKS] == list("123456")


@every_notebook
def test_runs(path, tmp_path, monkeypatch):
    """From top to bottom, in a folder and a process of its own."""
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    notebook = nbformat.read(copy, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    # Not the notebook folder of whoever runs the tests, nor its settings.
    for name in ("JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    client = NotebookClient(
        notebook,
        timeout=200,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert list(complaints(notebook)) == []
    # What a notebook writes, it clears away.
    left = {each.name for each in tmp_path.iterdir()}
    assert left <= {path.name, "jupyter_config_dir", "ipythondir"}


@every_notebook
def test_outputs_are_committed_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert list(complaints(notebook)) == []
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    pictures = [
        kind
        for cell in cells
        for output in cell.outputs
        for kind in output.get("data", {})
        if kind.startswith("image/")
    ]
    assert pictures, "a notebook without a picture"
    assert path.stat().st_size <= MOST_BYTES


@every_notebook
def test_links_lead_somewhere(path):
    """To other notebooks, by their names."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([^):]+)\)", cell.source):
            assert (FOLDER / target).exists(), f"{cell.id} links to {target}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("saved in /home/me/rows.zarr", "an absolute path"),
        ("/tmp/x/y.py:3: UserWarning: old", "a warning"),
        ("Traceback (most recent call last)", "a traceback"),
        ("tcp://10.0.3.7:8786", "an address of a network"),
        ("C:\\Users\\me", "a path of Windows"),
    ],
)
def test_unclean_outputs_are_named(text, what):
    cell = nbformat.v4.new_code_cell("1")
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    found = list(complaints(nbformat.v4.new_notebook(cells=[cell])))
    assert any(what in sentence for sentence in found)


def test_plain_outputs_are_let_through():
    cell = nbformat.v4.new_code_cell("1")
    text = "http://127.0.0.1:8787/status, scene.h5::/reflectance, scikit-learn 1.9.1, 3/4 of it"
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    assert list(complaints(nbformat.v4.new_notebook(cells=[cell]))) == []
