"""One checkpoint, several tasks: pipelines that share networks and their compiled graphs."""

import numpy as np
from PIL import Image

from mindone.diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image

text_to_image = AutoPipelineForText2Image.from_pretrained("icons")
image_to_image = AutoPipelineForImage2Image.from_pipe(text_to_image)
inpainting = AutoPipelineForInpainting.from_pipe(text_to_image)
assert inpainting.unet is image_to_image.unet is text_to_image.unet

options = {"num_inference_steps": 20, "generator": np.random.Generator(np.random.PCG64(0))}
picture = text_to_image("a panda on a yellow background", **options).images[0]
picture = image_to_image("a panda on a blue background", image=picture, strength=0.8, **options).images[0]
mask = Image.new("L", picture.size, "white")
picture = inpainting("a lion on a blue background", image=picture, mask_image=mask, strength=0.85, **options).images[0]
picture.save("from_pipe.png")
