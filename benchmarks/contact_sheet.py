"""The pictures of quality benchmarks with ``icons``: docs/contact-sheet.png, and the likeness of two of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
BACKGROUNDS = {
    **{"white": (255, 255, 255), "black": (0, 0, 0), "gray": (128, 128, 128), "red": (220, 30, 40)},
    **{"orange": (255, 140, 0), "yellow": (255, 225, 50), "green": (40, 160, 60), "teal": (0, 150, 150)},
    **{"blue": (40, 90, 220), "purple": (130, 50, 180), "pink": (255, 150, 200), "brown": (125, 75, 40)},
}
"""What the model was taught to call a colour (training/data.py)."""

BATCH = 16
"""Pictures per call: a batch of all 64 would draw alike, and take the memory."""

COARSE = 32
"""Pixels a side at which pictures are compared with all icons."""


def prompts() -> list[str]:
    """All 64: icons on white, on other colours, and pairs."""
    named = [f"{'an' if subject[0] in 'aeiou' else 'a'} {subject}" for subject in SUBJECTS]
    coloured = [f"{name} on a {COLOURS[i % len(COLOURS)]} background" for i, name in enumerate(named[:24])]
    return [*named, *coloured, *PAIRS]


def chosen(count: int) -> list[int]:
    """The numbers of this many prompts, spread from the first to the last."""
    return [int(i) for i in np.linspace(0, len(prompts()) - 1, count).round()]


def sheet(pipe: Any, numbers: Sequence[int], steps: int) -> np.ndarray:
    """Float images (prompts, height, width, 3) from 0 to 1 of the prompts with these numbers, which are the seeds."""
    everything, images = prompts(), []
    for batch in np.array_split(np.array(numbers), -(-len(numbers) // BATCH)):
        generators = [np.random.Generator(np.random.PCG64(int(seed))) for seed in batch]
        named = [everything[i] for i in batch]
        images.append(pipe(named, num_inference_steps=steps, generator=generators, output_type="np").images)
    return np.concatenate(images)


def decibels(images: np.ndarray, others: np.ndarray) -> float:
    """The PSNR of float images (images, height, width, channels) from 0 to 1: the mean over them, each 100 at most."""
    errors = ((images - others) ** 2).mean(axis=(1, 2, 3))
    return float(-10 * np.log10(np.maximum(errors, 1e-10)).mean())


class Icons:
    """All icons that the model was trained on, each over the colour of a prompt; pairs have no icon of their own.

    Args:
        path: ``icons.npy`` as ``training/data.py`` writes it: uint8 (icons, 4, 256, 256), colours premultiplied.
        numbers: which prompts are drawn.
    """

    def __init__(self, path: str, numbers: Sequence[int]):
        rgba = np.load(path, mmap_mode="r")
        labels = json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))["labels"]
        side = rgba.shape[-1] // COARSE
        small = [icon.reshape(4, COARSE, side, COARSE, side).mean(axis=(2, 4)) / 255 for icon in rgba]
        self.coarse = np.stack(small).transpose(0, 2, 3, 1)
        self.wanted: list[tuple[int, int, str]] = []
        for i, number in enumerate(numbers):
            if number < len(SUBJECTS) + 24:
                subject = SUBJECTS[number % len(SUBJECTS)]
                colour = "white" if number < len(SUBJECTS) else COLOURS[(number - len(SUBJECTS)) % len(COLOURS)]
                self.wanted.append((i, labels.index(subject), colour))

    def hits(self, images: np.ndarray) -> float:
        """The part of the pictures, from 0 to 1, to which the right icon is nearer than all others."""
        found = 0
        for i, icon, colour in self.wanted:
            size = images.shape[1] // COARSE
            picture = images[i].reshape(COARSE, size, COARSE, size, 3).mean(axis=(1, 3))
            background = np.array(BACKGROUNDS[colour]) / 255
            candidates = self.coarse[..., :3] + (1 - self.coarse[..., 3:]) * background
            found += int(((candidates - picture) ** 2).sum(axis=(1, 2, 3)).argmin()) == icon
        return found / len(self.wanted)
