"""Arrow arrays of MLlib vectors as rows: sparse ones stay so, whatever stands beside them."""

from __future__ import annotations

import numpy as np
import pytest

from daskmeans.blocks.spark_batches import BatchReader
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import CSRRows

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install pyarrow")

# As Spark hands them to Python.
VECTOR = pa.struct(
    [
        ("type", pa.int8()),
        ("size", pa.int32()),
        ("indices", pa.list_(pa.int32())),
        ("values", pa.list_(pa.float64())),
    ]
)
READER = BatchReader(("x",), "vector", np.dtype(np.float64), False)


def sparse(size, indices, values):
    return {"type": 0, "size": size, "indices": indices, "values": values}


def dense(values):
    return {"type": 1, "size": None, "indices": None, "values": values}


VECTORS = [
    sparse(4, [1, 3], [1.0, 2.0]),
    dense([1.0, 0.0, 3.0, 0.0]),
    sparse(4, [], []),
    sparse(4, [0], [5.0]),
]
ROWS = np.array([[0, 1, 0, 2], [1, 0, 3, 0], [0, 0, 0, 0], [5, 0, 0, 0]], dtype=np.float64)


@pytest.mark.parametrize("part", [slice(0, 4), slice(1, 4), slice(2, 3), slice(3, 4), slice(0, 2)])
def test_vectors_are_sparse_rows_if_one_of_them_is_sparse(part):
    vectors = pa.array(VECTORS, VECTOR)[part]
    rows = READER.read([vectors], "partition 0", 0)
    assert isinstance(rows, CSRRows)
    np.testing.assert_array_equal(rows.to_scipy().toarray(), ROWS[part])
    stored = [len(each["values"]) for each in VECTORS[part]]
    np.testing.assert_array_equal(np.diff(rows.indptr), stored)
    sparse_ones = [each["type"] == 0 for each in VECTORS[part]]
    np.testing.assert_array_equal(READER.sparse_among([vectors]), sparse_ones)


def test_dense_vectors_are_dense_rows():
    rows = READER.read([pa.array(VECTORS, VECTOR)[1:2]], "partition 0", 0)
    np.testing.assert_array_equal(rows, ROWS[1:2], strict=True)
    assert len(READER.read([pa.array([], VECTOR)], "partition 0", 0)) == 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (sparse(4, [1, 4], [1.0, 2.0]), "indices do not ascend within 0 to 3, one for each value"),
        (sparse(4, [-1, 3], [1.0, 2.0]), "do not ascend"),
        (sparse(4, [2, 2], [1.0, 2.0]), "do not ascend"),
        (sparse(4, [2, 1], [1.0, 2.0]), "do not ascend"),
        (sparse(4, [2], [1.0, 2.0]), "do not ascend"),
        (sparse(5, [2], [1.0]), "has 5 numbers in row 11 .* and 4 in rows before it"),
        (dense([1.0]), "has 1 numbers in row 11 .* and 4 in rows before it"),
        (None, "has a null, .* in row 11"),
    ],
)
def test_vectors_that_are_none_are_named(bad, message):
    with pytest.raises(RowsError, match=rf"'x' .*{message}"):
        READER.read([pa.array([*VECTORS, bad], VECTOR)], "partition 2", 7)
    if bad is not None and "ascend" in message:
        with pytest.raises(RowsError, match="row 11 of partition 2"):
            READER.read([pa.array([*VECTORS, bad], VECTOR)], "partition 2", 7)
