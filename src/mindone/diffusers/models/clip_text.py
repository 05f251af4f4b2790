"""CLIP's text tower: Stable Diffusion's text encoder, and with a projection the second one of SDXL."""

from dataclasses import dataclass
from typing import Any

from mindspore import nn

from .. import functional as F
from ..engines import Array
from ..loading.fields import TokenId
from .base import Model
from .clip import CLIPEncoder, CLIPFields
from .fields import Channels, Count, TableSize
from .layers import Embedding, LayerNorm, Linear


@dataclass(frozen=True)
class CLIPTextFields(CLIPFields):
    """The fields of ``config.json``."""

    hidden_size: Channels = 512
    intermediate_size: Channels = 2048
    num_hidden_layers: Count = 12
    num_attention_heads: Count = 8
    vocab_size: TableSize = 49408
    projection_dim: Channels = 512
    max_position_embeddings: TableSize = 77
    eos_token_id: TokenId = 49407


class CLIPTextModel(Model):
    """Text tokens to one vector a token, and one for the whole text; see `construct`."""

    Fields = CLIPTextFields
    weights_name = "model"
    projects = False

    def __init__(self, **config: Any):
        super().__init__(config)
        c: CLIPTextFields = self.fields
        self.text_model = CLIPTextTransformer(c)
        self.text_projection = Linear(c.hidden_size, c.projection_dim, bias=False) if self.projects else None
        self.last_layer = c.num_hidden_layers - 1
        # Published configs say 2 where the end-of-text token is in truth the largest id.
        self.end_of_text = None if c.eos_token_id == 2 else c.eos_token_id

    def construct(self, input_ids: Array, skip: int = 0, apply_final_norm: bool = True) -> tuple[Array, Array]:
        """Encode tokens.

        Args:
            input_ids: (batch, tokens) integers; at most ``max_position_embeddings`` tokens.
            skip: leave out this many of the last layers from the first result ("CLIP skip").
            apply_final_norm: normalise the first result, also when layers were left out.

        Returns:
            The hidden states (batch, tokens, hidden_size), and the whole text's vector: that of the end-of-text token
            after all layers, (batch, hidden_size), or projected to (batch, projection_dim).
        """
        hidden = last = self.text_model.embeddings(input_ids)
        for i, layer in enumerate(self.text_model.encoder.layers):
            last = layer(last)
            if i == self.last_layer - skip:
                hidden = last
        last = self.text_model.final_layer_norm(last)
        if apply_final_norm:
            hidden = last if skip == 0 else self.text_model.final_layer_norm(hidden)
        pooled = F.token_at_first(last, input_ids, self.end_of_text)
        if self.text_projection is not None:
            pooled = self.text_projection(pooled)
        return hidden, pooled


class CLIPTextModelWithProjection(CLIPTextModel):
    """The same with the whole text's vector projected into the space that CLIP shares with images."""

    projects = True


class CLIPTextTransformer(nn.Cell):
    """The parts of the text tower, under their published names."""

    def __init__(self, c: CLIPTextFields):
        super().__init__()
        self.embeddings = CLIPTextEmbeddings(c)
        self.encoder = CLIPEncoder(c, causal=True)
        self.final_layer_norm = LayerNorm(c.hidden_size, c.layer_norm_eps)


class CLIPTextEmbeddings(nn.Cell):
    """A vector a token plus a vector a position."""

    def __init__(self, c: CLIPTextFields):
        super().__init__()
        self.token_embedding = Embedding(c.vocab_size, c.hidden_size)
        self.position_embedding = Embedding(c.max_position_embeddings, c.hidden_size)

    def construct(self, input_ids: Array) -> Array:
        tokens = input_ids.shape[1]
        positions = F.slice_axis(self.position_embedding.weight, 0, 0, tokens)
        return self.token_embedding(input_ids) + F.reshape(positions, (1, tokens, -1))
