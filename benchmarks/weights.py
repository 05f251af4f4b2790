"""Weights in 4 and 8 bits: what they do to the pictures of ``icons``, and what rounding them costs.

    python benchmarks/weights.py [--prompts 64] [--icons training/data/icons.npy] [--only denoiser-int4 …]
    python benchmarks/weights.py --shape sd35-medium-without-t5 [--folder FOLDER] [--weights int4]

Without ``--shape``: the peak signal-to-noise ratio against float32 (same noise, 25 DPM++ steps, prompts of the contact
sheet, all in float32 but the weights) of the denoiser, and of the text encoder, in 4 bits with and without zero points
and in 8 bits; with ``--icons`` how often the right icon is the nearest of all that the model was trained on. Icons
can also be compared with what float32 draws: "its own picture nearest" counts the pictures that are nearer to
float32's of the same prompt than to those of the other prompts.

With ``--shape``: the seconds and the peak memory of ``mindone-diffusers quantize`` on a checkpoint with random weights
in that shape, in a process of its own, and the bytes that it writes. ``--folder`` keeps the checkpoint.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from contact_sheet import COARSE, Icons, chosen, decibels, sheet
from mindone.diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, WeightOnlyConfig
from mindone.diffusers.acceleration.weights import quantize_weights
from mindone.diffusers.bench import shapes

STEPS = 25
BARS = {"int4": 25, "int8": 40}
"""Decibels of the denoiser."""
CANDIDATES = {
    f"{component}-{kind}{'-symmetric' if symmetric else ''}": WeightOnlyConfig(
        kind, symmetric=symmetric, components_to_quantize=(component,)
    )
    for component in ("denoiser", "text_encoder")
    for kind, symmetric in (("int4", False), ("int4", True), ("int8", False))
}


def load() -> Any:
    """icons on OpenVINO with DPM++."""
    pipe = DiffusionPipeline.from_pretrained("icons", engine="openvino")
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def own_nearest(images: np.ndarray, reference: np.ndarray) -> float:
    """The part of the pictures to which, of all of the reference's, that of the same prompt is nearest."""
    size = images.shape[1] // COARSE
    small, others = (
        each.reshape(len(each), COARSE, size, COARSE, size, 3).mean(axis=(2, 4)) for each in (images, reference)
    )
    distances = ((small[:, None] - others[None]) ** 2).sum(axis=(2, 3, 4))
    return float((distances.argmin(axis=1) == np.arange(len(images))).mean())


def quality(prompts: int, icons_path: str | None, names: Sequence[str], **changes: Any) -> None:
    """Draw with each candidate, and say how far its pictures are from float32's."""
    numbers = chosen(prompts)
    icons = Icons(icons_path, numbers) if icons_path else None
    reference = sheet(load(), numbers, STEPS)
    if icons is not None:
        print(f"float32: right icon nearest {icons.hits(reference):.1%}", flush=True)
    for name in names:
        pipe = load()
        (summary,) = quantize_weights(pipe, replace(CANDIDATES[name], **changes))
        images = sheet(pipe, numbers, STEPS)
        worst = min(decibels(image[None], other[None]) for image, other in zip(images, reference))
        nearest = f"its own picture nearest {own_nearest(images, reference):.1%}"
        if icons is not None:
            nearest += f", right icon nearest {icons.hits(images):.1%}"
        component, _, kind = name.partition("-")
        bar = f" (bar ≥ {BARS[kind]})" if component == "denoiser" and kind in BARS else ""
        print(f"{name}: {decibels(images, reference):.1f} dB{bar}, worst {worst:.1f}; {nearest}")
        print(f"    {summary.words}", flush=True)


def cost(shape: str, kind: str, size: int, folder: Path) -> None:
    """Quantise a checkpoint in the shape, and say what that took."""
    source = folder / shape
    if not source.exists():
        shapes.SHAPES[shape].write(shape, folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        target = Path(scratch) / "quantised"
        command = ["quantize", "--model", source, "-o", target, "--weights", kind, "--group-size", size]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "mindone.diffusers", *map(str, command)], check=True)
        seconds = time.perf_counter() - start
        written = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{shape} to {kind}: {seconds:.0f} s, of the processor {usage.ru_utime + usage.ru_stime:.0f} s; "
        f"{usage.ru_maxrss * 1024 / 1e9:.2f} GB at most; {written / 1e9:.2f} GB written"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=64, help="how many pictures of the contact sheet, up to 64")
    parser.add_argument("--icons", help="what the model was trained on, as training/data.py writes it")
    parser.add_argument("--group-size", type=int, default=64)
    parser.add_argument("--keep", nargs="+", default=(), help="leave layers with these parts in their names")
    parser.add_argument("--only", choices=list(CANDIDATES), nargs="+", help="leave the others out")
    parser.add_argument("--shape", choices=sorted(shapes.SHAPES), help="measure what rounding costs in this shape")
    parser.add_argument("--weights", choices=sorted(BARS), default="int4", help="with --shape")
    parser.add_argument("--folder", type=Path, help="where to keep the checkpoint of --shape")
    arguments = parser.parse_args()
    if arguments.shape is None:
        changes = {"group_size": arguments.group_size, "modules_to_not_convert": tuple(arguments.keep)}
        quality(arguments.prompts, arguments.icons, arguments.only or list(CANDIDATES), **changes)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        os.makedirs(folder, exist_ok=True)
        cost(arguments.shape, arguments.weights, arguments.group_size, folder)


if __name__ == "__main__":
    main()
