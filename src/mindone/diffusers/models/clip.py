"""The transformer of CLIP (Radford et al. 2021), shared by its text and vision towers."""

from collections.abc import Mapping
from dataclasses import dataclass

from .. import functional as F
from ..engines import Array, FlashAttention
from ..loading.fields import Fraction
from .cells import Cell, CellList
from .fields import ActivationName, Channels, Count, check_divides
from .layers import Activation, LayerNorm, Linear


@dataclass(frozen=True)
class CLIPFields:
    """The fields in the configs of both towers."""

    hidden_size: Channels
    intermediate_size: Channels
    num_hidden_layers: Count
    num_attention_heads: Count
    hidden_act: ActivationName = "quick_gelu"
    layer_norm_eps: Fraction = 1e-5

    def __post_init__(self) -> None:
        check_divides("num_attention_heads", self.num_attention_heads, hidden_size=self.hidden_size)


def tower_config(config: Mapping[str, object], tower: str) -> Mapping[str, object]:
    """A tower's own config; if ``config`` is a whole CLIP's, the ``tower``'s part of it.

    Args:
        config: the content of ``config.json``.
        tower: ``"text_config"`` or ``"vision_config"``.
    """
    nested = config.get(tower)
    if config.get("model_type") != "clip" or not isinstance(nested, Mapping):
        return config
    shared = {name: config[name] for name in ("projection_dim",) if name in config}
    return {**shared, **nested}


class CLIPAttention(Cell):
    """Multi-head self-attention with biases."""

    def __init__(self, c: CLIPFields, causal: bool):
        super().__init__()
        channels, heads = c.hidden_size, c.num_attention_heads
        self.heads, self.causal = heads, causal
        self.flash: FlashAttention | None = None  # 77 tokens: nothing to save
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (Linear(channels, channels) for _ in range(4))

    def construct(self, x: Array) -> Array:
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        return self.out_proj(F.attention(q, k, v, self.heads, self.causal, self.flash))


class CLIPMLP(Cell):
    """The feed-forward layer."""

    def __init__(self, c: CLIPFields):
        super().__init__()
        self.fc1 = Linear(c.hidden_size, c.intermediate_size)
        self.act = Activation(c.hidden_act)
        self.fc2 = Linear(c.intermediate_size, c.hidden_size)

    def construct(self, x: Array) -> Array:
        return self.fc2(self.act(self.fc1(x)))


class CLIPLayer(Cell):
    """Attention and feed-forward, each normalised and with a shortcut."""

    def __init__(self, c: CLIPFields, causal: bool):
        super().__init__()
        self.self_attn = CLIPAttention(c, causal)
        self.layer_norm1 = LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.mlp = CLIPMLP(c)
        self.layer_norm2 = LayerNorm(c.hidden_size, c.layer_norm_eps)

    def construct(self, x: Array) -> Array:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class CLIPEncoder(Cell):
    """A stack of layers."""

    def __init__(self, c: CLIPFields, causal: bool):
        super().__init__()
        self.layers = CellList([CLIPLayer(c, causal) for _ in range(c.num_hidden_layers)])
