"""One guided step of the Stable Diffusion 1.5-shaped UNet, compared with the installed peers, in one run.

    python benchmarks/unet_step.py [--rounds 5] [--half] [--folder FOLDER] [--json FILE]

Batch 2 (guidance: the latents twice, two texts), 64×64 latents, 77 tokens, random weights: only times. All candidates
have the same weights and take turns round by round, every second round in the opposite order and compared ones next to
each other, so that a drifting machine favours none. About 18 GB of memory with all peers; the weights (3 GB, and 1.7 GB
for the converted peer) are written to a temporary folder, or kept in FOLDER for the next run.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mindone.diffusers import UNet2DConditionModel, engines
from mindone.diffusers.bench import shapes

OURS32, OURS16 = "ours, float32", "ours, half precision"
OPENVINO32, OPENVINO16 = "OpenVINO's conversion, float32", "OpenVINO's conversion, bfloat16"
DIFFUSERS32, DIFFUSERS16 = "diffusers, float32", "diffusers, bfloat16 channels-last"

BARS = [
    (OURS32, OPENVINO32, "≤", 1.03),
    (OURS16, OPENVINO16, "≤", 0.97),
    (DIFFUSERS32, OURS16, "≥", 3.0),
    (OURS32, OURS16, "≥", 1.6),
]

Step = Callable[[], np.ndarray]
Bar = tuple[str, str, str, float]
"""Two candidates, and what the ratio of their times is to be."""


def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents, timesteps and text of one guided step."""
    rng = np.random.Generator(np.random.PCG64(0))
    sample, text = rng.standard_normal((1, 4, 64, 64)), rng.standard_normal((2, 77, 768))
    return np.repeat(sample, 2, 0).astype(np.float32), np.full(2, 981.0, np.float32), text.astype(np.float32)


def ours(folder: Path, dtype: str) -> Step:
    """Our UNet on the OpenVINO engine, called as pipelines do: the latents that guidance's halves share go in once."""
    sample, timestep, text = inputs()
    unet, engine = UNet2DConditionModel.from_pretrained(folder, mindspore_dtype=dtype), engines.get("openvino")
    return lambda: engine.run(unet, sample[:1], timestep[:1], text)


def diffusers(folder: Path, half: bool) -> Step:
    """The reference library."""
    import torch
    from diffusers import UNet2DConditionModel as Reference

    dtype = torch.bfloat16 if half else torch.float32
    unet = Reference.from_pretrained(folder, torch_dtype=dtype, low_cpu_mem_usage=False).eval()
    if half:
        unet = unet.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def step() -> np.ndarray:
        sample, timestep, text = (torch.from_numpy(x).to(dtype) for x in inputs())
        return unet(sample, timestep.float(), text).sample.float().numpy()

    return step


def convert(folder: Path) -> Path:
    """The reference's UNet through OpenVINO's PyTorch front end, saved as float16; made once a folder."""
    target = folder / "converted.xml"
    if not target.exists():
        import openvino as ov
        import torch
        from diffusers import UNet2DConditionModel as Reference

        class Positional(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.unet = Reference.from_pretrained(folder, low_cpu_mem_usage=False).eval()

            def forward(self, sample, timestep, text):
                return self.unet(sample, timestep, text, return_dict=False)[0]

        example = tuple(torch.from_numpy(x) for x in inputs())
        with torch.no_grad():
            graph = ov.convert_model(Positional(), example_input=example, input=[list(x.shape) for x in example])
        ov.save_model(graph, target)
    return target


def converted(folder: Path, precision: str) -> Step:
    """OpenVINO's own conversion."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    graph = ov.Core().compile_model(convert(folder), "CPU", settings)
    return lambda: graph(list(inputs()))[0]


def measure(
    steps: dict[str, Step], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of every step, the candidates taking turns, there and back; one untimed turn each first."""
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        for name in reversed(steps) if number % 2 else steps:
            start = clock()
            steps[name]()
            seconds[name].append(clock() - start)
    return seconds


def report(title: str, seconds: dict[str, list[float]], bars: Sequence[Bar], path: Path | None) -> None:
    """Print what was measured and the ratios that have a bar, and write it to ``path``."""
    table = Table("candidate", "median s", "min s", "max s", title=title)
    for name, values in seconds.items():
        table.add_row(name, *(f"{f(values):.2f}" for f in (statistics.median, min, max)))
    console = Console()
    console.print(table)
    for over, under, sign, bar in bars:
        if over in seconds and under in seconds:
            # The ratio within each round, so that both saw the same machine.
            ratio = statistics.median(a / b for a, b in zip(seconds[over], seconds[under]))
            console.print(f"{over} / {under}: {ratio:.3f} (bar {sign} {bar})")
    if path:
        path.write_text(json.dumps({"command": sys.argv, "seconds": seconds}, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to keep the weights for the next run")
    parser.add_argument("--json", type=Path, help="write every measured second here")
    parser.add_argument("--only", choices=("ours", "openvino", "diffusers"), nargs="+", help="leave the others out")
    parser.add_argument("--half", action="store_true", help="leave float32 out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        folder = root / "sd15" / "unet"
        if not folder.exists():
            shapes.write("sd15", root)
        wanted = arguments.only or ("ours", "openvino", "diffusers")
        reference = all(importlib.util.find_spec(name) for name in ("torch", "diffusers"))
        steps: dict[str, Step] = {}
        makers: dict[str, tuple[str, Callable[[], Step]]] = {  # neighbours are compared
            DIFFUSERS16: ("diffusers", lambda: diffusers(folder, True)),
            OPENVINO32: ("openvino", lambda: converted(folder, "f32")),
            OURS32: ("ours", lambda: ours(folder, "float32")),
            DIFFUSERS32: ("diffusers", lambda: diffusers(folder, False)),
            OURS16: ("ours", lambda: ours(folder, "float16")),
            OPENVINO16: ("openvino", lambda: converted(folder, "bf16")),
        }
        for name, (who, make) in makers.items():
            if arguments.half and "float32" in name:
                continue
            if who in wanted and (reference or who == "ours"):
                steps[name] = make()
        seconds = measure(steps, arguments.rounds)

    report("One guided step, 64×64 latents, batch 2", seconds, BARS, arguments.json)


if __name__ == "__main__":
    main()
