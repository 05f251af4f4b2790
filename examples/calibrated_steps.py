"""Six steps with weights fitted to the model, compared with six steps of DPM-Solver++."""

import numpy as np

from mindone.diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
from mindone.diffusers.utils import make_image_grid

pipe = DiffusionPipeline.from_pretrained("icons", mindspore_dtype="float16")
pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
prompt = "a rocket on a blue background"


def draw(steps):
    return pipe(prompt, num_inference_steps=steps, generator=np.random.default_rng(0)).images[0]


many, few = draw(50), draw(6)
pipe.scheduler = pipe.calibrated_scheduler(num_inference_steps=6, reference_steps=50)
make_image_grid([many, few, draw(6)], rows=1, cols=3).save("calibrated_steps.png")
