"""What a pipeline's call returns: a tuple whose entries also have names."""

from typing import Any, NamedTuple


class StableDiffusionPipelineOutput(NamedTuple):
    """Images and, where a safety checker ran, its verdicts: ``output.images`` is ``output[0]``."""

    images: Any
    """A list of ``PIL.Image.Image`` ("pil"), float32 in [0, 1] (images, height, width, 3) ("np"), or latents."""
    nsfw_content_detected: list[bool] | None = None
    """One verdict an image; None when no safety checker ran."""


class StableDiffusionXLPipelineOutput(NamedTuple):
    """Images: ``output.images`` is ``output[0]``."""

    images: Any
    """A list of ``PIL.Image.Image`` ("pil"), float32 in [0, 1] (images, height, width, 3) ("np"), or latents."""
