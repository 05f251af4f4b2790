"""The results of pipelines' calls."""

from dataclasses import dataclass

from ..utils.outputs import BaseOutput
from .image_processor import Images


@dataclass(eq=False)
class StableDiffusionPipelineOutput(BaseOutput):
    """Images and, if a safety checker ran, its verdicts: ``output.images``, ``output["images"]``, ``output[0]``."""

    images: Images
    """A list of ``PIL.Image.Image`` ("pil"), float32 in [0, 1] (images, height, width, 3) ("np"), or latents."""
    nsfw_content_detected: list[bool] | None = None
    """One verdict per image; None if no safety checker ran."""


@dataclass(eq=False)
class StableDiffusionXLPipelineOutput(BaseOutput):
    """Images: ``output.images``, ``output["images"]``, ``output[0]``."""

    images: Images
    """A list of ``PIL.Image.Image`` ("pil"), float32 in [0, 1] (images, height, width, 3) ("np"), or latents."""


@dataclass(eq=False)
class ImagePipelineOutput(BaseOutput):
    """Images of a pipeline without a safety checker: ``output.images``, ``output["images"]``, ``output[0]``."""

    images: Images
    """As of `StableDiffusionXLPipelineOutput`."""
