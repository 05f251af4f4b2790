"""How the networks of a pipeline are brought to int8."""

from dataclasses import dataclass

from ..quantized_components import DENOISER, check_components

PROMPTS = ("a photo of a dog in a green field", "a red heart on a white background")


@dataclass(frozen=True)
class Int8Config:
    """W8A8: weights in int8 with a scale per output channel, activations in uint8 with a range per tensor.

    Args:
        prompts: drawn once each, one after the other, to see what the activations' ranges are.
        num_inference_steps: of these drawings; they visit timesteps from the first to the last however few there are.
        modules_to_not_convert: further layers that are to stay as they are, by a part of their name, such as
            ``"ff.net.2"``. Those that always do are the family's (`Int8Plan`).
        components_to_quantize: whose products are in int8: the denoising network's, ``("denoiser",)`` or by its own
            name, and as far as it decodes the autoencoder's, ``"vae"``. With the denoiser the weights of all others are
            in int8 as well, which makes the checkpoint small. ``"text_encoders"``, or the name of one, brings the
            weights of these to int8 whatever is done with the others; for them nothing is drawn.

    Raises:
        ValueError: no prompt, an empty one, fewer than one step, or no component or one that cannot be in int8.
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
