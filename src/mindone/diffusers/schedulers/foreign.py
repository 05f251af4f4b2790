"""What becomes of a config's fields that the chosen scheduler does not have.

Configs travel: ``X.from_config(pipe.scheduler.config)`` hands one class's options to another. Three kinds of fields:

- What the network was trained with must be honoured, or the samples are wrong: its β, ``prediction_type`` and
  ``rescale_betas_zero_snr`` are options of every class (`options.EVERYWHERE`), and networks that were trained on other
  noise levels altogether (EDM, flow matching) are refused by classes that do not sample these.
- Which noise levels to visit, and whether to clip, any sampler could do (`VISIBLE`). A class that cannot leaves it out,
  as the published ones do, and a warning says so.
- How one method goes about it (``solver_order``, ``skip_prk_steps``, …) means nothing to another, and is left out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..utils import logging
from .registry import scheduler_classes
from .shown import shown

if TYPE_CHECKING:
    from .configured import ConfiguredScheduler

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

DISCRETE, EDM, FLOW = "discrete", "EDM", "flow matching"


def trained_levels(config: Mapping[str, object]) -> str | None:
    """On which kind of noise levels a config's network was trained; None where the config does not say."""
    name = str(config.get("_class_name") or "")
    if (
        name.startswith("FlowMatch")
        or config.get("use_flow_sigmas")
        or config.get("prediction_type") == "flow_prediction"
    ):
        return FLOW
    if name.startswith("EDM") or config.get("sigma_data") is not None or is_continuous(config):
        return EDM
    return DISCRETE if name or "beta_start" in config or "trained_betas" in config else None


def is_continuous(config: Mapping[str, object]) -> bool:
    """Whether a network is conditioned on log σ, in `EulerDiscreteScheduler`'s words."""
    return config.get("timestep_type") == "continuous" and config.get("prediction_type") == "v_prediction"


def check(cls: type[ConfiguredScheduler], config: Mapping[str, object], hidden: Mapping[str, object]) -> None:
    """Refuse or report what a class cannot honour.

    Args:
        cls: the scheduler's class.
        config: the whole config, with what replaces its entries.
        hidden: the entries that the class does not have and that somebody chose.

    Raises:
        ValueError: the network was trained on noise levels that the class does not sample.
    """
    levels = trained_levels(config)
    if levels is not None and not cls.samples(levels, config):
        suited = [name for name, other in scheduler_classes().items() if other.samples(levels, config)]
        advice = f"use {', '.join(suited)}" if suited else "no scheduler here samples them"
        raise ValueError(
            f"{cls.__name__} cannot sample this checkpoint, which was trained on {levels} noise levels; {advice}"
        )
    lost = [name for name, value in hidden.items() if _matters(name, value)]
    if lost:
        _warn(cls.__name__, tuple(f"{name:.60}={shown(hidden[name])}" for name in lost))


def _matters(name: str, value: object) -> bool:
    if name in VISIBLE:
        return value is not None and value != VISIBLE[name]
    return not name.startswith("_") and value not in (None, False) and name not in _method_options()


@functools.cache
def _method_options() -> frozenset[str]:
    """Every option of the classes that are here."""
    return frozenset(name for cls in scheduler_classes().values() for name in {**cls.defaults, **cls.idle})


@functools.cache
def _warn(name: str, lost: tuple[str, ...]) -> None:
    """Once for a class and its fields: a batch makes a scheduler for each picture."""
    logger.warning(f"{name} has no {' and no '.join(lost)}; it samples without")
