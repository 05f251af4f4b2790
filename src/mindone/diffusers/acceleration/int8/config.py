"""How a denoising network is brought to int8."""

from dataclasses import dataclass

PROMPTS = ("a photo of a dog in a green field", "a red heart on a white background")


@dataclass(frozen=True)
class Int8Config:
    """W8A8: weights in int8 with a scale per output channel, activations in uint8 with a range per tensor.

    Args:
        prompts: drawn once each, one after the other, to see what the activations' ranges are.
        num_inference_steps: of these drawings; they visit timesteps from the first to the last however few there are.
        modules_to_not_convert: further layers that are to stay as they are, by a part of their name, such as
            ``"ff.net.2"``. See `layers` for those that always do.

    Raises:
        ValueError: no prompt, an empty one, or fewer than one step.
    """

    prompts: tuple[str, ...] = PROMPTS
    num_inference_steps: int = 3
    modules_to_not_convert: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.prompts, str) or not self.prompts or not all(self.prompts):
            raise ValueError(f"prompts must be one text or more in a tuple, none of them empty, got {self.prompts!r}")
        if isinstance(self.num_inference_steps, bool) or self.num_inference_steps < 1:
            raise ValueError(f"num_inference_steps must be 1 or more, got {self.num_inference_steps!r}")
        if isinstance(self.modules_to_not_convert, str):
            raise ValueError(f"modules_to_not_convert must be a tuple of names, got {self.modules_to_not_convert!r}")
