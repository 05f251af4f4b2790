"""Guidance in a part of the steps only: the steps outside it cost half (Kynkäänniemi et al. 2024)."""

import time

import numpy as np

from mindone.diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons")
pipe.set_progress_bar_config(disable=True)
for interval in [(0.0, 1.0), (0.0, 0.5)]:
    options = {"num_inference_steps": 20, "guidance_interval": interval}
    pipe("a rocket", **options)  # compiles
    start = time.perf_counter()
    image = pipe("a rocket", **options, generator=np.random.Generator(np.random.PCG64(0))).images[0]
    print(f"guided from {interval[0]:.0%} to {interval[1]:.0%} of the steps: {time.perf_counter() - start:.2f} s")
    image.save(f"guidance_until_{interval[1]:.0%}.png".replace("%", ""))
