"""The progress bar of a batch, over all its machines."""

from ..utils.progress import progress_bar

_FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Bar:
    """Images done out of all, the time left, images per minute, and failures."""

    def __init__(self, total: int, kept: int):
        self._bar = progress_bar(total=total, initial=kept, bar_format=_FORMAT, smoothing=0.1, unit="image")
        self._failed = 0

    def advance(self, failed: bool) -> None:
        """A job is done, or has failed for good."""
        self._failed += failed
        self._bar.update()
        rate = self._bar.format_dict["rate"] or 0.0
        postfix = f"{60 * rate:.1f} images/min" + (f", {self._failed} failed" if self._failed else "")
        self._bar.set_postfix_str(postfix)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
