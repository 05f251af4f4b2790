"""Inpainting: the white part of a mask is repainted, the black part stays."""

import numpy as np
from PIL import Image

from mindone.diffusers import AutoPipelineForInpainting, StableDiffusionPipeline
from mindone.diffusers.utils import make_image_grid

pipe = StableDiffusionPipeline.from_pretrained("icons")
generator = np.random.Generator(np.random.PCG64(0))
picture = pipe("a panda", generator=generator).images[0]

mask = Image.new("L", picture.size, "black")
mask.paste("white", (picture.width // 2, 0, picture.width, picture.height))
inpaint = AutoPipelineForInpainting.from_pipe(pipe)  # the same networks: nothing is loaded or compiled twice
generator = np.random.Generator(np.random.PCG64(1))
image = inpaint("a lion", image=picture, mask_image=mask, generator=generator).images[0]

# A lower strength lets the old content show through: here blurred colours from around the mask, not the panda.
generator = np.random.Generator(np.random.PCG64(1))
options = {"image": picture, "mask_image": mask, "strength": 0.8, "mask_fill": "blur"}
filled = inpaint("a lion", **options, generator=generator).images[0]
make_image_grid([picture, mask.convert("RGB"), image, filled], rows=1, cols=4).save("inpainting.png")
