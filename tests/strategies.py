"""What hypothesis draws: rows with ties, duplicates and offsets, their weights, and chunkings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

DTYPES = (np.float32, np.float64, np.int16, np.uint8)


@st.composite
def rows(draw, min_rows=1, max_rows=60, max_features=6, dtypes=DTYPES):
    """Rows, (n, d): on a coarse grid (duplicates, exact ties) or not, near the origin or far."""
    n = draw(st.integers(min_rows, max_rows))
    d = draw(st.integers(1, max_features))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind in "iu":
        return generator.integers(0, draw(st.sampled_from([2, 5, 200])), (n, d)).astype(dtype)
    values = (
        generator.integers(0, 4, (n, d)) * 0.25
        if draw(st.booleans())
        else generator.normal(size=(n, d))
    )
    offset = draw(st.sampled_from([0.0, -1.0, 1e4]))
    scale = draw(st.sampled_from([1.0, 1e-3, 1e6]))
    return (scale * values + offset).astype(dtype)


@st.composite
def weights_for(draw, n):
    """None, or a weight for each of n rows: small counts with zeros, or any; never all zero."""
    kind = draw(st.sampled_from(["none", "counts", "any"]))
    if kind == "none":
        return None
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = generator.integers(0, 4, n).astype(float)
    if kind == "any":
        weights *= generator.uniform(0.1, 10, n)
    weights[generator.integers(n)] = 1.5
    return weights


@st.composite
def chunks_of(draw, length, *, empty=True):
    """Chunks of one axis in any sizes, some of them empty."""
    cuts = draw(st.lists(st.integers(0, length), max_size=4))
    sizes = np.diff([0, *sorted(cuts), length])
    return tuple(int(size) for size in sizes if size or empty) or (0,)


@st.composite
def chunkings(draw, shape):
    """Chunks of both axes; those of the features are never empty, for dask has no such arrays."""
    return draw(chunks_of(shape[0])), draw(chunks_of(shape[1], empty=False))


@dataclass(frozen=True)
class Case:
    """Rows to cluster, and two ways to cut them."""

    rows: np.ndarray
    weights: np.ndarray | None
    n_clusters: int
    chunkings: tuple


@st.composite
def rows_weights_and_two_chunkings(draw, **options):
    """A whole problem to be solved twice."""
    values = draw(rows(**options))
    return Case(
        values,
        draw(weights_for(len(values))),
        draw(st.integers(1, min(7, len(values)))),
        (draw(chunkings(values.shape)), draw(chunkings(values.shape))),
    )
