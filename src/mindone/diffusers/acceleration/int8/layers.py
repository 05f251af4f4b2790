"""Which layers stay in 16 bits."""

from collections.abc import Collection

SENSITIVE = (
    "conv_in.",
    "conv_out.",
    "time_embedding.",
    "add_embedding.",
    "time_emb_proj.",
    "attn2.to_k.",
    "attn2.to_v.",
)
"""The first and the last convolution, and what reads the timestep and the text.

What they compute is less than a hundredth of a step, so in int8 they would save no time, and everything else depends
on them. Measured on ``icons`` against float32 (12 prompts, 25 steps, ranges from 4 others): 40.3 dB with them in 16
bits, 40.0 dB with everything in int8. Of the others the products after GEGLU cost the most, 2.7 dB; they are 25 GMAC
for each row of Stable Diffusion 1.5's batch, too many to leave in 16 bits."""


def stays(name: str, modules_to_not_convert: Collection[str] = ()) -> bool:
    """Whether the layer of the weight ``name`` stays as it is."""
    return any(part in name for part in (*SENSITIVE, *modules_to_not_convert))
