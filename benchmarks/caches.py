"""What caches cost in likeness: pictures of the bundled model with each, against plain steps of the same cost.

    python benchmarks/caches.py [--prompts 12]

Prints for each set-up how often the UNet runs whole and how often only above the branch, what that costs in whole calls
at Stable Diffusion's shapes, and the PSNR in dB, the mean over the pictures, against the uncached 25 DPM++ steps and
against 100 of them; then the same of plain steps that cost as much. ``--prompts 64`` draws the whole contact sheet.
"""

import argparse
from collections.abc import Sequence
from functools import cache

import numpy as np

from mindone.diffusers import (
    DeepCacheConfig,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EasyCacheConfig,
    SpectrumConfig,
    TaylorSeerCacheConfig,
)
from mindone.diffusers.acceleration.caches import CacheConfig

SUBJECTS = (
    *("rocket", "cat face", "dog face", "red apple", "pizza", "hamburger", "octopus", "cactus", "sunflower", "snowman"),
    *("guitar", "bicycle", "teddy bear", "crown", "gem stone", "ghost", "alien", "robot", "panda", "frog", "penguin"),
    *("butterfly", "tropical fish", "mushroom", "strawberry", "banana", "watermelon", "birthday cake", "doughnut"),
    *("hot beverage", "wine glass", "house"),
)
COLOURS = ("black", "gray", "red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown")
PAIRS = (
    *("a cat and a rocket", "a dog face and a bone", "a pizza and a red apple", "a robot and an alien"),
    *("a crown and a gem stone", "a sunflower and a butterfly", "a ghost and a jack-o-lantern on a purple background"),
    "a penguin and a snowman on a teal background",
)
STEPS, CONVERGED = 25, 100
SHALLOW = 0.1
"""What a call above branch 0 costs, of a whole one, at Stable Diffusion 1.5's shapes (benchmarks/unet_step.py)."""

SETUPS: dict[str, Sequence[CacheConfig]] = {
    "DeepCache 2": [DeepCacheConfig(2)],
    "DeepCache 3": [DeepCacheConfig(3)],
    "DeepCache 5": [DeepCacheConfig(5)],
    "TaylorSeer 2, order 1": [TaylorSeerCacheConfig(2)],
    "TaylorSeer 2, order 2": [TaylorSeerCacheConfig(2, max_order=2)],
    "TaylorSeer 3, order 1": [TaylorSeerCacheConfig(3)],
    "Spectrum": [SpectrumConfig()],
    "EasyCache 0.02": [EasyCacheConfig(0.02)],
    "EasyCache 0.05": [EasyCacheConfig(0.05)],
    "DeepCache 3, TaylorSeer 2": [DeepCacheConfig(3), TaylorSeerCacheConfig(2)],
    "DeepCache 4, TaylorSeer 2": [DeepCacheConfig(4), TaylorSeerCacheConfig(2)],
}


def contact_sheet() -> list[str]:
    """The 64 prompts of ``docs/contact-sheet.png``."""
    named = [f"{'an' if subject[0] in 'aeiou' else 'a'} {subject}" for subject in SUBJECTS]
    coloured = [f"{name} on a {COLOURS[i % len(COLOURS)]} background" for i, name in enumerate(named[:24])]
    return [*named, *coloured, *PAIRS]


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


def decibels(images: np.ndarray, others: np.ndarray) -> float:
    """The PSNR of float images (images, height, width, channels) from 0 to 1: the mean over them, each 100 at most."""
    errors = ((images - others) ** 2).mean(axis=(1, 2, 3))
    return float(-10 * np.log10(np.maximum(errors, 1e-10)).mean())


def main() -> None:
    """Draw with every set-up and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=12, help="how many pictures of the contact sheet, up to 64")
    sheet = contact_sheet()
    count = parser.parse_args().prompts
    chosen = np.linspace(0, len(sheet) - 1, count).round().astype(int)
    pipe = DiffusionPipeline.from_pretrained("icons", mindspore_dtype="float32", engine="openvino")
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    counting = pipe.engine = Counting(pipe.engine, pipe.unet)

    def draw(steps, caches=()):
        pipe.caches, images = caches, []
        counting.calls = dict.fromkeys(counting.calls, 0)
        batches = np.array_split(chosen, -(-count // 16))  # a batch of all 64 would decide alike, and take the memory
        for batch in batches:
            generators = [np.random.Generator(np.random.PCG64(int(seed))) for seed in batch]
            prompts = [sheet[i] for i in batch]
            images.append(pipe(prompts, num_inference_steps=steps, generator=generators, output_type="np").images)
        return np.concatenate(images), {name: calls / len(batches) for name, calls in counting.calls.items()}

    uncached, converged = draw(STEPS)[0], draw(CONVERGED)[0]

    @cache
    def plain(steps: int) -> str:
        images = draw(steps)[0]
        return f"{steps:5} steps {decibels(images, uncached):8.2f} {decibels(images, converged):8.2f}"

    print(f"uncached, {STEPS} steps, against {CONVERGED}: {decibels(uncached, converged):.2f}")
    print(f"{'':28}{'whole':>7} {'shallow':>8} {'cost':>6} {f'of {STEPS}':>8} {f'of {CONVERGED}':>8}  plain, same cost")
    for name, caches in SETUPS.items():
        images, calls = draw(STEPS, caches)
        cost = calls["whole"] + SHALLOW * calls["shallow"]
        print(f"{name:28}{calls['whole']:7g} {calls['shallow']:8g} {cost:6.1f} ", end="")
        print(f"{decibels(images, uncached):8.2f} {decibels(images, converged):8.2f}  {plain(round(cost))}", flush=True)


if __name__ == "__main__":
    main()
