"""What happens to config fields that the chosen scheduler does not have.

Configs travel: ``X.from_config(pipe.scheduler.config)`` hands one class's options to another. Three kinds of fields:

- Fields that describe training must be honoured, or the samples are wrong: its β, ``prediction_type`` and
  ``rescale_betas_zero_snr`` are options of every class (`options.EVERYWHERE`), and a class refuses networks trained on
  noise levels that it does not sample (`levels.trained_levels`).
- Which noise levels to visit, and whether to clip, any sampler could decide (`VISIBLE`). A class that cannot ignores
  the field, as the published ones do, and a warning says so.
- Details of one method (``solver_order``, ``skip_prk_steps``, …) mean nothing to another and are ignored.
"""

import functools
from collections.abc import Callable, Container, Mapping

from ..utils import logging
from ..utils.printable import printable, shown

logger = logging.get_logger(__name__)

VISIBLE: Mapping[str, object] = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "timestep_spacing": "linspace",
    "final_sigmas_type": "zero",
    "thresholding": False,
    "clip_sample": False,
}
"""Fields that would change the samples of any method, with the value that changes nothing."""


_MOST_NAMED = 3
"""The most fields that a warning names: a file may hold any number."""


def report_lost(name: str, hidden: Mapping[str, object], method_options: Callable[[], Container[str]]) -> None:
    """Warn once about config fields that would have changed the samples and that a class cannot honour.

    Args:
        name: the class's.
        hidden: entries that somebody chose and the class does not have.
        method_options: returns the options of all classes; called only if the other fields do not decide.
    """
    lost = [field for field, value in hidden.items() if _matters(field, value, method_options)]
    if lost:
        _warn(name, tuple(f"{printable(field):.60}={shown(hidden[field]):.60}" for field in lost))


def _matters(name: str, value: object, method_options: Callable[[], Container[str]]) -> bool:
    if name in VISIBLE:
        return value is not None and value != VISIBLE[name]
    return not name.startswith("_") and value not in (None, False) and name not in method_options()


@functools.lru_cache(maxsize=1024)
def _warn(name: str, lost: tuple[str, ...]) -> None:
    """Warn once for each class and its fields: a batch makes a scheduler for each picture."""
    more = len(lost) - _MOST_NAMED
    others = f" and {more} more" if more > 0 else ""
    logger.warning(f"{name} has no {' and no '.join(lost[:_MOST_NAMED])}{others}; it samples without")
