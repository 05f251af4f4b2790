"""The progress bar of a batch, over all machines that draw it."""

from ..utils.progress import progress_bar

_FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Bar:
    """Images drawn of all, the time that is left, images per minute, and how many have failed."""

    def __init__(self, total: int, kept: int):
        self._bar = progress_bar(total=total, initial=kept, bar_format=_FORMAT, smoothing=0.1, unit="image")
        self._failed = 0

    def advance(self, failed: bool) -> None:
        """A job is done, or given up."""
        self._failed += failed
        self._bar.update()
        rate = self._bar.format_dict["rate"] or 0.0
        told = f"{60 * rate:.1f} images/min" + (f", {self._failed} failed" if self._failed else "")
        self._bar.set_postfix_str(told)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
