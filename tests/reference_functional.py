"""The operations of `functional_cases` in PyTorch and diffusers, by name."""

import torch
from diffusers.models.embeddings import (
    PatchEmbed,
    apply_rotary_emb,
    get_1d_rotary_pos_embed,
    get_2d_sincos_pos_embed,
)
from diffusers.models.normalization import RMSNorm
from torch import nn
from transformers.models.gemma2.modeling_gemma2 import apply_rotary_pos_emb

from functional_cases import Case


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    return nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)


def rms_norm(x, weight=None, eps=1e-6, offset=0.0):
    norm = RMSNorm(x.shape[-1], eps, elementwise_affine=weight is not None)
    if weight is not None:
        norm.weight.data = offset + weight
    return norm(x)


def gelu_tanh(x):
    return nn.functional.gelu(x, approximate="tanh")


def relu(x):
    return nn.functional.relu(x)


def softcap(x, cap):
    return cap * torch.tanh(x / cap)


def swiglu(x, weight, bias=None):
    a, b = nn.functional.linear(x, weight, bias).chunk(2, -1)
    return nn.functional.silu(a) * b


def _equal_rows(*tensors):
    rows = max(len(x) for x in tensors)
    return [x.repeat(rows // len(x), *[1] * (x.ndim - 1)) for x in tensors]


def modulated(x, scale, shift, gate):
    x, scale, shift, gate = _equal_rows(x, scale, shift, gate)
    return x + gate * nn.functional.silu(layer_norm(x, eps=1e-6) * (1 + scale) + shift)


def joined(first, second):
    return torch.cat(_equal_rows(first, second), 1)


def _heads(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attention(query, key, value, bias, heads, scale=None, softcap=None):
    size = query.shape[-1] // heads
    query, key, value = (_heads(x, x.shape[-1] // size) for x in _equal_rows(query, key, value))
    if softcap is None:
        y = nn.functional.scaled_dot_product_attention(query, key, value, bias, scale=scale, enable_gqa=True)
    else:
        scores = softcap * torch.tanh(query @ key.mT * scale / softcap) + bias
        y = torch.softmax(scores, -1) @ value
    return y.transpose(1, 2).flatten(2)


def relu_linear_attention(query, key, value, heads):
    query, key, value = (_heads(x, heads) for x in (query.relu(), key.relu(), value))
    value = nn.functional.pad(value, (0, 1), value=1.0)
    y = query @ (key.mT @ value)
    return (y[..., :-1] / (y[..., -1:] + 1e-15)).transpose(1, 2).flatten(2)


def rotated(x, positions, heads, sizes, theta, interleaved):
    x = _heads(x, heads)
    if interleaved:
        tables = [
            get_1d_rotary_pos_embed(size, positions[:, i], theta, use_real=True, freqs_dtype=torch.float64)
            for i, size in enumerate(sizes)
        ]
        cosines, sines = (torch.cat(parts, -1) for parts in zip(*tables))
        y = apply_rotary_emb(x, (cosines.to(x.dtype), sines.to(x.dtype)))
    else:
        (size,) = sizes
        angles = positions.double() * theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = torch.cat([angles, angles], -1)[None]
        y, _ = apply_rotary_pos_emb(x, x, angles.cos().to(x.dtype), angles.sin().to(x.dtype))
    return y.transpose(1, 2).flatten(2)


def placed(x, height, width, span):
    table = get_2d_sincos_pos_embed(
        x.shape[2], (height, width), base_size=8, interpolation_scale=8 / span, output_type="pt"
    )
    return x + table.float()


def placed_in_the_middle(x, table, height, width):
    side = int(table.shape[1] ** 0.5)
    embed = PatchEmbed(patch_size=1, in_channels=1, embed_dim=table.shape[2], pos_embed_max_size=side)
    embed.pos_embed = table
    return x + embed.cropped_pos_embed(height, width)


def conv2d(x, weight, bias=None, stride=1, padding=0, groups=1):
    return nn.functional.conv2d(x, weight, bias, stride, padding, groups=groups)


def convolved_by_parts(x, first, second):
    weight = torch.cat([first, second]).unflatten(0, (-1, 2, 4))[:, 1].flatten(0, 1)
    return nn.functional.conv2d(x, weight[..., None, None])


def rms_norm_of_channels(x, weight, bias, eps):
    norm = RMSNorm(x.shape[1], eps, bias=True)
    norm.weight.data, norm.bias.data = weight, bias
    return norm(x.movedim(1, -1)).movedim(-1, 1)


def batch_norm(x, mean, variance, weight, bias, eps):
    return nn.functional.batch_norm(x, mean, variance, weight, bias, eps=eps)


def relu_linear_attention_of_pixels(query, key, value, heads):
    tokens = (x.flatten(2).mT for x in (query, key, value))
    return relu_linear_attention(*tokens, heads).mT.unflatten(2, query.shape[2:])


def repeat_channels(x, times):
    return x.repeat_interleave(times, 1)


def average_channels(x, size):
    return x.unflatten(1, (-1, size)).mean(2)


def conv2d_gated(x, weight, bias):
    first, second = nn.functional.conv2d(x, weight, bias).chunk(2, 1)
    return first * nn.functional.silu(second)


def pixel_shuffle(x, factor):
    return nn.functional.pixel_shuffle(x, factor)


def pixel_unshuffle(x, factor):
    return nn.functional.pixel_unshuffle(x, factor)


@torch.no_grad()
def run(case: Case):
    function = globals()[case.function.__name__]
    return function(*map(torch.from_numpy, (*case.inputs, *case.weights)), **case.constants).numpy()
