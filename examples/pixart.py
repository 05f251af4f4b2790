"""PixArt-Σ: a wide picture; the text is encoded first, and the text encoder is freed before the transformer runs."""

import mindspore as ms
import numpy as np

from mindone.diffusers import PixArtSigmaPipeline

pipe = PixArtSigmaPipeline.from_pretrained("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", mindspore_dtype=ms.float16)
texts = pipe.encode_prompt("A small cactus with a happy face in the Sahara desert.")
pipe.text_encoder = None

names = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")
generator = np.random.Generator(np.random.PCG64(0))
image = pipe(**dict(zip(names, texts)), height=768, width=1280, num_inference_steps=20, generator=generator)[0][0]
image.save("cactus.png")
