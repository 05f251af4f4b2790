"""Engines: the same seed gives the same picture on each."""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons", engine="openvino")
pictures = {}
for engine in ("openvino", "mindspore"):
    pipe.engine = engine
    generator = np.random.Generator(np.random.PCG64(0))
    image = pipe("a rocket on a blue background", num_inference_steps=2, generator=generator).images[0]
    image.save(f"engines_{engine}.png")
    pictures[engine] = np.asarray(image, np.float32)

difference = np.abs(pictures["openvino"] - pictures["mindspore"]).max()
print(f"no value differs by more than {difference:.0f} of 255")
