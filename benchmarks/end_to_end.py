"""A whole pipeline in a published model's shapes: load, text, steps, decode; time and memory, each in its own process.

    python benchmarks/end_to_end.py [--shape sd15] [--folder FOLDER] [--steps 25] [--side 512] [--only ours16 …]

The checkpoint has random float16 weights: 2.1 GB for Stable Diffusion 1.5's shapes, the default, 7 GB for
``--shape sana-sprint-0.6b``. Each candidate runs in its own process, which loads it from the page cache, generates one
image, and reports its peak resident memory; a second image gives the latency without loading and compiling. "Outside"
is the second image's time outside the networks.

``ours8`` is the checkpoint from ``mindone-diffusers quantize``, with one network in memory at a time, as in
``ours16one`` and ``ours16text8``: the least memory in half precision, without T5 (``--shape sd35-medium-without-t5``)
and with it. "…tiny" decodes with the shape's tiny autoencoder.
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
INSTRUCTION = "Describe the picture in detail. " * 7
"""As many bytes as Sana's own instruction has tokens: the random checkpoints' tokenizers read bytes."""
CANDIDATES = {
    "ours16": "ours, half precision",
    "ours16tiny": "ours, half precision, tiny decoder",
    "ours16one": "ours, half precision, one network at a time",
    "ours16text8": "the same with text encoders' weights in int8",
    "ours8": "ours, int8, one network at a time",
    "ours8tiny": "the same with a tiny decoder",
    "ours32": "ours, float32",
    "diffusers16": "diffusers, bfloat16",
    "diffusers16last": "diffusers, bfloat16 channels-last",
    "diffusers32": "diffusers, float32",
}
DEFAULT = ("ours16", "ours32", "diffusers16last", "diffusers32")


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


def load_ours(folder: Path, candidate: str, stopwatch: Stopwatch):
    """Our pipeline, and its noise."""
    from mindone.diffusers import AutoencoderTiny, DiffusionPipeline, Int8Config

    dtype = "float32" if candidate == "ours32" else "bfloat16" if "sana" in folder.name else "float16"
    own: dict[str, Any] = {}
    if candidate.endswith("tiny"):
        own["vae"] = AutoencoderTiny.from_pretrained(f"{folder}-tiny-vae", mindspore_dtype=dtype)
    int8 = candidate.startswith("ours8")
    if candidate == "ours16text8":
        own["quantization_config"] = Int8Config(components_to_quantize=("text_encoders",))
    pipe = DiffusionPipeline.from_pretrained(f"{folder}-int8" if int8 else folder, mindspore_dtype=dtype, **own)
    if int8 or candidate in ("ours16one", "ours16text8"):
        pipe.enable_model_cpu_offload()
    pipe.engine.run = stopwatch.wrap(pipe.engine.run)
    return pipe, np.random.Generator(np.random.PCG64(0))


def load_reference(folder: Path, candidate: str, stopwatch: Stopwatch):
    """The reference library's pipeline likewise."""
    import torch
    from diffusers import DiffusionPipeline

    dtype = torch.float32 if candidate == "diffusers32" else torch.bfloat16
    pipe = DiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    if candidate.endswith("last"):
        for network in (denoiser, pipe.vae):
            network.to(memory_format=torch.channels_last)
    denoiser.forward = stopwatch.wrap(denoiser.forward)
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        if (network := getattr(pipe, name, None)) is not None:
            network.forward = stopwatch.wrap(network.forward)
    pipe.vae.decode = stopwatch.wrap(pipe.vae.decode)
    return pipe, torch.Generator().manual_seed(0)


def run(candidate: str, folder: Path, options: dict[str, Any]) -> dict[str, float]:
    """Load, generate twice, and report seconds and megabytes."""
    marks: list[float] = []

    def callback(pipe, step, timestep, tensors):
        marks.append(time.perf_counter())
        return tensors

    stopwatch = Stopwatch()
    loader = load_ours if candidate.startswith("ours") else load_reference
    start = time.perf_counter()
    pipe, generator = loader(folder, candidate, stopwatch)
    if "sana" in folder.name:
        options["complex_human_instruction"] = [INSTRUCTION]

    def generate():
        begin = time.perf_counter()
        pipe(PROMPT, generator=generator, callback_on_step_end=callback, **options)
        return time.perf_counter() - begin

    loaded = time.perf_counter()
    first = generate()
    first_step = marks[0]
    marks.clear()
    stopwatch.seconds = 0.0
    second = generate()
    return {
        "load": loaded - start,
        "to_first_step": first_step - start,
        "first_image": loaded - start + first,
        "second_image": second,
        "step": (marks[-1] - marks[0]) / (len(marks) - 1) if len(marks) > 1 else float("nan"),
        "outside": second - stopwatch.seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def quantized(folder: Path) -> None:
    """Write the checkpoint in int8 beside it, and say how long that took."""
    start = time.perf_counter()
    options = ["--model", str(folder), "--output", f"{folder}-int8", "--int8-vae", "--quiet"]
    subprocess.run([sys.executable, "-m", "mindone.diffusers", "quantize", *options], check=True, env=dict(os.environ))
    print(f"quantizing took {time.perf_counter() - start:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(shapes.SHAPES), default="sd15")
    parser.add_argument("--folder", type=Path, help="where to keep the weights for the next run")
    parser.add_argument("--steps", type=int, help="default: 25 for sd15, the pipeline's for others")
    parser.add_argument("--side", type=int, help="of the image in pixels; default: the model's")
    parser.add_argument("--only", choices=CANDIDATES, nargs="+", default=DEFAULT, help="which candidates")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--child", choices=CANDIDATES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    options: dict[str, Any] = {}
    if steps := arguments.steps or (25 if arguments.shape == "sd15" else None):
        options["num_inference_steps"] = steps
    if arguments.side:
        options.update(height=arguments.side, width=arguments.side)
    if arguments.child:
        print(json.dumps(run(arguments.child, arguments.folder / arguments.shape, options)))
        return
    reference = all(importlib.util.find_spec(name) for name in ("torch", "diffusers", "transformers"))
    wanted = [name for name in arguments.only if reference or name.startswith("ours")]
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        folder = root / arguments.shape
        if not folder.exists():
            shapes.write(arguments.shape, root)
        if any(name.startswith("ours8") for name in wanted) and not Path(f"{folder}-int8").exists():
            quantized(folder)
        passed = ["--shape", arguments.shape, "--folder", root]
        for name, value in (("steps", arguments.steps), ("side", arguments.side)):
            passed += [f"--{name}", str(value)] if value else []
        for name in wanted:
            command = [sys.executable, __file__, "--child", name, *passed]
            # With the environment as Python knows it: MindSpore, once imported, gives new processes one OpenMP thread.
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ)).stdout
            results[name] = json.loads(output.splitlines()[-1])

    columns = ("load", "to first step", "first image", "second image", "a step", "outside", "peak MB")
    asked = ", ".join(f"{name} {value}" for name, value in options.items()) or "the model's own size and steps"
    table = Table("candidate", *columns, title=f"{arguments.shape}: {asked}; seconds")
    for name, values in results.items():
        *seconds, peak = values.values()
        outside = f"{values['outside']:.2f} ({100 * values['outside'] / values['second_image']:.1f} %)"
        table.add_row(CANDIDATES[name], *(f"{x:.2f}" for x in seconds[:-1]), outside, f"{peak:.0f}")
    Console(width=140).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "results": results}, indent=2))


if __name__ == "__main__":
    main()
