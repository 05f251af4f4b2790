"""The training of a single file's denoiser, which shapes do not show: its prediction type and noise levels.

Programs that read single files look for marker tensors at the file's top level: the empty ``v_pred`` and ``ztsnr``, and
the numbers ``edm_vpred.sigma_max`` and ``edm_vpred.sigma_min``. The entries
``modelspec.prediction_type`` (the ModelSpec) and ``modelspec.predict_key`` (ComfyUI) of the metadata count too, and so
does the training's own configuration (`training_config`). The entries of trainers and mergers (``ss_…``,
``sd_merge_…``) are for people.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...utils.printable import shown
from ..safetensors import StoredTensor

Tensors = Mapping[str, StoredTensor]

PREDICTION_TYPES = ("epsilon", "v_prediction")
VELOCITY, ZERO_SNR = "v_pred", "ztsnr"
SIGMA_MAX, SIGMA_MIN = "edm_vpred.sigma_max", "edm_vpred.sigma_min"
_USUAL_SIGMAS = (0.002, 120.0)
"""The noise levels of CosXL."""
_METADATA = ("modelspec.prediction_type", "modelspec.predict_key")
_SPELLINGS = {"epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"}


@dataclass(frozen=True)
class Training:
    """The prediction type of a denoiser, and the noise levels it starts from."""

    prediction_type: str = "epsilon"
    zero_terminal_snr: bool = False
    """Trained to start from pure noise (Lin et al. 2024, arXiv 2305.08891, §3)."""
    sigmas: tuple[float, float] | None = None
    """The minimum and maximum noise level of a network trained as in EDM (Karras et al. 2022); None for others."""

    def tensors(self) -> dict[str, StoredTensor]:
        """The marker tensors."""
        if self.sigmas is not None:
            levels = zip((SIGMA_MIN, SIGMA_MAX), self.sigmas)
            return {name: StoredTensor.from_numpy(np.array(level, np.float32)) for name, level in levels}
        names = [VELOCITY] * (self.prediction_type == "v_prediction") + [ZERO_SNR] * self.zero_terminal_snr
        return {name: StoredTensor.from_numpy(np.zeros(0, np.float32)) for name in names}

    @property
    def modelspec(self) -> str:
        """The prediction type in the ModelSpec's terms."""
        return "v" if self.prediction_type == "v_prediction" else "epsilon"


def read_training(
    file: Tensors, metadata: Mapping[str, str], stated: str | None, default: Callable[[], str]
) -> Training:
    """The training of a file's denoiser.

    Marker tensors, which other programs read, count first, then the metadata, then ``stated``, from the training's own
    configuration.

    Args:
        file: the file's tensors.
        metadata: the entries of its header.
        stated: "epsilon" or "v_prediction", or None.
        default: returns the prediction type if nothing else gives one.

    Raises:
        ValueError: a marker or an entry is invalid.
    """
    if SIGMA_MAX in file or SIGMA_MIN in file:
        return Training("v_prediction", sigmas=_sigmas(file))
    zero_snr = ZERO_SNR in file
    if VELOCITY in file:
        return Training("v_prediction", zero_snr)
    for name in _METADATA:
        if name in metadata and metadata[name].strip():
            kind = _SPELLINGS.get(metadata[name].strip().lower())
            if kind is None:
                raise ValueError(
                    f"its metadata says {name}={shown(metadata[name])}; supported: {', '.join(_SPELLINGS)}; "
                    "pass the right one as prediction_type="
                )
            return Training(kind, zero_snr)
    return Training(stated or default(), zero_snr)


def training_of(scheduler: Mapping[str, object]) -> Training:
    """A checkpoint's training, from its scheduler's config.

    Raises:
        ValueError: no marker exists for it.
    """
    predicts = str(scheduler.get("prediction_type", "epsilon"))
    continuous = scheduler.get("timestep_type") == "continuous" and predicts == "v_prediction"
    if str(scheduler.get("_class_name")).startswith("EDM") or continuous:
        levels = [scheduler.get(name) or usual for name, usual in zip(("sigma_min", "sigma_max"), _USUAL_SIGMAS)]
        if predicts == "v_prediction" and scheduler.get("sigma_data", 1) == 1:
            low, high = (float(np.float32(str(level))) for level in levels)  # as the tensors hold them
            return Training(predicts, sigmas=(low, high))
        predicts = f"{predicts} of EDM"
    if predicts not in PREDICTION_TYPES:
        raise ValueError(f"the original layout has no mark for the prediction_type {shown(predicts)}; keep the folder")
    return Training(predicts, scheduler.get("rescale_betas_zero_snr") is True)


def _sigmas(file: Tensors) -> tuple[float, float]:
    found = {name: file[name].numpy() for name in (SIGMA_MIN, SIGMA_MAX) if name in file}
    numbers = {name: float(value.reshape(-1)[0]) if value.size == 1 else math.nan for name, value in found.items()}
    low, high = numbers.get(SIGMA_MIN, _USUAL_SIGMAS[0]), numbers.get(SIGMA_MAX, math.nan)
    if not 0 < low < high < math.inf:
        raise ValueError(
            f"its noise levels {SIGMA_MIN} and {SIGMA_MAX} must be two numbers, the first the smaller, got {low:g} and "
            f"{high:g}"
        )
    return low, high
