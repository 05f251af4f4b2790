"""The kinds of noise levels that networks are trained on, recognised from configs. Imports no NumPy."""

from collections.abc import Mapping
from typing import Any

DISCRETE, EDM, FLOW, TRIGFLOW = "discrete", "EDM", "flow matching", "TrigFlow"
"""Noise levels by timestep (Ho et al. 2020), continuous ones (Karras et al. 2022), and those on straight paths from
noise to image (Lipman et al. 2022) or on arcs (Lu & Song 2024)."""

Options = Mapping[str, Any]
"""A scheduler's config."""


def trained_levels(config: Mapping[str, object]) -> str | None:
    """The kind of noise levels on which a config's network was trained; None if the config does not say."""
    name = str(config.get("_class_name") or "")
    if name.startswith("SCM") or config.get("prediction_type") == "trigflow":
        return TRIGFLOW
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


def in_words_of(known: Options, config: Options) -> Options:
    """A config in the terms of a class with these options: flow matching has ``shift`` and ``flow_shift``."""
    if trained_levels(config) != FLOW:
        return config
    word = "shift" if str(config.get("_class_name")).startswith("FlowMatch") else "flow_shift"
    shift = config.get(word, 1.0)
    own = {"shift": shift, "flow_shift": shift, "use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    return {**config, **{name: value for name, value in own.items() if name in known}}
