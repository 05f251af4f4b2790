"""A distilled network and a tiny autoencoder: half the blocks, and a decoder that costs next to nothing."""

import numpy as np

from mindone.diffusers import AutoencoderTiny, StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons-distilled")
pipe.vae = AutoencoderTiny.from_pretrained("icons-tiny-vae")
generator = np.random.Generator(np.random.PCG64(0))
image = pipe("a panda on a yellow background", num_inference_steps=10, generator=generator).images[0]
image.save("distilled_model.png")
