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
    "post_quant_conv.",
)
"""The first and the last convolution, and what reads the timestep, the text and the latents.

What they compute is less than a hundredth of a step, so in int8 they would save no time, and everything else depends
on them. Measured on ``icons`` against float32 (12 prompts, 25 steps, ranges from 4 others): 40.3 dB with them in 16
bits, 40.0 dB with everything in int8. Of the others the products after GEGLU cost the most, 2.7 dB; they are 25 GMAC
for each row of Stable Diffusion 1.5's batch, too many to leave in 16 bits."""

WEIGHTS_ONLY = ("text_encoder", "text_encoder_2", "vae")
"""The components beside the denoising network whose weights are in int8, and whose products are not unless that is
asked for: they run once per image. Without them the checkpoint would be 0.62 of the float16 one, not half; on ``icons``
they take 39.6 dB down to 39.3."""

BETWEEN_PRODUCTS = ("attn1.to_q.", "attn1.to_k.")
"""The layers whose results are rounded too, because a product of two results reads them: queries and keys of
self-attention. In int8 their product, a quarter of a step of Stable Diffusion 1.5's shapes, takes 7 % of a step less.
The attention to the text, whose keys come from a layer that stays as it is, is small."""


def stays(name: str, modules_to_not_convert: Collection[str] = ()) -> bool:
    """Whether the layer of the weight ``name`` stays as it is."""
    return any(part in name for part in (*SENSITIVE, *modules_to_not_convert))


def lies_between_products(name: str) -> bool:
    """Whether the result of the layer of the weight ``name`` is rounded as well."""
    return any(part in name for part in BETWEEN_PRODUCTS)
