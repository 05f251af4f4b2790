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

What they compute is less than a hundredth of a step, so in int8 they would save no time, and everything else depends on
them. (`benchmarks/int8.py` measures it: on ``icons``, 40.3 dB with them as they are and 40.0 dB with everything in int8.
The products after GEGLU cost the most of what remains, 2.7 dB, but are a ninth of the work: they are in int8.)"""


def stays(name: str, modules_to_not_convert: Collection[str] = ()) -> bool:
    """Whether the layer of the weight ``name`` stays as it is."""
    return any(part in name for part in (*SENSITIVE, *modules_to_not_convert))
