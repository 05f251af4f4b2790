"""Image to image: a picture with noise added as far as ``strength`` says, and another prompt."""

import numpy as np

from mindone.diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons")
generator = np.random.Generator(np.random.PCG64(0))
rocket = pipe("a rocket on a blue background", num_inference_steps=10, generator=generator).images[0]

redraw = StableDiffusionImg2ImgPipeline(**pipe.components)  # the same networks: nothing is loaded twice
image = redraw(
    "a rocket on a yellow background", image=rocket, strength=0.8, num_inference_steps=10, generator=generator
).images[0]
image.save("image_to_image.png")
