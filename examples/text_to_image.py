"""Text-to-image: four pictures of one prompt, each with its own seed, in one grid."""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline
from mindone.diffusers.utils import make_image_grid

pipe = StableDiffusionPipeline.from_pretrained("icons")
generators = [np.random.Generator(np.random.PCG64(seed)) for seed in range(4)]
images = pipe(
    "a rocket on a blue background", num_inference_steps=10, num_images_per_prompt=4, generator=generators
).images
make_image_grid(images, rows=2, cols=2).save("text_to_image.png")
