"""Draw the pictures of README and pages: `python docs/pictures.py`, after a change of plots.

docs/images/pass.svg is drawn by hand.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot
from PIL import Image

from daskmeans import plots, sweep
from daskmeans.datasets import make_blobs

IMAGES = Path(__file__).parent / "images"


def clusters() -> None:
    """Draw a sweep over k on a million rows, and the clusters of its elbow."""
    X = make_blobs(1_000_000, 2, centers=9, overlap=0.002, chunks=100_000, random_state=2)
    found = sweep(X, range(2, 15), random_state=0)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    plots.elbow(found, ax=left)
    plots.clusters(found.models[found.elbow], X, features=(0, 1), ax=right)
    path = IMAGES / "clusters.png"
    figure.savefig(path, dpi=80)
    # A palette of 128 colors, which nobody sees, is a third of the bytes.
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    clusters()
