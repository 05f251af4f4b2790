"""The cost of a step with each speed-up of the stack, relative to plain half precision; Stable Diffusion 1.5's shapes.

    python benchmarks/stack_steps.py [--rounds 5] [--folder FOLDER] [--large]

Random weights: only times. One guided step (batch 2), 512×512 pixels; the candidates take turns round by round, every
second round in the opposite order. int8 is calibrated on two prompts and one step, which does not matter to its time.
--large measures token downsampling instead, at 1024×1024. The weights (2 GB) are written to a temporary folder, or
kept in FOLDER for the next run.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from mindone.diffusers import DiffusionPipeline, Int8Config, UNet2DConditionModel, engines
from mindone.diffusers.bench import shapes

Call = Callable[[], object]


def inputs(side: int, rows: int = 2) -> dict[str, np.ndarray]:
    """Latents, timestep and text of one step for one image; two rows of text with guidance."""
    rng = np.random.Generator(np.random.PCG64(0))
    sample, text = rng.standard_normal((1, 4, side, side)), rng.standard_normal((rows, 77, 768))
    return {
        "sample": sample.astype(np.float32),
        "timestep": np.full(1, 981, np.float32),
        "encoder_hidden_states": text.astype(np.float32),
    }


def call(unet: UNet2DConditionModel, side: int = 64, rows: int = 2, **options: object) -> Call:
    """A call of the network, as pipelines make it."""
    engine, given = engines.get("openvino"), inputs(side, rows)
    arrays = [given[name] for name in ("sample", "timestep", "encoder_hidden_states")]
    return lambda: engine.run(unet, *arrays, **options)


def candidates(folder: Path) -> dict[str, tuple[Call, float | None]]:
    """The plain step first, then each beside its bar."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", mindspore_dtype="float16")
    int8 = quantised(folder)
    cut = unet.cuts[0]
    feature = np.asarray(call(unet, taps=cut.reading)()[1])  # type: ignore[index]
    unet.graphs.clear()
    return {
        "guided step": (call(unet), None),
        "DeepCache's shallow step, branch 0": (call(unet, taps=cut.replacing, values=(feature,)), 0.11),
        "step without guidance": (call(unet, rows=1), 0.54),
        "int8 step": (call(int8), 0.68),
        "int8 step without guidance": (call(int8, rows=1), None),
    }


def quantised(folder: Path) -> UNet2DConditionModel:
    """The same UNet in int8."""
    config = Int8Config(("a cat", "a house"), num_inference_steps=1)
    start = time.perf_counter()
    unet = DiffusionPipeline.from_pretrained(
        folder, mindspore_dtype="float16", quantization_config=config, safety_checker=None
    ).unet
    print(f"loading and quantising the pipeline took {time.perf_counter() - start:.1f} s")
    return unet


def large(folder: Path) -> dict[str, tuple[Call, float | None]]:
    """1024×1024 pixels, with and without token downsampling."""
    plain, downsampled = (
        UNet2DConditionModel.from_pretrained(folder / "unet", mindspore_dtype="float16") for _ in range(2)
    )
    downsampled.enable_token_downsampling(factor=2)
    return {
        "guided step, 1024×1024": (call(plain, 128), None),
        "with token downsampling 2": (call(downsampled, 128), 0.6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to keep the weights for the next run")
    parser.add_argument("--large", action="store_true", help="token downsampling at 1024×1024 instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        if not (root / "sd15" / "unet").exists():
            shapes.write("sd15", root)
        steps = (large if arguments.large else candidates)(root / "sd15")
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(-1, arguments.rounds):  # the first round compiles
            for name in reversed(steps) if number % 2 else steps:
                start = time.perf_counter()
                steps[name][0]()
                if number >= 0:
                    seconds[name].append(time.perf_counter() - start)

    plain, *_ = seconds.values()
    for name, values in seconds.items():
        bar = steps[name][1]
        ratio = statistics.median(a / b for a, b in zip(values, plain))
        bound = "" if bar is None else f" (bar ≤ {bar})"
        Console().print(f"{name:36} {statistics.median(values):7.3f} s   {ratio:.3f}{bound}")


if __name__ == "__main__":
    main()
