"""A whole pipeline in Stable Diffusion 1.5's shapes: load, text, 25 PNDM steps, decode at 512×512; time and memory.

    python benchmarks/end_to_end.py [--folder FOLDER] [--steps 25] [--only ours16 …] [--json FILE]

The checkpoint is a float16 one of 2.1 GB with random weights. Each candidate runs in a process of its own, which loads
it from the page cache, draws one image, and reports its peak resident memory; the image is drawn a second time for the
latency without loading and compiling. "Outside" is what the second image spends outside the three networks.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mindone.diffusers.bench import shapes

PROMPT = "a photo of an astronaut riding a horse on mars"
CANDIDATES = {
    "ours16": "ours, half precision",
    "ours32": "ours, float32",
    "diffusers16": "diffusers, bfloat16 channels-last",
    "diffusers32": "diffusers, float32",
}


class Stopwatch:
    """Seconds inside wrapped functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function):
        def timed(*args: Any, **options: Any):
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


def load_ours(folder: Path, half: bool, stopwatch: Stopwatch):
    """Our pipeline as a function from a step callback to an image."""
    from mindone.diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(folder, mindspore_dtype="float16" if half else "float32")
    pipe.engine.run = stopwatch.wrap(pipe.engine.run)
    generator = np.random.Generator(np.random.PCG64(0))
    return lambda steps, callback: pipe(
        PROMPT, num_inference_steps=steps, generator=generator, callback_on_step_end=callback
    )


def load_reference(folder: Path, half: bool, stopwatch: Stopwatch):
    """The reference library's pipeline likewise."""
    import torch
    from diffusers import StableDiffusionPipeline

    dtype = torch.bfloat16 if half else torch.float32
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype, low_cpu_mem_usage=False)
    if half:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    pipe.unet.forward = stopwatch.wrap(pipe.unet.forward)
    pipe.text_encoder.forward = stopwatch.wrap(pipe.text_encoder.forward)
    pipe.vae.decode = stopwatch.wrap(pipe.vae.decode)
    generator = torch.Generator().manual_seed(0)
    return lambda steps, callback: pipe(
        PROMPT, num_inference_steps=steps, generator=generator, callback_on_step_end=callback
    )


def run(candidate: str, folder: Path, steps: int) -> dict[str, float]:
    """Load, draw twice, and report seconds and megabytes."""
    marks: list[float] = []

    def callback(pipe, step, timestep, tensors):
        marks.append(time.perf_counter())
        return tensors

    stopwatch = Stopwatch()
    loader = load_ours if candidate.startswith("ours") else load_reference
    start = time.perf_counter()
    draw = loader(folder, candidate.endswith("16"), stopwatch)
    loaded = time.perf_counter()
    draw(steps, callback)
    first_image = time.perf_counter()
    first_step = marks[0]
    marks.clear()
    stopwatch.seconds = 0.0
    draw(steps, callback)
    second = time.perf_counter() - first_image
    return {
        "load": loaded - start,
        "to_first_step": first_step - start,
        "first_image": first_image - start,
        "second_image": second,
        "step": (marks[-1] - marks[0]) / (len(marks) - 1),
        "outside": second - stopwatch.seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to keep the weights for the next run")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--only", choices=CANDIDATES, nargs="+", help="leave the others out")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--child", choices=CANDIDATES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(run(arguments.child, arguments.folder / "sd15", arguments.steps)))
        return
    reference = all(importlib.util.find_spec(name) for name in ("torch", "diffusers", "transformers"))
    wanted = arguments.only or [name for name in CANDIDATES if reference or name.startswith("ours")]
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        if not (root / "sd15").exists():
            shapes.write("sd15", root)
        for name in wanted:
            command = [sys.executable, __file__, "--child", name, "--folder", root, "--steps", str(arguments.steps)]
            # With the environment as Python knows it: MindSpore, once imported, gives new processes one OpenMP thread.
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ)).stdout
            results[name] = json.loads(output.splitlines()[-1])

    columns = ("load", "to first step", "first image", "second image", "a step", "outside", "peak MB")
    table = Table("candidate", *columns, title=f"512×512, {arguments.steps} PNDM steps, seconds")
    for name, values in results.items():
        *seconds, peak = values.values()
        outside = f"{values['outside']:.2f} ({100 * values['outside'] / values['second_image']:.1f} %)"
        table.add_row(CANDIDATES[name], *(f"{x:.2f}" for x in seconds[:-1]), outside, f"{peak:.0f}")
    Console(width=140).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "results": results}, indent=2))


if __name__ == "__main__":
    main()
