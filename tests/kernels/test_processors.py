"""The same bits from the code of another processor: narrower registers, no fused multiply-add."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import daskmeans

FIT = """
import numpy as np
from daskmeans import KMeans
from daskmeans.kernels.vector import VECTOR_BYTES
generator = np.random.default_rng(0)
for n, d, k, dtype in [(997, 3, 5, "f4"), (499, 19, 11, "f8"), (301, 70, 7, "f4")]:
    rows = (100 + generator.normal(size=(n, d))).astype(dtype)
    model = KMeans(k, init=rows[:k], max_iter=10, tol=0).fit(rows)
    print(model.inertia_.hex(), model.cluster_centers_.tobytes().hex(), *model.labels_)
print(VECTOR_BYTES)
"""


def fitted_on(features, cache):
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(daskmeans.__file__).parents[1]),
        "DASKMEANS_CACHE_DIR": str(cache),
    }
    if features is not None:
        environment |= {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features}
    done = subprocess.run(
        [sys.executable, "-c", FIT], env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    *answer, vector_bytes = done.stdout.split()
    return answer, int(vector_bytes)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the processor features are those of x86"
)
def test_answer_does_not_depend_on_the_processor(tmp_path):
    here, _ = fitted_on(None, tmp_path)
    # Instructions that any x86-64 processor has, and those of one with AVX2.
    for features in ("", "+avx,+avx2,+fma"):
        there, vector_bytes = fitted_on(features, tmp_path)
        assert vector_bytes == 32
        assert there == here
