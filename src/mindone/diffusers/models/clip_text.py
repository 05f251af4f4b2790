"""CLIP's text tower: Stable Diffusion's text encoder and, with a projection, SDXL's second one."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from .. import functional as F
from ..engines import Array, Input, several
from ..loading.fields import TokenId
from .base import Model
from .cells import Cell
from .clip import CLIPEncoder, CLIPFields, tower_config
from .fields import Channels, Count, Positions, TableSize
from .layers import Embedding, LayerNorm, Linear
from .outputs import CLIPTextOutput, CLIPTextProjectionOutput

Outputs: TypeAlias = CLIPTextOutput | CLIPTextProjectionOutput


@dataclass(frozen=True)
class CLIPTextFields(CLIPFields):
    """The fields of ``config.json``."""

    hidden_size: Channels = 512
    intermediate_size: Channels = 2048
    num_hidden_layers: Count = 12
    num_attention_heads: Count = 8
    vocab_size: TableSize = 49408
    projection_dim: Channels = 512
    max_position_embeddings: Positions = 77
    eos_token_id: TokenId = 49407


class CLIPTextModel(Model):
    """Text tokens to one vector per token, and one for the whole text; see `construct`."""

    Fields = CLIPTextFields
    weights_name = "model"
    fewest_bits = 8  # it is small, and pictures of icons are 31 dB away with it in 4 bits, 51 dB in 8
    projects = False

    def __init__(self, **config: Any):
        super().__init__(tower_config(config, "text_config"))
        c: CLIPTextFields = self.fields
        self.text_model = CLIPTextTransformer(c)
        self.text_projection = Linear(c.hidden_size, c.projection_dim, bias=False) if self.projects else None
        # Published configs say 2, but the end-of-text token is actually the largest id.
        self.end_of_text = None if c.eos_token_id == 2 else c.eos_token_id

    def construct(
        self, input_ids: Array, skip: int = 0, apply_final_norm: bool = True, pool_at: int | None = None
    ) -> tuple[Array, Array]:
        """Encode tokens.

        Args:
            input_ids: (batch, tokens) integers; at most ``max_position_embeddings`` tokens.
            skip: how many of the last layers to skip for the first result ("CLIP skip").
            apply_final_norm: normalise the first result, even if layers are skipped.
            pool_at: the id of the end-of-text token; None for the config's, or the row's largest id if the config does
                not know it. Added words have larger ids.

        Returns:
            The hidden states (batch, tokens, hidden_size), and the whole text's vector: the end-of-text token's after
                all layers, (batch, hidden_size), or projected to (batch, projection_dim).
        """
        states = self.layer_states(input_ids)
        last, hidden = self.text_model.final_layer_norm(states[-1]), states[-1 - skip]
        if apply_final_norm:
            hidden = last if skip == 0 else self.text_model.final_layer_norm(hidden)
        pooled = F.token_at_first(last, input_ids, self.end_of_text if pool_at is None else pool_at)
        if self.text_projection is not None:
            pooled = self.text_projection(pooled)
        return hidden, pooled

    def layer_states(self, input_ids: Array) -> tuple[Array, ...]:
        """The input of the first layer and the output of each, (batch, tokens, hidden_size), none normalised."""
        states = [self.text_model.embeddings(input_ids)]
        for layer in self.text_model.encoder.layers:
            states.append(layer(states[-1]))
        return tuple(states)

    def __call__(  # type: ignore[override]
        self,
        input_ids: Array,
        attention_mask: None = None,
        *,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        **options: Input,
    ) -> Outputs | tuple[Array, ...]:
        """Encode tokens: tensors with MindSpore's kernels, NumPy arrays with this machine's engine.

        Args:
            input_ids: (batch, tokens) integers.
            attention_mask: must be None: as in Stable Diffusion's training, padding counts like any other token.
            output_hidden_states: also return each layer's output, from a second pass.
            return_dict: false for a plain tuple.
            options: ``skip``, ``apply_final_norm`` and ``pool_at`` of `construct`.

        Raises:
            ValueError: there is an ``attention_mask``.
        """
        if attention_mask is not None:
            raise ValueError("attention_mask must be None: padding is encoded like any other token")
        hidden, pooled = several(super().__call__(input_ids, **options))
        states = several(self._run("layer_states", input_ids)) if output_hidden_states else None
        if self.projects:
            return _as_asked(CLIPTextProjectionOutput(pooled, hidden, states), return_dict)
        return _as_asked(CLIPTextOutput(hidden, pooled, states), return_dict)


def _as_asked(output: Outputs, return_dict: bool) -> Outputs | tuple[Array, ...]:
    return output if return_dict else output.to_tuple()


class CLIPTextModelWithProjection(CLIPTextModel):
    """The same with the whole text's vector projected into CLIP's joint space with images."""

    projects = True


class CLIPTextTransformer(Cell):
    """The parts of the text tower, under their published names."""

    def __init__(self, c: CLIPTextFields):
        super().__init__()
        self.embeddings = CLIPTextEmbeddings(c)
        self.encoder = CLIPEncoder(c, causal=True)
        self.final_layer_norm = LayerNorm(c.hidden_size, c.layer_norm_eps)


class CLIPTextEmbeddings(Cell):
    """A vector per token plus a vector per position."""

    def __init__(self, c: CLIPTextFields):
        super().__init__()
        self.token_embedding = Embedding(c.vocab_size, c.hidden_size)
        self.position_embedding = Embedding(c.max_position_embeddings, c.hidden_size)

    def construct(self, input_ids: Array) -> Array:
        tokens = input_ids.shape[1]
        positions = F.slice_axis(self.position_embedding.weight, 0, 0, tokens)
        return self.token_embedding(input_ids) + F.reshape(positions, (1, tokens, -1))
