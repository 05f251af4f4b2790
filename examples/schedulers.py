"""Schedulers: the same noise and prompt with several of them, by their short names."""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline
from mindone.diffusers.schedulers import by_name
from mindone.diffusers.utils import make_image_grid

pipe = StableDiffusionPipeline.from_pretrained("icons")
config = pipe.scheduler.config
images = []
for short_name in ["ddim", "dpm++", "unipc", "euler"]:
    pipe.scheduler = by_name(short_name, config)
    generator = np.random.Generator(np.random.PCG64(0))
    images += pipe("a panda on a yellow background", num_inference_steps=10, generator=generator).images
make_image_grid(images, rows=1, cols=4).save("schedulers.png")
