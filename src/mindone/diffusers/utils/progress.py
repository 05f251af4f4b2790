"""The progress bar for every loop that a user waits for."""

from collections.abc import Iterable
from typing import Any

from . import logging


def progress_bar(
    iterable: Iterable[object] | None = None,
    total: int | None = None,
    desc: str | None = None,
    disable: bool = False,
    **options: object,
) -> Any:
    """A `tqdm` bar over `iterable`, or of `total` steps to `update()` by hand.

    Nothing is shown if `disable` is true or after `logging.disable_progress_bar()`. Further options are tqdm's.
    """
    from tqdm.auto import tqdm

    hidden = disable or not logging.is_progress_bar_enabled()
    return tqdm(iterable, total=total, desc=desc, disable=hidden, **options)
