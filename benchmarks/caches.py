"""What caches cost in likeness: pictures of the bundled model with each cache, against plain steps of the same cost.

    python benchmarks/caches.py --ends 50 25 --prompts 12     few steps: plain, ending there, and calibrated
    python benchmarks/caches.py [--prompts 12] [--only NAME …] [--icons training/data/icons.npy]

For each set-up it prints how often the UNet runs whole and how often only above the branch, the cost of that in whole
calls (from the time of each kind of call here), and the mean PSNR in dB over the pictures against 25 and 100 uncached
DPM++ steps; then the same for plain steps of equal cost. ``--prompts 64`` generates the whole contact sheet.
``--icons`` adds how often the right icon is the nearest of all training icons.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from functools import cache

from contact_sheet import BATCH, Icons, chosen, decibels, sheet
from mindone.diffusers import (
    DeepCacheConfig,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EasyCacheConfig,
    GuidanceCacheConfig,
    SpectrumConfig,
    TaylorSeerCacheConfig,
)
from mindone.diffusers.acceleration.speedup import Cache

STEPS, CONVERGED = 25, 100

SETUPS: dict[str, Sequence[Cache]] = {
    "DeepCache 2": [DeepCacheConfig(2)],
    "DeepCache 3": [DeepCacheConfig(3)],
    "DeepCache 3, order 1": [DeepCacheConfig(3, max_order=1)],
    "DeepCache 5": [DeepCacheConfig(5)],
    "TaylorSeer 2, order 1": [TaylorSeerCacheConfig(2)],
    "TaylorSeer 2, order 2": [TaylorSeerCacheConfig(2, max_order=2)],
    "TaylorSeer 3, order 1": [TaylorSeerCacheConfig(3)],
    "Spectrum": [SpectrumConfig()],
    "guidance 2, order 1": [GuidanceCacheConfig(2)],
    "guidance 3, order 2": [GuidanceCacheConfig(3, max_order=2, disable_cache_before_step=3)],
    "EasyCache 0.02": [EasyCacheConfig(0.02)],
    "EasyCache 0.05": [EasyCacheConfig(0.05)],
    "DeepCache 3, TaylorSeer 2": [DeepCacheConfig(3), TaylorSeerCacheConfig(2)],
    "the same, both forecast": [DeepCacheConfig(3, max_order=1), TaylorSeerCacheConfig(2, max_order=2)],
}


class Counting:
    """An engine that notes how long each call of the UNet takes, by whether it is whole."""

    def __init__(self, engine, unet):
        self.engine, self.unet = engine, unet
        self.seconds = {"whole": [], "shallow": []}

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def run(self, network, *inputs, **options):
        began = time.perf_counter()
        output = self.engine.run(network, *inputs, **options)
        if network is self.unet:
            kind = "shallow" if options.get("values") else "whole"
            self.seconds[kind].append(time.perf_counter() - began)
        return output


def main() -> None:
    """Draw with every set-up and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=12, help="how many pictures of the contact sheet, up to 64")
    parser.add_argument("--only", nargs="+", default=list(SETUPS), choices=list(SETUPS), metavar="NAME")
    parser.add_argument("--icons", help="what the model was trained on, as training/data.py writes it")
    parser.add_argument("--shallow-cost", type=float, help="of a whole call; as measured here where it is not given")
    parser.add_argument("--ends", type=int, nargs="+", help="no caches, but few steps, the last here")
    arguments = parser.parse_args()
    numbers = chosen(arguments.prompts)
    icons = Icons(arguments.icons, numbers) if arguments.icons else None
    pipe = DiffusionPipeline.from_pretrained("icons", mindspore_dtype="float32", engine="openvino")
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    counting = pipe.engine = Counting(pipe.engine, pipe.unet)

    def draw(steps, caches=()):
        pipe.caches = caches
        counting.seconds = {kind: [] for kind in counting.seconds}
        return sheet(pipe, numbers, steps)

    uncached, converged = draw(STEPS), draw(CONVERGED)

    def described(images):
        nearest = "" if icons is None else f" {icons.hits(images):7.1%}"
        return f"{decibels(images, uncached):8.2f} {decibels(images, converged):8.2f}{nearest}"

    @cache
    def plain(steps):
        return f"{steps:5} steps {described(draw(steps))}"

    if arguments.ends:
        for steps in (5, 6, 8, 10, 15):
            figures = [f"{decibels(draw(steps), converged):.2f}"]
            for pipe.scheduler.last_timestep in arguments.ends:
                figures.append(f"the last at {pipe.scheduler.last_timestep}: {decibels(draw(steps), converged):.2f}")
            pipe.scheduler.last_timestep = None
            plain, pipe.scheduler = pipe.scheduler, pipe.calibrated_scheduler(steps, seed=10**6)
            figures.append(f"calibrated: {decibels(draw(steps), converged):.2f}")
            pipe.scheduler = plain
            print(f"{steps} steps, dB of {CONVERGED}: {', '.join(figures)}", flush=True)
        return
    print(f"uncached, {STEPS} steps, of {STEPS} and of {CONVERGED}: {described(uncached)}")
    columns = f"{f'of {STEPS}':>8} {f'of {CONVERGED}':>8}" + ("" if icons is None else " nearest")
    print(f"{'':28}{'whole':>7} {'shallow':>8} {'cost':>6} {columns}  plain, same cost")
    for name in arguments.only:
        images = draw(STEPS, SETUPS[name])
        whole, shallow = counting.seconds["whole"], counting.seconds["shallow"]
        batches = -(-len(numbers) // BATCH)
        ratio = arguments.shallow_cost
        if ratio is None:
            ratio = statistics.median(shallow) / statistics.median(whole) if shallow else 0.0
        cost = (len(whole) + ratio * len(shallow)) / batches
        print(f"{name:28}{len(whole) / batches:7g} {len(shallow) / batches:8g} {cost:6.1f} ", end="")
        print(f"{described(images)}  {plain(round(cost))}", flush=True)


if __name__ == "__main__":
    main()
