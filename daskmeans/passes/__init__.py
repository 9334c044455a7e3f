"""How a pass over row blocks is run. Knows dask, but no k-means."""
