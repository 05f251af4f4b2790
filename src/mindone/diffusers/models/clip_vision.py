"""CLIP's vision tower (Radford et al. 2021), for image prompts and safety checkers."""

from dataclasses import dataclass
from typing import Any

from .. import functional as F
from ..engines import Array, several
from ..loading.fields import Pixels
from .base import Model
from .cells import Cell
from .clip import CLIPEncoder, CLIPFields, tower_config
from .fields import Channels, Count
from .layers import Conv2d, Embedding, LayerNorm, Linear, parameter
from .outputs import CLIPVisionProjectionOutput


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
class CLIPVisionProjectionFields(CLIPVisionFields):
    """The fields of an image encoder's ``config.json``."""

    projection_dim: Channels = 512


class CLIPVisionModelWithProjection(Model):
    """Pictures to one vector each in CLIP's joint space with text, or to one per patch; see `construct`."""

    Fields = CLIPVisionProjectionFields
    weights_name = "model"

    def __init__(self, **config: Any):
        super().__init__(tower_config(config, "vision_config"))
        c: CLIPVisionProjectionFields = self.fields
        self.vision_model = CLIPVisionTransformer(c)
        self.visual_projection = Linear(c.hidden_size, c.projection_dim, bias=False)

    def construct(self, pixel_values: Array) -> tuple[Array, Array]:
        """Encode pictures.

        Args:
            pixel_values: (batch, 3, image_size, image_size), normalised as CLIP's images are.

        Returns:
            Their vectors (batch, projection_dim), and the output of the last layer, class token first, not normalised,
                (batch, 1 + patches, hidden_size).
        """
        last = self.layer_states(pixel_values)[-1]
        return self.visual_projection(self.vision_model.pooled(last)), last

    def penultimate(self, pixel_values: Array) -> Array:
        """The input of the last layer, (batch, 1 + patches, hidden_size), which holds more detail than the vectors."""
        return self.layer_states(pixel_values)[-2]

    def layer_states(self, pixel_values: Array) -> tuple[Array, ...]:
        """The input of the first layer and the output of each, (batch, 1 + patches, hidden_size)."""
        return self.vision_model.layer_states(pixel_values)

    def __call__(  # type: ignore[override]
        self, pixel_values: Array, *, output_hidden_states: bool = False, return_dict: bool = True
    ) -> CLIPVisionProjectionOutput | tuple[Array, ...]:
        """Encode pictures: tensors with MindSpore's kernels, NumPy arrays with this machine's engine.

        Args:
            pixel_values: as in `construct`.
            output_hidden_states: also return each layer's output, from a second pass.
            return_dict: false for a plain tuple.
        """
        embeds, last = several(super().__call__(pixel_values))
        states = several(self._run("layer_states", pixel_values)) if output_hidden_states else None
        output = CLIPVisionProjectionOutput(embeds, last, states)
        return output if return_dict else output.to_tuple()


class CLIPVisionTransformer(Cell):
    """Patches and one class token through the transformer; the class token's vector is the image's."""

    def __init__(self, c: CLIPVisionFields):
        super().__init__()
        self.embeddings = CLIPVisionEmbeddings(c)
        self.pre_layrnorm = LayerNorm(c.hidden_size, c.layer_norm_eps)  # spelt this way in checkpoints
        self.encoder = CLIPEncoder(c, causal=False)
        self.post_layernorm = LayerNorm(c.hidden_size, c.layer_norm_eps)

    def construct(self, pixel_values: Array) -> Array:
        return self.pooled(self.layer_states(pixel_values)[-1])

    def layer_states(self, pixel_values: Array) -> tuple[Array, ...]:
        """The input of the first layer and the output of each."""
        states = [self.pre_layrnorm(self.embeddings(pixel_values))]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        return tuple(states)

    def pooled(self, last: Array) -> Array:
        """The image's vector, (batch, hidden_size), from the last layer's output."""
        return self.post_layernorm(F.select(last, 0, 1))


class CLIPVisionEmbeddings(Cell):
    """The class token and one vector per patch, plus a vector per position."""

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
