"""How a pass over row blocks is run. Knows dask and Spark, but no k-means."""
