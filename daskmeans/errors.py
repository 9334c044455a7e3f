"""Errors of this package, each a kind of the built-in error that callers already catch."""

from __future__ import annotations

__all__ = [
    "ClusterError",
    "DaskMeansError",
    "MissingExtraError",
    "ModelFormatError",
    "OutputError",
    "OutputExistsError",
    "RowsError",
    "TooLargeError",
    "missing_extra",
]


class DaskMeansError(Exception):
    """Base of every error that this package defines."""


class RowsError(DaskMeansError, ValueError):
    """Rows or weights that k-means cannot take. The text says where, and what to do."""


class ClusterError(DaskMeansError, RuntimeError):
    """A cluster that cannot do the work: too small, without this package, or dying of it."""


class TooLargeError(DaskMeansError, MemoryError):
    """Work that the memory at hand cannot hold. The text says how many bytes it takes."""


class OutputExistsError(DaskMeansError, FileExistsError):
    """An output that is already there and was not to be overwritten."""


class OutputError(DaskMeansError, OSError):
    """An output that cannot be written where it was to be."""


class ModelFormatError(DaskMeansError, ValueError):
    """A folder that is not a saved model, or a damaged one."""


class MissingExtraError(DaskMeansError, ImportError):
    """A package of an optional extra that is not installed."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """Error for a missing optional package, to be raised where its import failed.

    Parameters
    ----------
    package : str
        The package as its users call it, for instance ``"Pillow"``.
    extra : str
        The extra of daskmeans that installs it.
    purpose : str
        What needs it, as the subject of a sentence.

    Returns
    -------
    MissingExtraError
        Its text names the purpose, the package and the command that installs the extra.

    Examples
    --------
    >>> raise missing_extra("h5py", "hdf5", "Reading an HDF5 dataset")
    Traceback (most recent call last):
    ...
    daskmeans.errors.MissingExtraError: Reading an HDF5 dataset needs h5py, which is not
    installed: pip install 'daskmeans[hdf5]'
    """
    return MissingExtraError(
        f"{purpose} needs {package}, which is not installed: pip install 'daskmeans[{extra}]'"
    )
