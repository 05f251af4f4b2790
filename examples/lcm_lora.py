"""Four steps without guidance: a LoRA that teaches the network to generate in few steps."""

import numpy as np

from mindone.diffusers import LCMScheduler, StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons")
pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
pipe.load_lora_weights("icons-lcm-lora")
generator = np.random.Generator(np.random.PCG64(0))
image = pipe("a panda on a yellow background", num_inference_steps=4, guidance_scale=1, generator=generator).images[0]
image.save("lcm_lora.png")
