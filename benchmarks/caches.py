"""What caches cost in likeness: pictures of the bundled model with each, against plain steps of the same cost.

python benchmarks/caches.py --prompts 12

Prints for each set-up how often the UNet runs whole and how often only above the branch, and the PSNR in dB of all
pictures together against the uncached 25 DPM++ steps and against 100 of them.
"""

import argparse
import math
from collections.abc import Sequence

import numpy as np

from mindone.diffusers import (
    DeepCacheConfig,
    DiffusionPipeline,
    EasyCacheConfig,
    SpectrumConfig,
    TaylorSeerCacheConfig,
)
from mindone.diffusers.acceleration.caches import CacheConfig
from mindone.diffusers.schedulers.short_names import by_name
from mindone.diffusers.utils.quality import compare

SUBJECTS = ("a rocket", "a cat", "a red apple", "a house", "a tree", "a guitar", "a bicycle", "a fish", "a crown")
COLOURS = ("blue", "white", "green", "yellow", "purple", "pink", "orange", "gray")
STEPS = 25
SETUPS: dict[str, Sequence[CacheConfig]] = {
    "DeepCache 2": [DeepCacheConfig(2)],
    "DeepCache 3": [DeepCacheConfig(3)],
    "DeepCache 5": [DeepCacheConfig(5)],
    "TaylorSeer 2, order 1": [TaylorSeerCacheConfig(2)],
    "TaylorSeer 2, order 2": [TaylorSeerCacheConfig(2, max_order=2)],
    "Spectrum": [SpectrumConfig()],
    "EasyCache 0.2": [EasyCacheConfig()],
    "EasyCache 0.05": [EasyCacheConfig(0.05)],
    "DeepCache 2, TaylorSeer 2": [DeepCacheConfig(2), TaylorSeerCacheConfig(2)],
}


class Counting:
    """An engine that counts the calls of the UNet by the method that is called."""

    def __init__(self, engine, unet):
        self.engine, self.unet, self.calls = engine, unet, {"whole": 0, "shallow": 0}

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def run(self, network, *inputs, **options):
        if network is self.unet:
            self.calls["shallow" if options.get("method") == "shallow" else "whole"] += 1
        return self.engine.run(network, *inputs, **options)


def main() -> None:
    """Draw with every set-up and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=12, help="how many pictures per set-up")
    count = parser.parse_args().prompts
    pairs = [(subject, colour) for colour in COLOURS for subject in SUBJECTS]
    prompts = [f"{subject} on a {colour} background" for subject, colour in pairs[:count]]
    pipe = DiffusionPipeline.from_pretrained("icons", mindspore_dtype="float32", engine="openvino")
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = by_name("dpm++", pipe.scheduler.config)
    counting = pipe.engine = Counting(pipe.engine, pipe.unet)

    def draw(steps, caches=()):
        pipe.caches, counting.calls = caches, {"whole": 0, "shallow": 0}
        generators = [np.random.Generator(np.random.PCG64(seed)) for seed in range(count)]
        images = pipe(prompts, num_inference_steps=steps, generator=generators, output_type="np").images
        return np.round(images * 255).astype(np.uint8), dict(counting.calls)

    uncached, converged = draw(STEPS)[0], draw(100)[0]
    print(f"{'':28}  whole  shallow  against {STEPS}  against 100")
    for name, (steps, caches) in {
        **{f"plain, {steps} steps": (steps, ()) for steps in (STEPS, 15, 14, 12, 11, 10)},
        **{name: (STEPS, caches) for name, caches in SETUPS.items()},
    }.items():
        images, calls = draw(steps, caches)
        near, far = (compare(images, other).psnr or math.inf for other in (uncached, converged))
        print(f"{name:28} {calls['whole']:6} {calls['shallow']:8} {near:11.2f} {far:12.2f}", flush=True)


if __name__ == "__main__":
    main()
