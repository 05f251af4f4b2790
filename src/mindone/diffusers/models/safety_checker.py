"""The safety checker of Stable Diffusion 1.x: CLIP's vision tower, and concepts to compare its result with."""

from dataclasses import dataclass, field

from mindspore import nn

from .. import functional as F
from ..engines import Array
from ..loading.fields import Pixels
from ..utils.types import Value
from .base import Model
from .clip import CLIPEncoder, CLIPFields
from .fields import Channels, Count
from .layers import Conv2d, Embedding, LayerNorm, Linear, parameter

CONCEPTS, SPECIAL_CONCEPTS = 17, 3


@dataclass(frozen=True)
class CLIPVisionFields(CLIPFields):
    """The fields of ``vision_config``."""

    hidden_size: Channels = 768
    intermediate_size: Channels = 3072
    num_hidden_layers: Count = 12
    num_attention_heads: Count = 12
    num_channels: Channels = 3
    image_size: Pixels = 224
    patch_size: Pixels = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch_size > self.image_size:
            raise ValueError(f"patch_size must be at most image_size, got {self.patch_size} and {self.image_size}")


@dataclass(frozen=True)
class SafetyCheckerFields:
    """The fields of ``config.json``."""

    projection_dim: Channels = 512
    vision_config: CLIPVisionFields = field(default_factory=CLIPVisionFields)


class StableDiffusionSafetyChecker(Model):
    """Images to vectors in the space that CLIP shares with text, beside the vectors of unwanted concepts.

    ``concept_embeds`` (17, projection_dim) with the thresholds ``concept_embeds_weights`` (17,), and three
    ``special_care_embeds``, are parameters to read with `array`; a pipeline compares.
    """

    Fields = SafetyCheckerFields
    weights_name = "model"

    def __init__(self, **config: Value):
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


class CLIPVision(nn.Cell):
    """The vision tower; checkpoints name it twice."""

    def __init__(self, c: CLIPVisionFields):
        super().__init__()
        self.vision_model = CLIPVisionTransformer(c)

    def construct(self, pixel_values: Array) -> Array:
        return self.vision_model(pixel_values)


class CLIPVisionTransformer(nn.Cell):
    """Patches and one class token through the transformer; the class token's vector is the image's."""

    def __init__(self, c: CLIPVisionFields):
        super().__init__()
        self.embeddings = CLIPVisionEmbeddings(c)
        self.pre_layrnorm = LayerNorm(c.hidden_size, c.layer_norm_eps)  # so spelt in checkpoints
        self.encoder = CLIPEncoder(c, causal=False)
        self.post_layernorm = LayerNorm(c.hidden_size, c.layer_norm_eps)

    def construct(self, pixel_values: Array) -> Array:
        x = self.pre_layrnorm(self.embeddings(pixel_values))
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(F.select(x, 0, 1))


class CLIPVisionEmbeddings(nn.Cell):
    """One vector a patch, with the class token before them, plus a vector a position."""

    def __init__(self, c: CLIPVisionFields):
        super().__init__()
        self.class_embedding = parameter(c.hidden_size)
        self.patch_embedding = Conv2d(c.num_channels, c.hidden_size, c.patch_size, stride=c.patch_size, bias=False)
        self.position_embedding = Embedding((c.image_size // c.patch_size) ** 2 + 1, c.hidden_size)

    def construct(self, pixel_values: Array) -> Array:
        patches = self.patch_embedding(pixel_values)
        batch, channels = patches.shape[0], patches.shape[1]
        patches = F.transpose(F.reshape(patches, (batch, channels, -1)), (0, 2, 1))
        first = F.repeat_rows(F.reshape(self.class_embedding, (1, 1, channels)), batch)
        tokens = F.concat((first, patches), 1)
        return tokens + F.reshape(self.position_embedding.weight, (1, tokens.shape[1], channels))
