"""The transformer of CLIP (Radford et al. 2021), which its text and its vision towers share."""

from mindspore import nn

from .. import functional as F
from ..engines import FlashAttention
from .layers import Activation, LayerNorm, Linear


class CLIPAttention(nn.Cell):
    """Multi-head self-attention with biases."""

    def __init__(self, channels: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.flash: FlashAttention | None = None  # 77 tokens: nothing to save
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (Linear(channels, channels) for _ in range(4))

    def construct(self, x):
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        return self.out_proj(F.attention(q, k, v, self.heads, self.causal, self.flash))


class CLIPMLP(nn.Cell):
    """The feed-forward layer."""

    def __init__(self, channels: int, inner: int, act: str):
        super().__init__()
        self.fc1 = Linear(channels, inner)
        self.act = Activation(act)
        self.fc2 = Linear(inner, channels)

    def construct(self, x):
        return self.fc2(self.act(self.fc1(x)))


class CLIPLayer(nn.Cell):
    """Attention and feed-forward, each normalised and beside a shortcut."""

    def __init__(self, channels: int, inner: int, heads: int, act: str, eps: float, causal: bool):
        super().__init__()
        self.self_attn = CLIPAttention(channels, heads, causal)
        self.layer_norm1 = LayerNorm(channels, eps)
        self.mlp = CLIPMLP(channels, inner, act)
        self.layer_norm2 = LayerNorm(channels, eps)

    def construct(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class CLIPEncoder(nn.Cell):
    """A stack of layers."""

    def __init__(self, count: int, channels: int, inner: int, heads: int, act: str, eps: float, causal: bool):
        super().__init__()
        self.layers = nn.CellList([CLIPLayer(channels, inner, heads, act, eps, causal) for _ in range(count)])
