"""How much the library reports: log levels and progress bars, set for the whole process.

Messages go to standard error unless the program configured Python's logging; then they go there.
"""

import logging
import sys

from .printable import printable

DEBUG, INFO, WARNING, ERROR, CRITICAL = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL

_LIBRARY = "mindone.diffusers"
_progress_bars_enabled = True


class _StandardError(logging.Handler):
    """Prints above a running progress bar; stays silent if the program has handlers of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger().handlers:
            return
        # A message may quote a file or a client; a traceback keeps its lines.
        text = "\n".join(printable(line) for line in self.format(record).split("\n"))
        bars = sys.modules.get("tqdm")
        if bars is not None:
            bars.tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr)


def _library_logger() -> logging.Logger:
    logger = logging.getLogger(_LIBRARY)
    if not any(isinstance(handler, _StandardError) for handler in logger.handlers):
        handler = _StandardError()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        logger.addHandler(handler)
        if logger.level == logging.NOTSET:
            logger.setLevel(WARNING)
    return logger


def get_logger(name: str | None = None) -> logging.Logger:
    """The logger of a module of this library (`get_logger(__name__)`), or the library's own."""
    library = _library_logger()
    if name is None or name == _LIBRARY:
        return library
    return logging.getLogger(name if name.startswith(_LIBRARY + ".") else f"{_LIBRARY}.{name}")


def get_verbosity() -> int:
    """The lowest level shown, one of Python's `logging` levels."""
    return _library_logger().getEffectiveLevel()


def set_verbosity(level: int) -> None:
    """Show messages from `level` on (`logging.DEBUG` … `logging.CRITICAL`). The default is `WARNING`."""
    _library_logger().setLevel(level)


def set_verbosity_debug() -> None:
    """Show everything."""
    set_verbosity(DEBUG)


def set_verbosity_info() -> None:
    """Show progress notes, warnings and errors."""
    set_verbosity(INFO)


def set_verbosity_warning() -> None:
    """Show warnings and errors."""
    set_verbosity(WARNING)


def set_verbosity_error() -> None:
    """Show only errors."""
    set_verbosity(ERROR)


def enable_progress_bar() -> None:
    """Show progress bars (the default)."""
    global _progress_bars_enabled
    _progress_bars_enabled = True


def disable_progress_bar() -> None:
    """Show no progress bars, neither for steps nor for downloads."""
    global _progress_bars_enabled
    _progress_bars_enabled = False


def is_progress_bar_enabled() -> bool:
    """Whether progress bars are shown."""
    return _progress_bars_enabled
