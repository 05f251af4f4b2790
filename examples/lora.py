"""LoRA: apples gradually become lemons. This update is computed instead of trained, and used like any other.

Cross-attention reads the text through matrices ``W``. The linear map ``edit`` is the least-squares fit that turns the
text encoder's output for apples into that for lemons and keeps other texts; the LoRA adds ``W · edit``.
"""

import numpy as np
from safetensors.numpy import save_file

from mindone.diffusers import StableDiffusionPipeline
from mindone.diffusers.utils import make_image_grid

RANK = 8
pipe = StableDiffusionPipeline.from_pretrained("icons")


def said(*prompts):
    """The text encoder's output for them, a row per token."""
    embeds, _ = pipe.encode_prompt(list(prompts), do_classifier_free_guidance=False)
    rows = pipe.engine.numpy(embeds)
    return rows.reshape(-1, rows.shape[-1]).astype(np.float64)


apples = said("red apple", "a red apple", "a red apple on a blue background")
lemons = said("lemon", "a lemon", "a lemon on a blue background")
others = said("", "a rocket", "a house on a blue background")
spread = apples.T @ apples + others.T @ others
spread += 1e-3 * spread.trace() / len(spread) * np.eye(len(spread))
edit = np.linalg.solve(spread, apples.T @ (lemons - apples)).T
u, s, v = np.linalg.svd(edit)

lora = {}
for name in pipe.unet.published_parameters():
    if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
        layer = f"unet.{name.removesuffix('.weight')}"
        lora[f"{layer}.lora_A.weight"] = v[:RANK].astype(np.float32)
        lora[f"{layer}.lora_B.weight"] = (pipe.unet.array(name) @ (u * s)[:, :RANK]).astype(np.float32)
save_file(lora, "apple-to-lemon.safetensors")

pipe.load_lora_weights("apple-to-lemon.safetensors", adapter_name="lemon")
images = []
for weight in (0.0, 0.5, 1.0):
    pipe.set_adapters("lemon", weight)  # nothing is compiled again
    generator = np.random.Generator(np.random.PCG64(0))
    images += pipe("a red apple on a blue background", generator=generator).images
make_image_grid(images, rows=1, cols=3).save("lora.png")
