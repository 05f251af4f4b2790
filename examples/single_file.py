"""One file in the original layout: write a folder as one, and generate from it."""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline
from mindone.diffusers.families.convert import folder_to_file

StableDiffusionPipeline.from_pretrained("icons").save_pretrained("icons-folder")
folder_to_file("icons-folder", "icons.safetensors")

# The file holds no tokenizer. Published files need none, since all use CLIP's vocabulary; icons has its own.
of_file = StableDiffusionPipeline.from_single_file("icons.safetensors", config="icons-folder")
of_folder = StableDiffusionPipeline.from_pretrained("icons-folder")
images = [
    each("a rocket", num_inference_steps=8, generator=np.random.Generator(np.random.PCG64(0))).images[0]
    for each in (of_file, of_folder)
]
assert images[0].tobytes() == images[1].tobytes()
images[0].save("single_file.png")
