"""Half precision: half the memory for weights, and the device's fastest 16-bit arithmetic."""

import mindspore as ms
import numpy as np

from mindone.diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons", mindspore_dtype=ms.float16)
generator = np.random.Generator(np.random.PCG64(0))
image = pipe("a rocket on a blue background", num_inference_steps=10, generator=generator).images[0]
image.save("half_precision.png")
