"""A picture as a prompt: with an IP-Adapter the network attends to it as well as to the text."""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline

generator = np.random.Generator(np.random.PCG64(0))
icons = StableDiffusionPipeline.from_pretrained("icons")
rocket = icons("a rocket on a blue background", num_inference_steps=10, generator=generator).images[0]

pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5", mindspore_dtype="float16")
pipe.load_ip_adapter("h94/IP-Adapter", subfolder="models", weight_name="ip-adapter_sd15.safetensors")
pipe.set_ip_adapter_scale(0.6)  # 1 follows the picture as closely as the adapter was trained to, 0 not at all
image = pipe("a toy on a beach", ip_adapter_image=rocket, num_inference_steps=25, generator=generator).images[0]
image.save("ip_adapter.png")
