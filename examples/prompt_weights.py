"""Prompt weights: the same prompt and noise, with a word weighted 0, 1 and 2."""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline
from mindone.diffusers.prompts import encode_prompt
from mindone.diffusers.utils import make_image_grid

pipe = StableDiffusionPipeline.from_pretrained("icons")

images = []
for weight in (0, 1, 2):
    prompt = encode_prompt(pipe, f"a (red:{weight}) rocket on a blue background")
    generator = np.random.Generator(np.random.PCG64(0))
    images += pipe(**prompt, generator=generator).images
make_image_grid(images, rows=1, cols=3).save("prompt_weights.png")
