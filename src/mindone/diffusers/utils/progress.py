"""The progress bar of every loop that a user waits for."""

from collections.abc import Iterable

from . import logging
from .types import Value


def progress_bar(
    iterable: Iterable[Value] | None = None,
    total: int | None = None,
    desc: str | None = None,
    disable: bool = False,
    **options: Value,
) -> Value:
    """A `tqdm` bar over `iterable`, or of `total` steps to `update()` by hand.

    Nothing is drawn when `disable` is true or after `logging.disable_progress_bar()`. Further options are tqdm's.
    """
    from tqdm.auto import tqdm

    hidden = disable or not logging.is_progress_bar_enabled()
    return tqdm(iterable, total=total, desc=desc, disable=hidden, **options)
