"""Threads share one pipeline: each call has its own seed, prompt and size, and gets the same image as alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mindone.diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons")
pipe.set_progress_bar_config(disable=True)


def draw(prompt):
    generator = np.random.Generator(np.random.PCG64(0))
    return pipe(prompt, num_inference_steps=10, generator=generator).images[0]


with ThreadPoolExecutor(2) as threads:
    prompts = ["a rocket", "a panda on a yellow background"]
    for number, image in enumerate(threads.map(draw, prompts)):
        image.save(f"threads_{number}.png")
