"""Data sets to try k-means on: lazy, chunked, and with the same rows in any chunking.

Row ``i`` is a function of the seed and of ``i`` alone: block boundaries only decide which task
makes it. So a small array and a store of a terabyte start with the same rows, and two chunkings of
one data set can be compared bit by bit (on processors of one type: the mathematical functions
underneath may round differently on another).
"""

from daskmeans.datasets.blobs import make_blobs, make_gauss_mixture
from daskmeans.datasets.images import sample_image_pixels, sample_images
from daskmeans.datasets.uniform import make_uniform

__all__ = [
    "make_blobs",
    "make_gauss_mixture",
    "make_uniform",
    "sample_image_pixels",
    "sample_images",
]
