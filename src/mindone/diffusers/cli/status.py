"""A command's progress: shown only on a terminal, so that logs hold results, warnings and errors."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from ..utils import logging


@contextlib.contextmanager
def calm() -> Iterator[None]:
    """Within this context, show progress only if standard error is a terminal; then restore the settings."""
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
    """Print only results and errors until `calm` ends."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def say(text: str) -> None:
    """Print a line on standard error, if somebody is watching."""
    if logging.is_progress_bar_enabled():
        click.echo(text, err=True)


def _is_terminal() -> bool:
    return sys.stderr.isatty()
