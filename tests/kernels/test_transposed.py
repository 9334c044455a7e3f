"""Transposed strips, and the squared norms that are made with them, on registers of two widths."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import daskmeans
from daskmeans.kernels.assign import _roundings_in_parts
from daskmeans.kernels.compile import kernel
from daskmeans.kernels.strip import NARROW
from daskmeans.kernels.transposed import transpose_narrow, transpose_strip
from daskmeans.kernels.vector import lanes, strip_rows


@kernel
def _transposed(rows, chosen, shift, strip, sq_norms):
    transpose_strip(rows, chosen, shift, strip, sq_norms)


@kernel
def _transposed_narrow(rows, start, shift, strip, sq_norms):
    transpose_narrow(rows, start, shift, strip, sq_norms)


# Around the widths of all registers, and more than one part of a sum.
WIDTHS = (*range(1, 20), 31, 32, 33, 63, 64, 65, 100, 150, 257)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_strip_is_the_transpose_of_chosen_rows(dtype):
    generator = np.random.default_rng(1)
    height, width = strip_rows(np.dtype(dtype)), lanes(np.dtype(dtype))
    for d in WIDTHS:
        rows = generator.normal(size=(90, d)).astype(dtype)
        chosen = generator.choice(90, height)
        shift = np.zeros(-(-d // width) * width, dtype)
        shift[:d] = generator.normal(size=d)
        # Something more than is written, which has to stay as it is.
        strip, sq_norms = (
            np.full((len(shift) + 1) * height, 7, dtype),
            np.full(height + 1, 7, dtype),
        )
        _transposed(rows, chosen, shift, strip, sq_norms)
        moved = rows[chosen] - shift[:d]
        lines = strip.reshape(-1, height)
        np.testing.assert_array_equal(lines[:d], moved.T)
        assert not lines[d:-1].any()
        assert (lines[-1] == 7).all()
        assert sq_norms[-1] == 7
        _check_squares(sq_norms, moved, d)
        if d <= NARROW:
            strip[:] = np.nan
            sq_norms[:] = np.nan
            _transposed_narrow(rows, 7, shift, strip, sq_norms)
            moved = rows[7 : 7 + height] - shift[:d]
            np.testing.assert_array_equal(lines[:d], moved.T)
            _check_squares(sq_norms, moved, d)


def _check_squares(sq_norms, moved, d):
    sq_norms = sq_norms[: len(moved)]
    exact = (moved.astype(np.longdouble) ** 2).sum(axis=1)
    # As many roundings as those of products have, which the bounds on scores count.
    unit = np.finfo(sq_norms.dtype).eps / 2
    assert (abs(sq_norms - exact) <= _roundings_in_parts(d) * unit * exact).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_row_that_is_not_finite_has_no_finite_norm(bad):
    height = strip_rows(np.dtype("float32"))
    for d in (3, 5, 16, 70):
        rows = np.ones((height, d), np.float32)
        rows[5, d - 1] = bad
        shift = np.zeros(-(-d // 16) * 16, np.float32)
        strip, sq_norms = np.empty(len(shift) * height, np.float32), np.empty(height, np.float32)
        _transposed(rows, np.arange(height), shift, strip, sq_norms)
        assert not np.isfinite(sq_norms[5])
        assert np.isfinite(np.delete(sq_norms, 5)).all()


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the processor features are those of x86"
)
def test_registers_of_avx2_transpose_too(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(daskmeans.__file__).parents[1]),
        "DASKMEANS_CACHE_DIR": str(tmp_path),
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma",
    }
    code = (
        "from tests.kernels import test_transposed as tests\n"
        "assert tests.lanes(tests.np.dtype('f4')) == 8\n"
        "for dtype in ('float32', 'float64'):\n"
        "    tests.test_strip_is_the_transpose_of_chosen_rows(dtype)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
