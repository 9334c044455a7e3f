"""The pixels of scikit-learn's two sample images."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import DTypeLike, NDArray

from daskmeans.datasets.checks import row_chunks
from daskmeans.errors import missing_extra

# Shape of both images together: needed before anything is read.
_IMAGES_SHAPE = (2, 427, 640, 3)


def sample_images() -> NDArray[np.uint8]:
    """Both sample images of scikit-learn, ``china.jpg`` and ``flower.jpg``.

    Returns
    -------
    ndarray of shape (2, 427, 640, 3) and dtype uint8
        Image, row, column and red, green, blue.

    Raises
    ------
    MissingExtraError
        If Pillow, which reads JPEG, is not installed. It is an ImportError.

    Examples
    --------
    >>> from daskmeans.datasets import sample_images
    >>> sample_images().shape
    (2, 427, 640, 3)
    """
    from sklearn.datasets import load_sample_images

    try:
        images = load_sample_images().images
    except ImportError as error:
        raise missing_extra("Pillow", "plot", "Reading the sample images") from error
    return np.stack(images)


def sample_image_pixels(dtype: DTypeLike = "uint8", chunks: Any = "auto") -> da.Array:
    """Lazy pixels of scikit-learn's two sample images, one row for each.

    Real data with clusters of very different sizes, many equal rows, and nothing to download.

    Parameters
    ----------
    dtype : data-type, default="uint8"
        Data type of the rows. Values stay between 0 and 255.
    chunks : int, "auto" or tuple, default="auto"
        As for `make_blobs`.

    Returns
    -------
    dask.array.Array of shape (546560, 3)
        Red, green and blue of each pixel, not yet read. Row ``(image * 427 + y) * 640 + x`` is
        ``sample_images()[image, y, x]``.

    Raises
    ------
    MissingExtraError
        When computed, if Pillow is not installed.

    Examples
    --------
    >>> from daskmeans.datasets import sample_image_pixels
    >>> pixels = sample_image_pixels(chunks=100_000)
    >>> pixels.shape, pixels.dtype, pixels.numblocks
    ((546560, 3), dtype('uint8'), (6, 1))
    """
    images = da.from_delayed(
        delayed(sample_images, pure=True)(), shape=_IMAGES_SHAPE, dtype=np.uint8
    )
    pixels = images.reshape(-1, 3)
    dtype = np.dtype(dtype)
    return pixels.rechunk(row_chunks(chunks, pixels.shape, dtype)).astype(dtype)
