"""Image-to-image: a picture plus noise in proportion to ``strength``, and another prompt."""

import numpy as np

from mindone.diffusers import AutoPipelineForImage2Image, StableDiffusionPipeline
from mindone.diffusers.utils import make_image_grid

pipe = StableDiffusionPipeline.from_pretrained("icons")
generator = np.random.Generator(np.random.PCG64(0))
rocket = pipe("a rocket on a blue background", generator=generator).images[0]

redraw = AutoPipelineForImage2Image.from_pipe(pipe)  # the same networks: nothing is loaded or compiled twice
images = [rocket]
for strength in (0.3, 0.6, 1.0):
    generator = np.random.Generator(np.random.PCG64(1))
    images += redraw(
        "a rocket on a yellow background",
        image=rocket,
        strength=strength,
        generator=generator,
    ).images
make_image_grid(images, rows=1, cols=4).save("image_to_image.png")
