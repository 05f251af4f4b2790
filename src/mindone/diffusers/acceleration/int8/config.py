"""The settings for converting a pipeline's networks to int8."""

from dataclasses import dataclass

from ..quantized_components import DENOISER, check_components

PROMPTS = ("a photo of a dog in a green field", "a red heart on a white background")


@dataclass(frozen=True)
class Int8Config:
    """W8A8: weights in int8 with a scale per output channel, activations in uint8 with a range per tensor.

    Args:
        prompts: generated once each to find the activations' ranges.
        num_inference_steps: steps per prompt; even a few cover the timesteps from the first to the last.
        modules_to_not_convert: additional layers to leave unchanged, by a part of their name, such as ``"ff.net.2"``.
            The family lists those that always stay unchanged (`Int8Plan`).
        components_to_quantize: the components with products in int8: the denoiser, as ``"denoiser"`` or by its own
            name, and the autoencoder's decoder, ``"vae"``. With the denoiser, the weights of all others become int8
            too, which makes the checkpoint small. ``"text_encoders"``, or the name of one, converts only their weights
            to int8, independently of the others; this generates nothing.

    Raises:
        ValueError: no prompt, an empty one, fewer than one step, no component, or one that does not support int8.
    """

    prompts: tuple[str, ...] = PROMPTS
    num_inference_steps: int = 3
    modules_to_not_convert: tuple[str, ...] = ()
    components_to_quantize: tuple[str, ...] = (DENOISER,)

    def __post_init__(self) -> None:
        if isinstance(self.prompts, str) or not self.prompts or not all(self.prompts):
            raise ValueError(f"prompts must be one text or more in a tuple, none of them empty, got {self.prompts!r}")
        if isinstance(self.num_inference_steps, bool) or self.num_inference_steps < 1:
            raise ValueError(f"num_inference_steps must be 1 or more, got {self.num_inference_steps!r}")
        if isinstance(self.modules_to_not_convert, str):
            raise ValueError(f"modules_to_not_convert must be a tuple of names, got {self.modules_to_not_convert!r}")
        check_components(self.components_to_quantize)
