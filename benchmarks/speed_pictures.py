"""The picture rows of docs/speed.md: five icons with each lossy speed-up, from the same noise.

    python benchmarks/speed_pictures.py [FOLDER]

Writes ``speed-NAME.png`` for each into FOLDER (``docs``), and prints the PSNR in dB against the first, which has no
speed-up.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mindone.diffusers import (
    DeepCacheConfig,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EasyCacheConfig,
    Int8Config,
    SpectrumConfig,
    TaylorSeerCacheConfig,
)
from mindone.diffusers.acceleration.speedup import Cache

PROMPTS = ("a rocket", "a red apple", "a cat face on a pink background", "a snowman", "a guitar on a teal background")
STEPS, SIDE = 25, 144


@dataclass(frozen=True)
class Row:
    """What is switched on."""

    caches: Sequence[Cache] = ()
    interval: tuple[float, float] = (0.0, 1.0)
    token_downsampling: int | None = None
    int8: bool = False


ROWS = {
    "none": Row(),
    "deepcache": Row([DeepCacheConfig(3)]),
    "taylorseer": Row([TaylorSeerCacheConfig(2, max_order=2)]),
    "spectrum": Row([SpectrumConfig()]),
    "easycache": Row([EasyCacheConfig(0.05)]),
    "guidance-interval": Row(interval=(0.0, 0.5)),
    "token-downsampling": Row(token_downsampling=2),
    "int8": Row(int8=True),
}


def draw(row: Row) -> np.ndarray:
    """Float images (prompts, height, width, 3) from 0 to 1."""
    quantization = Int8Config() if row.int8 else None
    pipe = DiffusionPipeline.from_pretrained(
        "icons", mindspore_dtype="float16", engine="openvino", quantization_config=quantization
    )
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    pipe.caches = row.caches
    if row.token_downsampling:
        pipe.unet.enable_token_downsampling(row.token_downsampling)
    generator = [np.random.Generator(np.random.PCG64(seed)) for seed in range(len(PROMPTS))]
    options = {"num_inference_steps": STEPS, "guidance_interval": row.interval, "output_type": "np"}
    return pipe(list(PROMPTS), generator=generator, **options).images


def main() -> None:
    """Draw all rows."""
    folder, first = Path(sys.argv[1] if len(sys.argv) > 1 else "docs"), None
    for name, row in ROWS.items():
        images = draw(row)
        first = images if first is None else first
        errors = np.maximum(((images - first) ** 2).mean(axis=(1, 2, 3)), 1e-10)
        print(f"{name:20} {-10 * np.log10(errors).mean():6.1f} dB", flush=True)
        strip = Image.fromarray(np.concatenate(np.round(images * 255).astype(np.uint8), axis=1))
        small = strip.resize((SIDE * len(images), SIDE), Image.Resampling.BOX).quantize(256)
        small.save(folder / f"speed-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
