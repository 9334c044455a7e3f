"""Compiled loops over the rows of one block: NumPy arrays in and out, no dask, no files.

What takes rows of either kind is a generic function: the modules `csr_*` add the case of sparse
rows, which `CSRRows` hold, to those of dense ones.
"""

from daskmeans.kernels import csr_assign, csr_distances

__all__ = ["csr_assign", "csr_distances"]
