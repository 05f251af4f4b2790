"""Guidance in only a part of the steps: the other steps cost half (Kynkäänniemi et al. 2024)."""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons")
pipe.set_progress_bar_config(disable=True)
for interval in [(0.0, 1.0), (0.0, 0.5)]:
    generator = np.random.Generator(np.random.PCG64(0))
    image = pipe("a rocket", num_inference_steps=10, guidance_interval=interval, generator=generator).images[0]
    image.save(f"guidance_until_{interval[1]}.png")
