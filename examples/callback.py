"""A callback after every step: it saves a preview halfway, and stops before the last steps."""

import numpy as np

from mindone.diffusers import AutoencoderTiny, StableDiffusionPipeline
from mindone.diffusers.pipelines.image_processor import VaeImageProcessor

pipe = StableDiffusionPipeline.from_pretrained("icons")
preview = AutoencoderTiny.from_pretrained("icons-tiny-vae")


def watch(pipe, step, timestep, tensors):
    if step == 5:
        pixels = preview.decode(tensors["latents"]).sample
        VaeImageProcessor().postprocess(pixels)[0].save("callback_preview.png")
    if step == 10:
        pipe._interrupt = True  # the loop ends here, and the current latents are decoded
    return tensors


generator = np.random.Generator(np.random.PCG64(0))
image = pipe(
    "a rocket on a blue background", num_inference_steps=12, generator=generator, callback_on_step_end=watch
).images[0]
image.save("callback.png")
