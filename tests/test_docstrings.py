"""Every public name tells its parameters, results, errors and an example that runs.

The examples run as doctests beside the tests; that they are there is checked here. A method may be
shown in the example of its class instead of one of its own.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from types import SimpleNamespace

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import Validator, validate

MODULES = ("", ".metrics", ".plots", ".preprocessing", ".datasets", ".errors")

# What numpydoc checks of each: https://numpydoc.readthedocs.io/en/latest/validation.html
CHECKED = {
    "GL06": "a section has an unknown name",
    "GL07": "sections are in another order",
    "GL08": "there is no docstring",
    "SS01": "there is no summary",
    "SS02": "the summary does not start with a capital",
    "SS04": "the summary is indented",
    "PR01": "a parameter is missing",
    "PR02": "a parameter is not one of the signature",
    "PR03": "parameters are in another order",
    "PR04": "a parameter has no type",
    "PR07": "a parameter has no description",
    "PR10": "a parameter lacks the space before its colon",
    "RT01": "what is returned is missing",
    "RT03": "what is returned has no description",
}


def public_objects():
    """(dotted name, object, its class or None) of every public name and public method."""
    for suffix in MODULES:
        module = importlib.import_module(f"daskmeans{suffix}")
        for name in module.__all__:
            found = getattr(module, name)
            if name == "__version__":
                continue
            yield f"{module.__name__}.{name}", found, None
            if inspect.isclass(found):
                for member, value in public_members(found):
                    yield f"{module.__name__}.{name}.{member}", value, found


def public_members(cls):
    """Public methods and properties of a class that this package defines, inherited ones too."""
    for name, value in inspect.getmembers_static(cls):
        if name.startswith("_"):
            continue
        function = value.fget if isinstance(value, property) else inspect.unwrap(getattr(cls, name))
        module = getattr(function, "__module__", None) or ""  # C functions have none
        if inspect.isroutine(function) and module.startswith("daskmeans"):
            yield name, value


OBJECTS = {name: (found, cls) for name, found, cls in public_objects()}
CALLABLES = [name for name, (found, _) in OBJECTS.items() if not isinstance(found, property)]


def problems_of(name):
    """What numpydoc finds wrong, of what is checked here."""
    found, _ = OBJECTS[name]
    described_elsewhere = documented_as_elsewhere(name)
    for code, text in validate(name)["errors"]:
        if code not in CHECKED:
            continue
        if code == "PR04" and any(f'"{parameter}"' in text for parameter in described_elsewhere):
            continue
        if code == "PR01" and dataclasses.is_dataclass(found):
            continue  # its fields are attributes: see the test of them
        yield f"{code} ({CHECKED[code]}): {text}"


def documented_as_elsewhere(name):
    """Parameters whose text points to where they are described: "As in `fit`."."""
    parameters = Validator(get_doc_object(Validator._load_obj(name))).doc_all_parameters
    return {
        parameter
        for parameter, (_, text) in parameters.items()
        if "".join(text).startswith("As in `")
    }


@pytest.mark.parametrize("name", OBJECTS)
def test_docstring_follows_numpydoc_and_the_signature(name):
    assert list(problems_of(name)) == []


@pytest.mark.parametrize(
    "name",
    [name for name, (found, _) in OBJECTS.items() if dataclasses.is_dataclass(found)],
)
def test_fields_of_records_are_its_attributes(name):
    found, _ = OBJECTS[name]
    documented = [entry.name for entry in get_doc_object(found)["Attributes"]]
    assert documented == [field.name for field in dataclasses.fields(found)]


def parameters_of(found):
    return [name for name in inspect.signature(found).parameters if name not in ("self", "cls")]


@pytest.mark.parametrize("name", [name for name in CALLABLES if ".errors." not in name])
def test_errors_are_told(name):
    """By what takes rows, labels, a path or a model, and by what raises in its own lines."""
    found, _ = OBJECTS[name]
    if inspect.isclass(found):
        return
    function = inspect.unwrap(found.__func__ if isinstance(found, classmethod) else found)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raises = any(isinstance(node, ast.Raise) and node.exc for node in ast.walk(tree))
    takes_data = {"X", "labels", "labels_true", "path", "source", "rows", "model"} & {
        *parameters_of(function)
    }
    if raises or takes_data:
        assert get_doc_object(function)["Raises"], "there is no section Raises"


def examples_of(found):
    return "\n".join(get_doc_object(found)["Examples"])


@pytest.mark.parametrize("name", CALLABLES)
def test_an_example_shows_it(name):
    found, cls = OBJECTS[name]
    own = examples_of(found)
    if cls is None:
        assert ">>> " in own
    else:
        shown = own + "".join(
            examples_of(base) for base in cls.__mro__ if base.__module__.startswith("daskmeans")
        )
        assert re.search(rf"\.{name.rpartition('.')[2]}\(", shown), (
            f"neither {name} nor its class shows a call of it"
        )


def test_public_names_are_found():
    """The tests above are empty if these lists are."""
    assert {
        "daskmeans.KMeans",
        "daskmeans.KMeans.fit",
        "daskmeans.KMeans.resume",
        "daskmeans.MiniBatchKMeans.predict",
        "daskmeans.sweep",
        "daskmeans.metrics.inertia",
        "daskmeans.plots.elbow",
        "daskmeans.preprocessing.Preprocessor.kept",
        "daskmeans.datasets.make_blobs",
        "daskmeans.errors.RowsError",
    } <= OBJECTS.keys()
    assert len(OBJECTS) >= 70


@pytest.fixture
def bad_function(monkeypatch):
    """Adds a function to the public names, to see the checks fail."""

    def add(function):
        module = SimpleNamespace(bad=function)
        monkeypatch.setitem(OBJECTS, "bad", (function, None))
        monkeypatch.setattr(Validator, "_load_obj", staticmethod(lambda name: module.bad))
        return list(problems_of("bad"))

    return add


def test_missing_parameter_is_found(bad_function):
    def bad(X, extra):
        """Return something.

        Parameters
        ----------
        X : array-like
            Rows.
        """

    assert [problem[:4] for problem in bad_function(bad)] == ["PR01"]


def test_type_may_be_left_out_only_where_the_text_points_to_it(bad_function):
    def bad(X, labels):
        """Return something.

        Parameters
        ----------
        X
            As in `fit`.
        labels
            Labels of the rows.
        """

    (problem,) = bad_function(bad)
    assert problem.startswith("PR04")
    assert '"labels"' in problem
