"""The safety checker of Stable Diffusion 1.x: CLIP's vision tower, and concepts to compare its output with."""

from dataclasses import dataclass, field
from typing import Any

from ..engines import Array
from .base import Model
from .cells import Cell
from .clip_vision import CLIPVisionFields, CLIPVisionTransformer
from .fields import Channels
from .layers import Linear, parameter

CONCEPTS, SPECIAL_CONCEPTS = 17, 3


@dataclass(frozen=True)
class SafetyCheckerFields:
    """The fields of ``config.json``."""

    projection_dim: Channels = 512
    vision_config: CLIPVisionFields = field(default_factory=CLIPVisionFields)


class StableDiffusionSafetyChecker(Model):
    """Images to vectors in CLIP's joint space with text, and the vectors of unwanted concepts.

    ``concept_embeds`` (17, projection_dim) with the thresholds ``concept_embeds_weights`` (17,), and three
    ``special_care_embeds``, are parameters to read with `array`; the pipeline compares them.
    """

    Fields = SafetyCheckerFields
    weights_name = "model"

    def __init__(self, **config: Any):
        super().__init__(config)
        vision: CLIPVisionFields = self.fields.vision_config
        projection = self.fields.projection_dim
        self.image_size = vision.image_size
        self.vision_model = CLIPVision(vision)
        self.visual_projection = Linear(vision.hidden_size, projection, bias=False)
        self.concept_embeds = parameter(CONCEPTS, projection)
        self.special_care_embeds = parameter(SPECIAL_CONCEPTS, projection)
        self.concept_embeds_weights = parameter(CONCEPTS)
        self.special_care_embeds_weights = parameter(SPECIAL_CONCEPTS)

    def construct(self, pixel_values: Array) -> Array:
        """(batch, 3, image_size, image_size), normalised as CLIP's images are, to (batch, projection_dim)."""
        return self.visual_projection(self.vision_model(pixel_values))


class CLIPVision(Cell):
    """The vision tower; checkpoints name it twice."""

    def __init__(self, c: CLIPVisionFields):
        super().__init__()
        self.vision_model = CLIPVisionTransformer(c)

    def construct(self, pixel_values: Array) -> Array:
        return self.vision_model(pixel_values)
