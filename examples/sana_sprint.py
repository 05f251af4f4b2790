"""SANA-Sprint: a 1024×1024 picture in two steps, and another that starts from it."""

import mindspore as ms
import numpy as np

from mindone.diffusers import AutoPipelineForImage2Image, SanaSprintPipeline

pipe = SanaSprintPipeline.from_pretrained(
    "Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers", mindspore_dtype=ms.bfloat16
)
generator = np.random.Generator(np.random.PCG64(0))
image = pipe("a tiny astronaut hatching from an egg on the moon", num_inference_steps=2, generator=generator)[0][0]
image.save("astronaut.png")

redraw = AutoPipelineForImage2Image.from_pipe(pipe)
image = redraw("a penguin hatching from an egg on the moon", image=image, strength=0.5, generator=generator)[0][0]
image.save("penguin.png")
