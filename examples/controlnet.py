"""ControlNet: follow the edges of a picture. The weights here are random: use a trained ControlNet's folder instead.

Random weights show how to make each call and what ``controlnet_conditioning_scale`` does: they disturb the picture,
while a trained ControlNet would steer it.
"""

from pathlib import Path

import numpy as np

from mindone.diffusers import AutoPipelineForText2Image, ControlNetModel, StableDiffusionPipeline
from mindone.diffusers.jobs.pictures import edges
from mindone.diffusers.models.random_weights import write_random_network
from mindone.diffusers.utils import make_image_grid

pipe = StableDiffusionPipeline.from_pretrained("icons")
generator = np.random.Generator(np.random.PCG64(0))
rocket = pipe("a rocket on a blue background", num_inference_steps=8, generator=generator).images[0]

fields = ControlNetModel.Fields.__dataclass_fields__
config = {name: value for name, value in pipe.unet.config.items() if name in fields}
write_random_network(ControlNetModel, config, Path("random-controlnet"))

follow = AutoPipelineForText2Image.from_pipe(pipe, controlnet=ControlNetModel.from_pretrained("random-controlnet"))
images = [rocket, edges(rocket)]
for scale in (0.0, 0.1):
    generator = np.random.Generator(np.random.PCG64(0))
    images += follow(
        "a rocket on a yellow background",
        image=images[1],
        controlnet_conditioning_scale=scale,
        num_inference_steps=8,
        generator=generator,
    ).images
make_image_grid(images, rows=1, cols=4).save("controlnet.png")
