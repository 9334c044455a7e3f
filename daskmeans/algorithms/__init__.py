"""Loops over passes: they know k-means and no scheduler, and are handed what runs a pass."""
