"""int8 against half precision: the change to the pictures of ``icons``, what runs in int8, and the time of a step.

    python benchmarks/int8.py [--model PATH_OR_ID] [--prompts 12] [--icons training/data/icons.npy] [--keep NAME …]

Prints the peak signal-to-noise ratio against float32 (same noise, 25 DPM++ steps, prompts of the contact sheet) for
half precision and for int8 with the rest in half precision; with ``--icons`` how often the right icon is the nearest of
all training icons; the UNet's executed precisions by layer type; and the ratio of the two steps, which take turns. A
``--model`` other than ``icons``, such as a checkpoint in Stable Diffusion's shapes, gives only the last two.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np

from contact_sheet import Icons, chosen, decibels, sheet
from mindone.diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, Int8Config

STEPS = 25


def load(model: str, dtype: str, config: Int8Config | None = None) -> Any:
    """A pipeline on OpenVINO with DPM++."""
    pipe = DiffusionPipeline.from_pretrained(
        model, mindspore_dtype=dtype, engine="openvino", quantization_config=config
    )
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def likeness(images: np.ndarray, reference: np.ndarray) -> str:
    """The mean over images, and the worst."""
    worst = min(decibels(image[None], other[None]) for image, other in zip(images, reference))
    return f"{decibels(images, reference):.1f} dB (worst {worst:.1f})"


def step(pipe: Any) -> float:
    """Seconds of one guided call of the UNet."""
    c, rng = pipe.unet.config, np.random.Generator(np.random.PCG64(0))
    side = c["sample_size"]
    sample = rng.standard_normal((1, c["in_channels"], side, side)).astype(np.float32)
    text = rng.standard_normal((2, 77, c["cross_attention_dim"])).astype(np.float32)
    start = time.perf_counter()
    pipe.engine.run(pipe.unet, sample, np.full(1, 500, np.float32), encoder_hidden_states=text)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="icons")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=12, help="how many pictures of the contact sheet, up to 64")
    parser.add_argument("--icons", help="what the model was trained on, as training/data.py writes it")
    parser.add_argument(
        "--keep", nargs="+", default=(), help="leave layers with these parts in their names as they are"
    )
    arguments = parser.parse_args()

    half = load(arguments.model, "float16")
    start = time.perf_counter()
    int8 = load(arguments.model, "float16", Int8Config(modules_to_not_convert=tuple(arguments.keep)))
    print(f"loaded and quantised in {time.perf_counter() - start:.0f} s")
    if arguments.model == "icons":
        numbers = chosen(arguments.prompts)
        icons = Icons(arguments.icons, numbers) if arguments.icons else None
        reference = sheet(load("icons", "float32"), numbers, STEPS)
        if icons is not None:
            print(f"float32: right icon nearest {icons.hits(reference):.1%}")
        for name, pipe in (("half precision", half), ("int8", int8)):
            images = sheet(pipe, numbers, STEPS)
            nearest = "" if icons is None else f", right icon nearest {icons.hits(images):.1%}"
            print(f"{name} against float32: {likeness(images, reference)}{nearest}", flush=True)
            pipe.unet.graphs.clear()

    step(half), step(int8)
    ratio = [step(int8) / step(half) for _ in range(arguments.rounds)]
    (key,) = int8.unet.graphs
    executed = int8.unet.graphs.get(key, lambda: None).executed()
    for (kind, precision), count in sorted(executed.items()):
        if kind in ("Convolution", "FullyConnected", "MatMul", "ScaledDotProductAttention"):
            print(f"{kind:28}{precision:8}{count:5}")
    print(f"step, int8 / half precision: {statistics.median(ratio):.3f} (bar ≤ 0.68 in Stable Diffusion 1.5's shapes)")


if __name__ == "__main__":
    main()
