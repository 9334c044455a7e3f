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
    """Base of every error that this package defines.

    Examples
    --------
    >>> from daskmeans import KMeans, load
    >>> from daskmeans.errors import DaskMeansError
    >>> for work in (lambda: KMeans(3).fit([[0.0], [1.0]]), lambda: load("nowhere")):
    ...     try:
    ...         work()
    ...     except DaskMeansError as error:
    ...         print(type(error).__name__)
    RowsError
    ModelFormatError
    """


class RowsError(DaskMeansError, ValueError):
    """Rows or weights that k-means cannot take. The text says where, and what to do.

    Examples
    --------
    >>> from daskmeans import KMeans
    >>> KMeans(2).fit([[1.0], [float("nan")], [3.0]])
    Traceback (most recent call last):
    ...
    daskmeans.errors.RowsError: ...
    """


class ClusterError(DaskMeansError, RuntimeError):
    """A cluster that cannot do the work: too small, without this package, or dying of it.

    Examples
    --------
    Before the first pass, what one worker may hold is compared with the largest block:

    >>> import dask.array as da
    >>> from distributed import Client
    >>> from daskmeans import KMeans
    >>> X = da.zeros((10_000_000, 8), chunks=-1)
    >>> with Client(processes=False, memory_limit="64MB", dashboard_address=None):
    ...     KMeans(2).fit(X)
    Traceback (most recent call last):
    ...
    daskmeans.errors.ClusterError: Block 0 of X (rows 0 to 9999999) needs 610.35 MiB, and no
    worker may hold more than 61.04 MiB. Rechunk X to smaller blocks, or give the workers more
    memory.
    """


class TooLargeError(DaskMeansError, MemoryError):
    """Work that the memory at hand cannot hold. The text says how many bytes it takes.

    Examples
    --------
    >>> from daskmeans.errors import TooLargeError
    >>> issubclass(TooLargeError, MemoryError)
    True
    """


class OutputExistsError(DaskMeansError, FileExistsError):
    """An output that is already there and was not to be overwritten.

    Examples
    --------
    >>> import tempfile
    >>> from daskmeans import KMeans
    >>> model = KMeans(2).fit([[0.0], [1.0], [9.0]])
    >>> path = tempfile.mkdtemp() + "/model"
    >>> model.save(path)
    >>> model.save(path)
    Traceback (most recent call last):
    ...
    daskmeans.errors.OutputExistsError: ...
    """


class OutputError(DaskMeansError, OSError):
    """An output that cannot be written where it was to be.

    Examples
    --------
    >>> from daskmeans import KMeans
    >>> KMeans(2).fit([[0.0], [1.0], [9.0]]).save("/dev/null/model")
    Traceback (most recent call last):
    ...
    daskmeans.errors.OutputError: The model /dev/null/model cannot be written: ...
    """


class ModelFormatError(DaskMeansError, ValueError):
    """A file that is not a saved model or checkpoint, or a damaged one.

    Examples
    --------
    >>> from daskmeans import load
    >>> load("nowhere")
    Traceback (most recent call last):
    ...
    daskmeans.errors.ModelFormatError: There is no model at nowhere.
    """


class MissingExtraError(DaskMeansError, ImportError):
    """A package of an optional extra that is not installed; see `missing_extra`.

    Examples
    --------
    >>> from daskmeans.errors import MissingExtraError
    >>> issubclass(MissingExtraError, ImportError)
    True
    """


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
