"""Stable Diffusion 3.5 without T5: a picture, and another that starts from it."""

import mindspore as ms
import numpy as np

from mindone.diffusers import AutoPipelineForImage2Image, StableDiffusion3Pipeline

pipe = StableDiffusion3Pipeline.from_pretrained(
    "stabilityai/stable-diffusion-3.5-medium", mindspore_dtype=ms.bfloat16, text_encoder_3=None, tokenizer_3=None
)
generator = np.random.Generator(np.random.PCG64(0))
image = pipe(
    "a lighthouse at dusk, oil painting", negative_prompt="blurred", guidance_scale=4.5, generator=generator
).images[0]
image.save("lighthouse.png")

redraw = AutoPipelineForImage2Image.from_pipe(pipe)
image = redraw(
    "a lighthouse in a storm, oil painting", image=image, strength=0.6, num_inference_steps=28, generator=generator
).images[0]
image.save("storm.png")
