"""Guidance computed at the first steps and forecast at the last ones, which cost half."""

import numpy as np

from mindone.diffusers import DPMSolverMultistepScheduler, GuidanceCacheConfig, StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons")
pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
pipe.scheduler.last_timestep = 40
pipe.set_progress_bar_config(disable=True)
pipe.unet.enable_cache(GuidanceCacheConfig(cache_interval=8, max_order=0, disable_cache_before_step=6))
image = pipe("a rocket", num_inference_steps=8, generator=np.random.Generator(np.random.PCG64(0))).images[0]
image.save("guidance_cache.png")
