"""The time of each speed-up on this machine, and an image with the profile for a target.

Fifteen seconds are enough to measure costs. With ``quality=True`` (the default) and a few minutes the search also
generates images, and each row has their PSNR against the reference.
"""

import numpy as np

from mindone.diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("icons", mindspore_dtype="float16")
front = pipe.tune(budget_seconds=15, quality=False)
for factor, row in front.marks().items():
    print(f"{factor:g}×: {row.seconds:.3f} s, {row.quality}, {row.settings.words}")
fastest = max(front.marks(), default=1.0)
pipe.apply_profile(front.at(speed_up=fastest))
pipe("a rocket", generator=np.random.Generator(np.random.PCG64(0))).images[0].save("tuned.png")
