"""What becomes of a config's fields that the chosen scheduler does not have.

Configs travel: ``X.from_config(pipe.scheduler.config)`` hands one class's options to another. Three kinds of fields:

- What the network was trained with must be honoured, or the samples are wrong: its β, ``prediction_type`` and
  ``rescale_betas_zero_snr`` are options of every class (`options.EVERYWHERE`), and networks that were trained on other
  noise levels altogether (`schedules.trained_levels`) are refused by classes that do not sample these.
- Which noise levels to visit, and whether to clip, any sampler could do (`VISIBLE`). A class that cannot leaves it out,
  as the published ones do, and a warning says so.
- How one method goes about it (``solver_order``, ``skip_prk_steps``, …) means nothing to another, and is left out.
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
"""Fields that a warning names: a file chooses how many there are."""


def report_lost(name: str, hidden: Mapping[str, object], method_options: Callable[[], Container[str]]) -> None:
    """Warn, once, of the fields of a config that would have changed the samples and that a class cannot honour.

    Args:
        name: the class's.
        hidden: the entries that the class does not have and that somebody chose.
        method_options: gives the options of all classes; asked only where the other fields do not decide.
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
    """Once for a class and its fields: a batch makes a scheduler for each picture."""
    more = len(lost) - _MOST_NAMED
    others = f" and {more} more" if more > 0 else ""
    logger.warning(f"{name} has no {' and no '.join(lost[:_MOST_NAMED])}{others}; it samples without")
