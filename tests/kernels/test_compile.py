"""What is compiled when, and where the code is kept; each case in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import daskmeans

PACKAGE = Path(daskmeans.__file__).parent

FIT = """
import numpy as np
from daskmeans import KMeans
rows = np.random.default_rng(0).normal(size=(97, 5))
model = KMeans(7, init=rows[:7]).fit(rows)
print(model.inertia_.hex(), model.cluster_centers_.tobytes().hex())
"""

COUNT_SIGNATURES = """
import importlib, pkgutil
import numba.core.registry
import daskmeans.kernels

def signatures():
    found = {}
    for module in pkgutil.iter_modules(daskmeans.kernels.__path__, "daskmeans.kernels."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, numba.core.registry.CPUDispatcher):
                found[value.py_func.__qualname__] = len(value.signatures)
    return found

import numpy as np
from daskmeans import KMeans, kmeans_parallel

def fit(dtype, n, d):
    rows = np.random.default_rng(d).uniform(0, 200, size=(n, d)).astype(dtype)
    model = KMeans(3, init=rows[:3]).fit(rows, sample_weight=np.ones(n))
    model.fit(rows).predict(rows)
    model.transform(rows)
    kmeans_parallel(rows, 3, random_state=0)
    # Enough work a row that bounds are kept from the first pass on.
    rows = np.random.default_rng(d).uniform(0, 200, size=(200, 60 + d)).astype(dtype)
    KMeans(150, init=rows[:150], max_iter=3).fit(rows)

assert not any(signatures().values()), "something was compiled at import"
fit(np.float64, 53, 5)
first = signatures()
for d in range(2, 13):
    fit(np.float64, 40 + 7 * d, d)
assert signatures() == first, (signatures(), first)
fit(np.float32, 53, 5)
both = signatures()
fit(np.float32, 97, 13)
for dtype in (np.uint8, np.int64, np.float16, ">f8"):
    fit(dtype, 31, 3)
# Distances of uint8 rows, which are read as float32, are float64.
both["_distances_to_centers"] += 1
assert signatures() == both, (signatures(), both)
del both["_distances_to_centers"]
# One with bounds, one without.
assert both.pop("_lloyd_block") == 4
assert max(both.values()) == 2, both
"""


def start(code, cache):
    """Start a Python process with its cache of compiled kernels in a folder."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": str(PACKAGE.parent),
            "DASKMEANS_CACHE_DIR": str(cache),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    out, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    return out


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_cache_is_built_by_several_processes_at_once(shared_cache):
    """numba's own cache mixes up the code of processes that write it at once (numba issue 4807)."""
    answers = {finished(process) for process in [start(FIT, shared_cache) for _ in range(3)]}
    assert len(answers) == 1
    assert list(shared_cache.rglob("*.nbi"))
    assert list(shared_cache.rglob("*.nbc"))


def test_second_process_compiles_nothing(shared_cache):
    finished(start(FIT, shared_cache))
    files = {path: path.stat().st_mtime_ns for path in shared_cache.rglob("*.nb?")}
    assert files
    finished(start(FIT, shared_cache))
    assert {path: path.stat().st_mtime_ns for path in shared_cache.rglob("*.nb?")} == files


def test_kernels_are_compiled_once_a_dtype(shared_cache):
    """Neither the number of rows nor that of features compiles anything again."""
    finished(start(COUNT_SIGNATURES, shared_cache))


def test_folder_that_cannot_be_written_only_costs_time(tmp_path, shared_cache):
    (tmp_path / "file").write_text("")
    kept = finished(start(FIT, shared_cache))
    assert finished(start(FIT, tmp_path / "file" / "cache")) == kept


def test_package_folder_is_never_written():
    assert not [path for path in PACKAGE.rglob("*.nb?")]


def test_damaged_cache_is_not_fatal(tmp_path):
    expected = finished(start(FIT, tmp_path))
    for path in tmp_path.rglob("*.nbi"):
        path.write_bytes(b"")
    assert finished(start(FIT, tmp_path)) == expected


COLLECTING = """
import gc
from daskmeans.kernels.compile import kernel

seen = []
gc.callbacks.append(lambda phase, info: seen.append(phase))

@kernel
def doubled(x):
    return 2 * x

@kernel
def no_such_thing(x):
    return x.nothing

for number, wanted in ((3, True), (3.5, False)):
    (gc.enable if wanted else gc.disable)()
    gc.collect()
    seen.clear()
    assert doubled(number) == 2 * number
    assert gc.isenabled() is wanted
    assert wanted or not seen
gc.enable()
try:
    no_such_thing(1)
except Exception as error:
    assert "nothing" in str(error)
else:
    raise AssertionError("compiled")
assert gc.isenabled()
"""


def test_collector_is_left_as_it_was_found(tmp_path):
    finished(start(COLLECTING, tmp_path))
