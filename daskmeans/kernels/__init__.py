"""Compiled loops over the rows of one block: NumPy arrays in and out, no dask, no files."""
