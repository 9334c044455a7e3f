"""Imports go one way through the layers, those inside functions included, and never in a circle."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

import daskmeans

PACKAGE = Path(daskmeans.__file__).parent

LAYERS = {
    "errors": 0,
    "typing": 0,
    "version": 0,
    "kernels": 1,
    "partials": 2,
    "blocks": 3,
    "passes": 4,
    "algorithms": 5,
    "estimators": 6,
    # Estimators draw themselves, and plots open rows as estimators do.
    "plots": 6,
    # A sweep judges its models, and metrics open rows as estimators do.
    "metrics": 6,
    "preprocessing": 6,
    # An estimator beside the others, with other conventions.
    "spark": 6,
    "edges": 7,
}

# Beside the layers: it may import the words, and only the edges may import it.
DATASETS = "datasets"


def modules_of(package):
    """Path of every module of the package, by its dotted name."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports_of(name, path, modules):
    """(line, module of the same package) for every import in one file."""
    root = name.split(".")[0]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # Each dot after the first goes up one package.
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            source = ".".join(
                [*(above if node.level else []), *([node.module] * bool(node.module))]
            )
            # `from a import b` loads the module a.b if there is one, and else takes b out of a.
            joined = [f"{source}.{alias.name}" for alias in node.names]
            targets = [target if target in modules else source for target in joined]
        else:
            continue
        for target in targets:
            if target.split(".")[0] == root:
                yield node.lineno, target


def may_import(importer, imported):
    """Whether one layer may import another, by the names after daskmeans; "" is the front door."""
    if importer == "":
        return True
    if imported == "":
        # It opens on everything: only the command line uses the package like a user does.
        return importer == "edges"
    if importer == DATASETS:
        return imported == DATASETS or LAYERS[imported] == 0
    if imported == DATASETS:
        return importer == "edges"
    return LAYERS[imported] <= LAYERS[importer]


def layer_of(name):
    layer = [*name.split("."), ""][1]
    # What `python -m daskmeans` runs is the command line.
    return "edges" if layer == "__main__" else layer


def broken_rules(package):
    """A sentence for every file and import that breaks the order of the layers."""
    modules = modules_of(package)
    known = {"", DATASETS, *LAYERS}
    for name, path in modules.items():
        if layer_of(name) not in known:
            yield f"{path}: {name} belongs to no layer"
            continue
        for line, target in imports_of(name, path, modules):
            if layer_of(target) not in known:
                yield f"{path}:{line}: {target} belongs to no layer"
            elif not may_import(layer_of(name), layer_of(target)):
                yield f"{path}:{line}: {name} must not import {target}"


def circle_in(package):
    """Modules that import each other in a circle, first and last the same, or an empty list."""
    modules = modules_of(package)
    imports = {
        name: {target for _, target in imports_of(name, path, modules)} - {name}
        for name, path in modules.items()
    }
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_files_import_only_from_their_layer_and_those_above():
    assert list(broken_rules(PACKAGE)) == []


def test_modules_do_not_import_in_circles():
    assert circle_in(PACKAGE) == []


@pytest.fixture
def package(tmp_path):
    """Writes a package of the given files, to see the checks fail."""

    def write(files):
        root = tmp_path / "daskmeans"
        for name, text in {"__init__.py": "", **files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    return write


@pytest.mark.parametrize(
    "line",
    [
        "import daskmeans.blocks.source",
        "from daskmeans.blocks.source import Block",
        "from daskmeans.blocks import source",
        "from daskmeans import blocks",
        "from ..blocks import source",
        "from ..blocks.source import Block",
        "from .. import blocks",
        "import daskmeans",
    ],
)
def test_import_from_a_lower_layer_is_named_with_its_line(package, line):
    root = package(
        {
            "blocks/__init__.py": "",
            "blocks/source.py": "",
            "kernels/lloyd.py": f"import numpy\ndef step():\n    {line}\n",
        }
    )
    (problem,) = broken_rules(root)
    assert problem.startswith(f"{root / 'kernels' / 'lloyd.py'}:3: ")
    assert "daskmeans.kernels.lloyd must not import daskmeans" in problem


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("errors", "typing", True),
        ("kernels", "errors", True),
        ("partials", "kernels", True),
        ("passes", "algorithms", False),
        ("datasets", "typing", True),
        ("datasets", "kernels", False),
        ("estimators", "datasets", False),
        ("edges", "datasets", True),
        ("edges", "", True),
        ("estimators", "", False),
        ("", "edges", True),
    ],
)
def test_order_of_the_layers(importer, imported, allowed):
    assert may_import(importer, imported) is allowed


def test_file_outside_the_layers_is_named(package):
    (problem,) = broken_rules(package({"helpers.py": ""}))
    assert problem.endswith("daskmeans.helpers belongs to no layer")


@pytest.mark.parametrize("lazily", [False, True])
def test_circle_is_found_inside_functions_too(package, lazily):
    line = "from daskmeans.passes import plan"
    root = package(
        {
            "passes/graph.py": f"def run():\n    {line}\n" if lazily else line,
            "passes/plan.py": "import daskmeans.passes.graph",
        }
    )
    assert set(circle_in(root)) == {"daskmeans.passes.graph", "daskmeans.passes.plan"}
