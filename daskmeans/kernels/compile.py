"""How kernels are compiled: one numba policy, and a cache of code that many processes share.

Kernels are serial (blocks are the unit of parallel work, and numba's parallel target aborts under
dask's threads on its default threading layer) and release the GIL. No fastmath, but for sums that
feed bounds alone: results must not depend on how a loop was vectorised, and checks for NaN must
stay.

numba's own on-disk cache numbers its data files from an index that processes rewrite without a
lock, so two workers that compile at once can end up loading each other's code (numba issue 4807).
Here every read and write of the cache holds a file lock, and the folder is named after the sources
of all kernels, so that a change in an inlined function never leaves stale code behind.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import locket
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.compiler_lock import global_compiler_lock
from numba.misc.appdirs import AppDirs

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])


@cache
def _sources_digest() -> str:
    """Digest of the sources of all kernels."""
    digest = hashlib.sha256()
    # Not by paths: on a cluster's workers the package may be inside of a zip file.
    for source in sorted(files(__package__).iterdir(), key=lambda each: each.name):
        if source.name.endswith(".py"):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@cache
def cache_directory() -> Path | None:
    """Return the folder that holds compiled kernels, or None where none can be written.

    The first of the environment variables DASKMEANS_CACHE_DIR and NUMBA_CACHE_DIR that is set
    names its parent; otherwise it is the user's own cache folder. The package's folder is never
    written to.
    """
    named = os.environ.get("DASKMEANS_CACHE_DIR") or numba.config.CACHE_DIR
    parent = Path(named) if named else Path(AppDirs("daskmeans", appauthor=False).user_cache_dir)
    path = parent / f"kernels-{_sources_digest()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        logger.info(
            "Kernels are compiled anew in each process: no cache can be kept in %s (%s). "
            "Set DASKMEANS_CACHE_DIR to a folder that can be written.",
            path,
            error,
        )
        return None
    return path


class _Locator(_CacheLocator):
    """Tells numba to keep code in `cache_directory()`, fresh while no kernel's source changes."""

    def __init__(self, line: int) -> None:
        self._line = line

    def get_cache_path(self) -> str:
        return str(cache_directory())

    def get_source_stamp(self) -> str:
        return _sources_digest()

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func.__code__.co_firstlineno)


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 (numba's own attribute)


class _LockedCache(FunctionCache):
    """numba's cache of one function, read and written under a lock that all processes respect."""

    _impl_class = _CacheImpl

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock; where the cache fails (no locks, a full disk, damage), go without it."""
        try:
            with locket.lock_file(os.path.join(self.cache_path, "lock"), timeout=120):
                yield
        except (OSError, EOFError, pickle.UnpicklingError, locket.LockError) as error:
            logger.info("The compilation cache %s is not used: %s.", self.cache_path, error)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with self._lock():
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with self._lock():
            super().save_overload(sig, data)


def _without_collections(compile_signature: Function) -> Function:
    """Let no garbage be collected while a kernel is compiled.

    numba makes millions of objects that live until it is done. To look through them again and again
    took a fifth of a first fit; the garbage that they leave is less than 60 MB.
    """

    @wraps(compile_signature)
    def uncollected(sig: Any) -> Any:
        # Under numba's own lock, so that of several threads that compile the one that stopped the
        # collector starts it again.
        with global_compiler_lock:
            if not gc.isenabled():
                return compile_signature(sig)
            gc.disable()
            try:
                return compile_signature(sig)
            finally:
                gc.enable()

    return uncollected  # type: ignore[return-value]


def kernel(function: Function) -> Function:
    """Compile an entry point that NumPy code calls: serial, nogil, cached on disk."""
    # Wrappers that nobody calls took a quarter of the time to compile small functions.
    dispatcher = numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    if cache_directory() is not None:
        dispatcher._cache = _LockedCache(function)
    dispatcher.compile = _without_collections(dispatcher.compile)
    return dispatcher


def inlined(function: Function) -> Function:
    """Put a function's body in place of the calls in kernels, before these are compiled.

    Passing a few arrays to a function costs 40 ns, as much as labelling three rows. Leaving it to
    LLVM to inline what was compiled by itself before takes longer to compile.
    """
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)


def summed_in_any_order(function: Function) -> Function:
    """Compile a function into the kernels that call it, with its sums in the compiler's order.

    For what feeds bounds alone, whose slack covers any order, so that a loop over the features of
    one row becomes a loop over vectors.
    """
    return numba.njit(
        nogil=True, error_model="numpy", forceinline=True, fastmath={"reassoc", "contract", "nsz"}
    )(function)


def rarely_called(function: Function) -> Function:
    """Compile a function that kernels call for few rows; its code is cached with theirs."""
    return numba.njit(
        nogil=True, error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=True
    )(function)
