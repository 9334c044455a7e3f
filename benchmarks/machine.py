"""What a figure was measured on: processor, versions, BLAS kernels. No host name, no path."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory and system."""
    return {
        "processor": _processor(),
        "n_cores": usable_cores(),
        "vectors": _vector_extension(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of the named distributions."""
    found = {"python": platform.python_version()}
    for package in packages:
        # A checkout on the path need not be installed, or may differ from what is.
        own = getattr(sys.modules.get(package), "__version__", None)
        found[package] = own or _installed_version(package)
    return found


def blas_kernels() -> list[dict[str, Any]]:
    """BLAS libraries loaded in this process: version, kernel and threads of each."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return [
        {
            "library": library["internal_api"],
            "version": library["version"],
            "kernel": library.get("architecture", "unknown"),
            "threading": library.get("threading_layer", "unknown"),
            "n_threads": library["num_threads"],
        }
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]


def _installed_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _vector_extension() -> str:
    """The widest vector instructions, where Linux lists them."""
    flags = (_cpuinfo("flags") or _cpuinfo("Features") or "").split()
    known = {"avx512f": "AVX-512", "avx2": "AVX2", "sve": "SVE", "asimd": "NEON"}
    for flag, name in known.items():
        if flag in flags:
            return name
    return "unknown"


def _cpuinfo(field: str) -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return None
    for line in cpuinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None


if __name__ == "__main__":
    import json

    print(json.dumps(describe_machine(), indent=2))
