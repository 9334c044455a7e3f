"""What a notebook shows of fits: well-formed, escaped, and no more than there is to show."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from daskmeans import BisectingKMeans, KMeans, MiniBatchKMeans, load, sweep
from daskmeans.plots.html import Summary, beside, curve, shown

SVG = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """Cells by line and all text; complains about tags that are not closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.lines, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.lines.append([])
        if tag in ("th", "td"):
            self.lines[-1].append("")
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if "title" not in self.open and self.open[-1:] and {"th", "td"} & set(self.open):
            self.lines[-1][-1] += data


def added_to(model):
    """What is shown beside scikit-learn's box, as a page, and its drawings."""
    html = model._repr_html_()
    text = html[html.index("<div><table><tbody>") :].removesuffix("</div>")
    drawings = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text)]
    return Page(text), drawings


def facts_of(page):
    return {line[0]: line[1] for line in page.lines if len(line) == 2}


@pytest.fixture(scope="module")
def frame():
    """Rows (600, 3) in three groups, one column's name is HTML."""
    rows = np.random.default_rng(2).normal(size=(600, 3)) + 9 * (np.arange(600) % 3)[:, None]
    return pd.DataFrame(rows, columns=["<script>x</script>", "a & b", "plain"])


class TestKMeans:
    def test_tells_sizes_inertia_and_passes(self, frame):
        model = KMeans(3, random_state=0).fit(frame)
        page, drawings = added_to(model)
        facts = facts_of(page)
        assert facts["rows"] == "600"
        assert facts["inertia"] == shown(model.inertia_)
        assert facts["converged"] == model.stop_reason_
        assert facts["passes"] == f"{model.n_passes_} (rows in memory)"
        table = page.lines[-3:]
        assert [line[0] for line in table] == ["0", "1", "2"]
        assert [line[1] for line in table] == [str(size) for size in model.cluster_sizes_]
        assert [line[3] for line in table] == [shown(v) for v in model.cluster_centers_[:, 0]]
        # The curve, and a bar for each cluster.
        assert len(drawings) == 1 + 3

    def test_curve_has_a_point_for_each_iteration_and_the_last_pass(self, frame):
        model = KMeans(9, random_state=0, tol=0).fit(frame)
        (line,) = added_to(model)[1][0].iter(f"{SVG}polyline")
        heights = [float(point.split(",")[1]) for point in line.get("points").split()]
        assert len(heights) == model.n_iter_ + 1
        assert heights == sorted(heights)  # the inertia falls, and y points down

    def test_escapes_names(self, frame):
        page, _ = added_to(KMeans(3, random_state=0).fit(frame))
        assert "script" not in page.open
        assert page.lines[-4][3:] == list(frame.columns)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"tol": 0.0}, "center shift zero"),
            ({"tol": 0.5}, "tolerance"),
            ({"rtol": 0.5, "tol": 0.0}, "relative tolerance"),
            ({"max_iter": 1, "tol": 0.0}, "max_iter"),
            ({"max_passes": 3, "tol": 0.0}, "max_passes"),
            ({"max_seconds": 1e-9}, "max_seconds"),
            ({"callback": lambda state: True}, "callback"),
        ],
    )
    def test_every_stop_reason(self, frame, options, reason):
        parameters = {name: value for name, value in options.items() if name != "callback"}
        model = KMeans(9, random_state=4, **parameters).fit(frame, callback=options.get("callback"))
        assert model.stop_reason_ == reason
        facts = facts_of(added_to(model)[0])
        assert facts["converged" if model.converged_ else "not converged"] == reason
        assert ("not converged" in facts) is not model.converged_

    def test_interrupted_before_the_last_pass(self, frame):
        """There are no sizes, and the curve ends with the last iteration."""

        def press(state):
            raise KeyboardInterrupt

        with pytest.warns(match="interrupted"):
            model = KMeans(9, random_state=4).fit(frame, callback=press)
        page, drawings = added_to(model)
        facts = facts_of(page)
        assert facts["not converged"] == "interrupted"
        assert "rows" not in facts
        assert facts["inertia"] == shown(model.history_[-1].inertia)
        (line,) = drawings[0].iter(f"{SVG}polyline")
        assert len(line.get("points").split()) == model.n_iter_ == 1
        assert len(page.lines) == len(facts) + 1 + 9

    def test_largest_of_many_clusters(self, frame):
        page, _ = added_to(KMeans(40, random_state=0).fit(frame))
        assert "12 of 40 clusters, those with the most rows" in page.text
        sizes = [int(line[1]) for line in page.lines[-12:]]
        model = KMeans(40, random_state=0).fit(frame)
        assert sorted(sizes) == sorted(model.cluster_sizes_)[-12:]

    def test_many_features(self):
        rows = np.random.default_rng(0).normal(size=(50, 9))
        page, _ = added_to(KMeans(2, random_state=0).fit(rows))
        assert page.lines[-3][-2:] == ["feature 5", "3 more"]

    def test_after_loading(self, frame, tmp_path):
        model = KMeans(3, random_state=0).fit(frame)
        model.save(tmp_path / "model")
        loaded = load(tmp_path / "model")
        assert added_to(loaded)[0].lines == added_to(model)[0].lines


class TestMiniBatchKMeans:
    def test_of_a_fit(self, frame):
        model = MiniBatchKMeans(3, batch_size=100, random_state=0).fit(frame)
        page, _ = added_to(model)
        facts = facts_of(page)
        assert facts["steps"] == str(model.n_steps_)
        assert facts["inertia of 600 rows"] == shown(model.inertia_)
        assert facts["converged" if model.converged_ else "not converged"] == model.stop_reason_
        assert [line[1] for line in page.lines[-3:]] == [shown(each) for each in model.counts_]

    @pytest.mark.parametrize("compute_labels", [True, False])
    def test_of_a_stream(self, frame, compute_labels):
        model = MiniBatchKMeans(3, random_state=0, compute_labels=compute_labels)
        for batch in np.array_split(frame.to_numpy(), 5):
            model.partial_fit(batch)
        page, drawings = added_to(model)
        facts = facts_of(page)
        assert (facts["rows so far"], facts["steps"]) == ("600", "5")
        assert not {"converged", "not converged", "epochs"} & set(facts)
        assert ("inertia of 120 rows" in facts) is compute_labels
        (line,) = drawings[0].iter(f"{SVG}polyline")
        assert len(line.get("points").split()) == 5


class TestBisectingKMeans:
    def test_tells_sizes_inertia_and_passes(self, frame):
        model = BisectingKMeans(3, random_state=0).fit(frame)
        page, drawings = added_to(model)
        assert facts_of(page) == {
            "rows": "600",
            "features": "3",
            "inertia": shown(model.inertia_),
            "passes": f"{model.n_passes_} (rows in memory)",
        }
        assert [line[1] for line in page.lines[-3:]] == [str(size) for size in model.cluster_sizes_]
        # No curve: iterations are those of many splits. A bar for each cluster.
        assert len(drawings) == 3

    def test_after_loading(self, frame, tmp_path):
        model = BisectingKMeans(3, random_state=0).fit(frame)
        model.save(tmp_path / "model")
        loaded = load(tmp_path / "model")
        assert added_to(loaded)[0].lines == added_to(model)[0].lines


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans, BisectingKMeans])
class TestInNotebooks:
    def test_box_is_scikit_learns(self, frame, kind):
        model = kind(3, random_state=0).fit(frame)
        box = BaseEstimator._repr_html_inner(model)
        # Each time it is made ids count on.
        numbers = re.compile(r"-id-\d+")
        assert numbers.sub("", box) in numbers.sub("", model._repr_html_())

    def test_not_fitted_shows_scikit_learns_box_alone(self, kind):
        assert "daskmeans" not in kind()._repr_html_()
        assert "daskmeans" not in kind()._repr_mimebundle_()["text/html"]

    def test_both_ways_that_notebooks_ask(self, frame, kind):
        model = kind(3, random_state=0).fit(frame)
        bundle = model._repr_mimebundle_()
        assert bundle["text/plain"] == repr(model)
        for html in (model._repr_html_(), bundle["text/html"]):
            assert html.count('class="daskmeans"') == 1

    def test_text_is_respected(self, frame, kind):
        model = kind(3, random_state=0).fit(frame)
        with sklearn.config_context(display="text"):
            assert not hasattr(model, "_repr_html_")
            assert set(model._repr_mimebundle_()) == {"text/plain"}

    def test_in_a_pipeline(self, frame, kind):
        pipeline = make_pipeline(StandardScaler(), kind(3, random_state=0)).fit(frame.to_numpy())
        assert kind.__name__ in pipeline._repr_html_()


class TestSweep:
    def test_table_and_best(self, frame):
        found = sweep(
            frame, range(2, 8), metrics=["inertia", "davies_bouldin"], n_init=2, random_state=0
        )
        html = found._repr_html_()
        page = Page(html)
        assert page.lines[0] == ["n clusters", "inertia", "davies bouldin", "n iter", "stop reason"]
        assert [line[0] for line in page.lines[1:]] == [str(k) for k in range(2, 8)]
        assert found.best == {"inertia": 3, "davies_bouldin": 3}
        strong = re.findall(r"<b>(.*?)</b>", html)
        assert strong == [shown(found.scores[name][1]) for name in found.scores]
        assert "inertia for 2 to 7 clusters, best at 3" in page.text

    def test_without_kneed(self, frame, monkeypatch):
        """The table is there, nothing is marked, and it says what is missing."""
        found = sweep(frame, [2, 3], n_init=1, random_state=0)
        monkeypatch.setitem(sys.modules, "kneed", None)
        html = found._repr_html_()
        assert "<b>" not in html
        assert "kneed" in html
        assert len(Page(html).lines) == 3

    def test_text_is_respected(self, frame):
        found = sweep(frame, [2, 3], n_init=1, random_state=0)
        with sklearn.config_context(display="text"):
            assert not hasattr(found, "_repr_html_")


class TestCurve:
    def test_of_many_values_every_so_many_th(self):
        (line,) = ElementTree.fromstring(curve(np.arange(5_000.0), "x")).iter(f"{SVG}polyline")
        points = line.get("points").split()
        assert len(points) == 200
        # From the left end to the right one.
        assert (points[0].split(",")[0], points[-1].split(",")[0]) == ("5.0", "255.0")

    @pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [1.0, float("nan"), 0.5]])
    def test_flat_single_and_missing_values(self, values):
        assert "nan" not in curve(values, "x")
        ElementTree.fromstring(curve(values, "x"))

    @pytest.mark.parametrize("values", [[], [float("nan")], [float("inf")]])
    def test_nothing_to_draw(self, values):
        assert curve(values, "x") == ""

    def test_name_is_escaped(self):
        title = ElementTree.fromstring(curve([1.0, 2.0], "<a> & b"))[0]
        assert title.text == "<a> & b: 1 to 2"


def test_facts_are_escaped():
    centers = np.zeros((2, 1))
    page = Page(beside("", Summary({"<i>": "a <b>"}, "x", [], centers, ["f"])))
    assert page.lines[0] == ["<i>", "a <b>"]
