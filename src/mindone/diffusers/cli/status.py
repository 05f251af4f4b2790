"""What a command says while it works: on a terminal alone, so that logs hold results, warnings and errors."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from ..utils import logging


@contextlib.contextmanager
def calm() -> Iterator[None]:
    """Within this context no progress is shown unless standard error is a terminal; afterwards all is as it was."""
    enabled, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    if not _is_terminal():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if enabled:
            logging.enable_progress_bar()


def be_quiet() -> None:
    """Say nothing but results and errors, until `calm` ends."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def say(text: str) -> None:
    """A line on standard error, where somebody waits for what comes next."""
    if logging.is_progress_bar_enabled():
        click.echo(text, err=True)


def _is_terminal() -> bool:
    return sys.stderr.isatty()
