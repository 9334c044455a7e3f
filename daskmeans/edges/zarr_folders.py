"""Which folders are Zarr arrays or groups: those that hold a file that describes one."""

from __future__ import annotations

from pathlib import Path

# Of Zarr 3 for both, and of Zarr 2 for arrays and for groups.
_BOTH, _ARRAY, _GROUP = "zarr.json", ".zarray", ".zgroup"


def is_zarr(folder: Path) -> bool:
    """Tell whether a folder is an array or a group."""
    return any((folder / name).is_file() for name in (_BOTH, _ARRAY, _GROUP))


def is_zarr_group(folder: Path) -> bool:
    """Tell whether a folder is a group, or in Zarr 3 something else that describes itself."""
    return any((folder / name).is_file() for name in (_BOTH, _GROUP))
