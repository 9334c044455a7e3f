"""What each plot shows: its data, its words, and the axes that it was given."""

from __future__ import annotations

import builtins
import subprocess
import sys
from dataclasses import replace

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_score

from daskmeans import KMeans, MiniBatchKMeans, plots
from daskmeans.errors import MissingExtraError
from tests.counting import counted_passes


@pytest.fixture(params=plots.__all__)
def draw(request, rows, model, swept):
    """A function that draws one of the plots, for each of them."""
    arguments = {
        "clusters": (model, rows),
        "convergence": (model,),
        "elbow": (swept,),
        "label_map": (model.labels_[:2000], (40, 50)),
        "metrics": (swept,),
        "profiles": (model,),
        "silhouette": (model, rows),
        "sizes": (model,),
    }[request.param]
    return lambda **options: getattr(plots, request.param)(*arguments, **options)


class TestEveryPlot:
    def test_draws_where_it_is_told(self, draw):
        _, (left, right) = plt.subplots(ncols=2)
        assert draw(ax=right) is right
        assert right.has_data()
        assert not left.has_data()

    def test_has_a_title_and_labels(self, draw):
        ax = draw()
        ax.figure.canvas.draw()
        assert ax.get_title()
        assert ax.get_ylabel()
        assert ax.get_xlabel() or [tick.get_text() for tick in ax.get_xticklabels()]

    def test_missing_matplotlib_is_told_with_its_extra(self, draw, monkeypatch):
        real = builtins.__import__

        def without_matplotlib(name, *rest):
            if name.startswith("matplotlib"):
                raise ImportError(name)
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without_matplotlib)
        with pytest.raises(MissingExtraError, match=r"matplotlib.*daskmeans\[plot\]"):
            draw()


def test_matplotlib_is_imported_by_the_first_plot_only():
    code = "import sys, daskmeans.plots; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


class TestSweeps:
    def test_elbow(self, swept):
        ax = plots.elbow(swept)
        curve, line = ax.lines
        assert curve.get_xdata().tolist() == list(range(2, 10))
        assert curve.get_ydata().tolist() == [m.inertia_ for m in swept.models.values()]
        assert set(line.get_xdata()) == {swept.elbow} == {5}
        assert "elbow at 5" in ax.get_title()
        assert swept.plot().get_title() == ax.get_title()

    def test_one_metric_is_in_its_own_units(self, swept):
        ax = plots.metrics(swept, ["inertia"])
        assert ax.get_ylabel() == "inertia"
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), swept.scores["inertia"])

    def test_several_metrics_are_scaled_and_say_their_range(self, swept):
        scores = {**swept.scores, "the_other": np.array([np.nan, 4, 2, 3, 2, 2, 2, 2])}
        ax = plots.metrics(replace(swept, scores=scores))
        for line in ax.lines:
            assert (np.nanmin(line.get_ydata()), np.nanmax(line.get_ydata())) == (0, 1)
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        assert labels[1] == "the other: 2 to 4"

    def test_say_which_way_is_better(self, swept):
        scores = {"davies_bouldin": np.arange(8.0), "silhouette": np.arange(8.0)}
        found = replace(swept, scores=scores)
        labels = [text.get_text() for text in plots.metrics(found).get_legend().get_texts()]
        assert labels == [
            "Davies-Bouldin: 0 to 7, lower is better",
            "silhouette: 0 to 7, higher is better",
        ]
        ax = plots.metrics(found, ["davies_bouldin"])
        assert ax.get_ylabel() == "Davies-Bouldin, lower is better"
        assert ax.get_title() == "Davies-Bouldin by number of clusters"

    def test_legend_lies_within_the_figure(self, swept):
        scores = {name: np.arange(8.0) for name in ("squared_euclidean_silhouette", "b", "c", "d")}
        ax = plots.metrics(replace(swept, scores=scores))
        ax.figure.canvas.draw()
        box = ax.get_legend().get_window_extent()
        width, height = ax.figure.canvas.get_width_height()
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height

    def test_unknown_metric(self, swept):
        with pytest.raises(ValueError, match="no metric 'entropy': it has inertia"):
            plots.metrics(swept, ["entropy"])


class TestConvergence:
    def test_lines_and_passes(self, rows):
        init = rows[:5].copy()
        init[3] = 1e3  # an empty cluster: the first iteration makes two passes
        model = KMeans(5, init=init, max_iter=3, tol=0).fit(rows)
        ax = plots.convergence(model)
        assert ax.lines[0].get_ydata().tolist() == [r.inertia for r in model.history_]
        (twin,) = (other for other in ax.figure.axes if other is not ax)
        assert twin.lines[0].get_ydata().tolist() == [r.center_shift for r in model.history_]
        (top,) = ax.child_axes
        assert [label.get_text() for label in top.get_xticklabels()] == ["3", "4", "5"]

    def test_batches(self, rows):
        model = MiniBatchKMeans(5, batch_size=200, max_iter=2, random_state=0).fit(rows)
        ax = plots.convergence(model)
        of_batches, smoothed = ax.lines
        assert of_batches.get_xdata().tolist() == [r.step for r in model.history_]
        assert of_batches.get_ydata().tolist() == [r.inertia for r in model.history_]
        assert smoothed.get_ydata().tolist() == [r.smoothed_inertia for r in model.history_]
        twin = ax.figure.axes[1]
        assert twin.lines[0].get_ydata().tolist() == [r.center_shift for r in model.history_]
        assert (ax.get_xlabel(), ax.get_title()) == ("batch", "Convergence in 14 batches")

    def test_large_inertia_is_written_out(self):
        model = KMeans(2, random_state=0).fit([[0.0], [2e4], [9e6], [9.001e6]])
        ax = plots.convergence(model)
        assert ax.yaxis.get_major_formatter()(32_250_000, None) == "32,250,000"

    def test_centers_that_stopped_are_off_the_axis(self):
        model = KMeans(2, init=[[0.0], [9.0]], tol=0).fit([[0.0], [1.0], [9.0]])
        twin = plots.convergence(model).figure.axes[1]
        assert np.isnan(twin.lines[0].get_ydata()[-1])


class TestProfiles:
    def test_names_and_numbers(self, rows):
        frame = pd.DataFrame(rows, columns=["width", "height", "depth"])
        model = KMeans(4, random_state=0).fit(frame)
        ax = plots.profiles(model)
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["width", "height", "depth"]
        shown = [float(text.get_text()) for text in ax.texts]
        np.testing.assert_allclose(shown, model.cluster_centers_.ravel(), rtol=5e-3)
        scaled = ax.images[0].get_array()
        np.testing.assert_allclose(scaled.std(axis=0), 1)
        ax = plots.profiles(model, ["a", "b", "c"])
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]

    def test_constant_feature(self):
        model = KMeans(2, random_state=0).fit([[0.0, 3.0], [1.0, 3.0], [9.0, 3.0]])
        np.testing.assert_array_equal(plots.profiles(model).images[0].get_array()[:, 1], 0)

    def test_wrong_number_of_names(self, model):
        with pytest.raises(ValueError, match="2 names, and the model has 3 features"):
            plots.profiles(model, ["a", "b"])

    def test_sizes(self, rows, model):
        expected = np.bincount(model.labels_).tolist()
        lazy = KMeans(5, random_state=0).fit(da.from_array(rows, chunks=(500, 3)))
        for fitted in (model, lazy):
            ax = plots.sizes(fitted)
            assert [bar.get_height() for bar in ax.patches] == expected
        assert "5 clusters, 2,003 rows" in ax.get_title()


class TestSilhouette:
    def test_mean_is_scikit_learns(self, rows, model):
        ax = plots.silhouette(model, rows, n_samples=10_000)
        mean = ax.lines[0].get_xdata()[0]
        assert mean == pytest.approx(silhouette_score(rows, model.labels_))
        assert len(ax.collections) == 5

    def test_sample_does_not_depend_on_chunks(self, rows, model):
        means = {
            plots.silhouette(model, data, n_samples=300).lines[0].get_xdata()[0]
            for data in (rows, da.from_array(rows, chunks=(400, 2)))
        }
        assert len(means) == 1

    def test_one_cluster(self, rows):
        with pytest.raises(ValueError, match="falls into 1 clusters"):
            plots.silhouette(KMeans(1).fit(rows), rows)


class TestClusters:
    def test_chosen_features(self, rows):
        frame = pd.DataFrame(rows, columns=["width", "height", "depth"])
        model = KMeans(5, random_state=0).fit(frame)
        by_name = plots.clusters(model, frame, ("depth", "width"), n_bins=30)
        assert (by_name.get_xlabel(), by_name.get_ylabel()) == ("depth", "width")
        np.testing.assert_array_equal(by_name.lines[0].get_xdata(), model.cluster_centers_[:, 2])
        counts = by_name.collections[0].get_array()
        assert counts.sum() == 2003 - self.n_outside(by_name)
        by_number = plots.clusters(model, frame, (2, 0), n_bins=30)
        np.testing.assert_array_equal(by_number.collections[0].get_array(), counts)

    def n_outside(self, ax):
        title = ax.get_title()
        return int(title.split("(")[1].split()[0]) if "outside" in title else 0

    def test_principal_components(self, rows, model):
        ax = plots.clusters(model, rows)
        variances = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
        share = variances[0] / variances.sum()
        assert ax.get_xlabel() == f"first principal component ({share:.0%} of the variance)"

    def test_two_passes(self, rows, model):
        with counted_passes() as passes:
            plots.clusters(model, da.from_array(rows, chunks=(100, 3)))
        assert passes == {"kmeans-survey": 1, "kmeans-density": 1}

    @pytest.mark.parametrize(("feature", "text"), [(3, "0 to 2"), ("depth", "'depth'")])
    def test_unknown_feature(self, rows, model, feature, text):
        with pytest.raises(ValueError, match=text):
            plots.clusters(model, rows, (0, feature))

    def test_single_feature(self):
        rows = np.random.default_rng(0).normal(size=(100, 1))
        ax = plots.clusters(KMeans(2, random_state=0).fit(rows), rows)
        assert "(0% of the variance)" in ax.get_ylabel()

    def test_label_map(self):
        labels = np.arange(12, dtype=np.int32) % 3
        for given in (labels, da.from_array(labels, chunks=5)):
            shown = plots.label_map(given, (3, 4)).images[0].get_array()
            np.testing.assert_array_equal(shown, labels.reshape(3, 4))
        with pytest.raises(ValueError, match="has 10 pixels"):
            plots.label_map(labels, (2, 5))


def test_model_draws_itself(rows, model):
    assert model.plot().get_title() == "Cluster profiles"
    assert "2,003 rows and 5 centers" in model.plot(rows).get_title()
