"""The demo: the pixels of two photographs in a Zarr store, clustered into a palette out of core."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from daskmeans.datasets import sample_image_pixels, sample_images
from daskmeans.edges.outputs import MODEL, OutputKind, check_output, written_beside
from daskmeans.edges.progress import progress_bar
from daskmeans.edges.zarr_output import ZARR_ARRAY, write_zarr
from daskmeans.edges.zarr_rows import open_zarr
from daskmeans.estimators.kmeans import KMeans
from daskmeans.plots.axes import figure_class

ROWS_A_CHUNK = 427 * 64  # twenty chunks
_PURPOSE = "The demo's picture"
_PICTURE = OutputKind("a picture", lambda path: path.is_file() and path.suffix == ".png")
_OUTPUTS = {
    "pixels.zarr": ZARR_ARRAY,
    "labels.zarr": ZARR_ARRAY,
    "model": MODEL,
    "palette.png": _PICTURE,
}


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Attributes
    ----------
    model : KMeans
    n_rows, n_blocks : int
    seconds : float
        For the fit.
    shares : ndarray of shape (k,)
        Share of the pixels of each color.
    files : tuple of Path
        Rows, labels, model, picture.
    """

    model: KMeans
    n_rows: int
    n_blocks: int
    seconds: float
    shares: Any
    files: tuple[Path, ...]


def run_demo(folder: Path, *, n_clusters: int = 64, overwrite: bool = False) -> DemoResult:
    """Write the pixels to a store, cluster them, and leave labels, model and picture in `folder`.

    Raises
    ------
    OutputExistsError
        If one of the outputs exists and `overwrite` is false.
    MissingExtraError
        If Pillow or matplotlib is not installed.
    """
    files = tuple(folder / name for name in _OUTPUTS)
    for path, kind in zip(files, _OUTPUTS.values(), strict=True):
        check_output(path, kind, overwrite=overwrite)
    images = sample_images()
    figure_class(_PURPOSE)
    pixels, labels, model_file, picture = files
    # Written as any data set is: rows in chunks. From here on the store is all there is.
    write_zarr(sample_image_pixels(chunks=ROWS_A_CHUNK), pixels, overwrite=overwrite)
    rows = open_zarr(pixels)
    model = KMeans(n_clusters, random_state=0)
    started = time.perf_counter()
    with progress_bar():
        model.fit(rows)
        seconds = time.perf_counter() - started
        write_zarr(model.labels_, labels, overwrite=overwrite)
    model.save(model_file, overwrite=overwrite)
    found = np.asarray(zarr.open_array(str(labels), mode="r")[:])
    with written_beside(picture, _PICTURE, overwrite=overwrite) as partial:
        _draw(images, model.cluster_centers_, found, partial)
    shares = np.bincount(found, minlength=n_clusters) / len(found)
    return DemoResult(model, len(found), model.labels_.numblocks[0], seconds, shares, files)


def _draw(images: Any, centers: Any, labels: Any, path: Path) -> None:
    """Draw each photograph beside itself in the palette, and the palette below."""
    palette = np.clip(np.rint(centers), 0, 255).astype(np.uint8)
    recolored = palette[labels].reshape(images.shape)
    figure = figure_class(_PURPOSE)(figsize=(10, 7.6), layout="constrained")
    axes = figure.subplots(3, 2, height_ratios=[10, 10, 1])
    n_colors = [len(np.unique(image.reshape(-1, 3), axis=0)) for image in images]
    for i, (image, copy) in enumerate(zip(images, recolored, strict=True)):
        axes[i, 0].imshow(image)
        axes[i, 0].set_title(f"original, {n_colors[i]:,} colors")
        axes[i, 1].imshow(copy)
        axes[i, 1].set_title(f"the {len(palette)} cluster centers")
    grid = axes[2, 0].get_gridspec()
    for axis in axes[2]:
        axis.remove()
    strip = figure.add_subplot(grid[2, :])
    by_brightness = palette[np.argsort(palette @ np.array([0.299, 0.587, 0.114]))]
    strip.imshow(by_brightness[None], aspect="auto")
    strip.set_title("centers, by brightness")
    for axis in figure.axes:
        axis.set_axis_off()
    figure.savefig(path, format="png", dpi=110)


def summary(result: DemoResult) -> str:
    """Return the short table that the demo prints."""
    model = result.model
    lines = [
        f"rows            {result.n_rows:,} pixels in {result.n_blocks} blocks",
        f"clusters        {len(model.cluster_centers_)}",
        f"iterations      {model.n_iter_}",
        f"inertia         {model.inertia_:,.0f}",
        f"fit             {result.seconds:.2f} s, first compilation included",
        "",
        "largest clusters   share   red green  blue",
    ]
    for j in np.argsort(-result.shares, kind="stable")[:5]:
        red, green, blue = model.cluster_centers_[j]
        hexadecimal = "#" + "".join(f"{round(value):02x}" for value in (red, green, blue))
        lines.append(
            f"  {j:>3}  {hexadecimal}   {result.shares[j]:6.1%}"
            f"  {red:5.1f} {green:5.1f} {blue:5.1f}"
        )
    names = ("rows", "labels", "model", "picture")
    lines += ["", *(f"{name:<8} {path}" for name, path in zip(names, result.files, strict=True))]
    return "\n".join(lines)
