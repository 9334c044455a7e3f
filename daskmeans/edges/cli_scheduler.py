"""On which dask scheduler a command runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
import dask

_SCHEDULERS = ("threads", "processes", "sync")
_CONNECT_SECONDS = 10

scheduler_option = click.option(
    "--scheduler",
    default="threads",
    show_default=True,
    metavar="NAME|ADDRESS",
    help="threads, processes, sync, or the address tcp://... or tls://... of a dask scheduler.",
)


@contextmanager
def running_on(scheduler: str) -> Iterator[None]:
    """Make the scheduler that the option names the current one."""
    if scheduler in _SCHEDULERS:
        with dask.config.set(scheduler=scheduler):
            yield
    elif scheduler.startswith(("tcp://", "tls://")):
        from distributed import Client

        try:
            client = Client(scheduler, timeout=_CONNECT_SECONDS)
        except (OSError, TypeError, ValueError) as error:  # TypeError: tls without certificates
            raise click.ClickException(
                f"No dask scheduler answered at {scheduler} within {_CONNECT_SECONDS} s: {error}"
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
            except TimeoutError as error:
                raise click.ClickException(
                    f"The dask scheduler at {scheduler} has no workers: start one with "
                    f"`dask worker {scheduler}`."
                ) from error
            yield
    else:
        raise click.BadParameter(
            f"{scheduler!r} is neither one of {', '.join(_SCHEDULERS)} nor an address "
            "that starts with tcp:// or tls://.",
            param_hint="--scheduler",
        )
