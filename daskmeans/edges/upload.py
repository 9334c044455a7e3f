"""Send this package to the scheduler and the workers of a cluster that lack it."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from daskmeans.passes.cluster_checks import check_client, is_everywhere

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["upload_to"]


def upload_to(client: Client) -> None:
    """Send daskmeans to a cluster's scheduler and workers, and to workers that join later.

    By dask's own `Client.upload_file`. The packages that daskmeans needs, such as numba and
    scikit-learn, must be installed there. An image or an environment with daskmeans in it is the
    better way for lasting clusters: what was sent is gone with the scheduler.

    Nothing is done where nobody lacks it.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.

    Raises
    ------
    ClusterError
        If it cannot be imported there even so, for want of another package.

    Examples
    --------
    >>> import daskmeans
    >>> from distributed import Client
    >>> client = Client(processes=False, dashboard_address=None)
    >>> daskmeans.upload_to(client)
    >>> client.close()
    """
    if is_everywhere(client):
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "daskmeans.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
            for name, source in _sources(files("daskmeans"), "daskmeans"):
                content.writestr(name, source.read_bytes())
        client.upload_file(str(archive))
    check_client(client)


def _sources(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    """Yield the files of a package, with their paths in the archive."""
    for entry in folder.iterdir():
        path = f"{name}/{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _sources(entry, path)
        elif not entry.name.endswith(".pyc"):
            yield path, entry
