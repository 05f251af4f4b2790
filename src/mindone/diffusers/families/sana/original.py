"""The autoencoder of Sana in one file, as published by its authors; transformers in their layout are not read."""

from collections.abc import Mapping

from ...loading.original.autoencoder_dc import AUTOENCODER_DC, MARKS, SANA_SCALING_FACTOR
from ...loading.original.layout import Alone, NetworkLayout, OriginalLayout, Parts, Release, Tensors


def _pipeline(transformer: Tensors) -> str:
    raise ValueError("it has no transformer")


SANA = Release(
    "Sana",
    _pipeline,
    {"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction", "use_flow_sigmas": True},
    32,
    {"text_encoder": "<pad>"},
    SANA_SCALING_FACTOR,
)


def _release(parts: Parts, networks: Mapping[str, NetworkLayout]) -> Release:
    return SANA


ORIGINAL = OriginalLayout(
    known="the autoencoder of Sana (DC-AE)",
    denoiser="transformer",
    parts=(),
    release=_release,
    alone=(Alone(MARKS, "vae", AUTOENCODER_DC),),
    is_flow=True,
)
