"""Labels of all rows, from those of the rows that were not dropped."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

from daskmeans.errors import RowsError
from daskmeans.preprocessing.changes import labels_of_all


def put_back(labels: Any, kept: Any, *, missing: int = -1) -> Any:
    """Return a label for each row, given those of the rows that a `Preprocessor` left.

    Parameters
    ----------
    labels : ndarray or dask array of shape (n_kept,), int
    kept : ndarray or dask array of shape (n_samples,), bool
        Of `Preprocessor.kept`.
    missing : int, default=-1
        The label of rows that were dropped.

    Returns
    -------
    ndarray or dask array of shape (n_samples,), dtype of labels
        Lazy if either is.

    Raises
    ------
    RowsError
        If there is not a label for each row that was kept; for lazy labels, if they have another
        number of blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from daskmeans.preprocessing import put_back
    >>> put_back(np.array([4, 2]), np.array([True, False, True])).tolist()
    [4, -1, 2]
    """
    if not isinstance(labels, da.Array) and not isinstance(kept, da.Array):
        if len(labels) != kept.sum():
            raise RowsError(
                f"labels has {len(labels)} labels, and {kept.sum()} rows were kept: one label each."
            )
        return labels_of_all(kept, labels, missing=missing)
    if not (isinstance(labels, da.Array) and isinstance(kept, da.Array)):
        raise RowsError(
            "labels and kept have to be both lazy, or both in memory: compute the one that is lazy."
        )
    if labels.numblocks != kept.numblocks:
        raise RowsError(
            f"labels has {labels.numblocks[0]} blocks and kept has {kept.numblocks[0]}: both have "
            "to come from the same rows."
        )
    # Blocks of labels are shorter than those of the rows, which is what map_blocks would refuse.
    return da.blockwise(
        labels_of_all,
        "i",
        kept,
        "i",
        labels,
        "i",
        missing=missing,
        align_arrays=False,
        dtype=labels.dtype,
        meta=np.empty(0, labels.dtype),
        token="kmeans-put-back",
    )
