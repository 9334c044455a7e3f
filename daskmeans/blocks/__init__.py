"""Any accepted input as aligned row blocks. Knows storage and dask arrays, but no algorithm."""
