"""FLUX.1-schnell: a picture in four steps, and another one that goes on from it."""

import mindspore as ms
import numpy as np

from mindone.diffusers import AutoPipelineForImage2Image, FluxPipeline

pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-schnell", mindspore_dtype=ms.bfloat16)
pipe.enable_model_cpu_offload()  # T5 leaves memory before the transformer comes
options = {"num_inference_steps": 4, "max_sequence_length": 256, "generator": np.random.Generator(np.random.PCG64(0))}
image = pipe("a lighthouse at dusk, oil painting", **options).images[0]
image.save("lighthouse.png")

redraw = AutoPipelineForImage2Image.from_pipe(pipe)
image = redraw("a lighthouse in a storm, oil painting", image=image, strength=0.9, **options).images[0]
image.save("storm.png")
