"""Memory: image by image, tile by tile, few compiled graphs at a time, and everything freed at the end."""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons", mindspore_dtype="float16")
pipe.enable_vae_slicing()  # a batch is decoded one image at a time
pipe.enable_vae_tiling()  # an image above 512 pixels is decoded in tiles
pipe.set_compiled_limit(1)  # one size per network: another size replaces it

for width in (128, 256):
    generators = [np.random.Generator(np.random.PCG64(seed)) for seed in range(2)]
    images = pipe(
        "a rocket on a blue background",
        width=width,
        num_inference_steps=4,
        num_images_per_prompt=2,
        generator=generators,
    ).images
    images[0].save(f"memory_{width}.png")

pipe.release()  # drops all compiled graphs; a later call compiles again
