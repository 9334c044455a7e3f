"""Errors and warnings of the command line: one line each."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from daskmeans.errors import DaskMeansError


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one line and exit code 1, and warnings into one line each.

    A damaged chunk surfaces as whatever its codec raises, and a lost worker as whatever dask does:
    no list of types would hold them. `--debug` shows where an error comes from.
    """

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                command(*args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if click.get_current_context().find_root().params["debug"]:
                raise
            raise click.ClickException(_one_line(error)) from error

    return wrapped


def _one_line(error: Exception) -> str:
    # Notes say what of a broken-off run is kept.
    text = " ".join(" ".join([str(error), *getattr(error, "__notes__", ())]).split())
    if text and isinstance(error, (DaskMeansError, ValueError, OSError, ImportError)):
        return text
    return f"{type(error).__name__}: {text} (`daskmeans --debug ...` shows where)"


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {message}", err=True)
