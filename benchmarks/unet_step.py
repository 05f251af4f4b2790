"""One guided step of the Stable Diffusion 1.5-shaped UNet, beside the peers that are installed, in one run.

    python benchmarks/unet_step.py [--rounds 5] [--folder FOLDER] [--json FILE]

Batch 2 (guidance: the latents twice, two texts), 64×64 latents, 77 tokens, random weights: times only. All candidates
have the same weights, and they take turns round by round, so that a drifting machine favours nobody. About 18 GB of
memory with all peers; the weights (3 GB, and 1.7 GB for the converted peer) are written to a temporary folder, or kept
in FOLDER for the next run.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mindone.diffusers import UNet2DConditionModel, engines
from mindone.diffusers.bench import shapes

OURS32, OURS16 = "ours, float32", "ours, half precision"
UNGUIDED, SHALLOW = "ours, half precision, one text", "ours, half precision, above DeepCache's branch 0"
OPENVINO32, OPENVINO16 = "OpenVINO's conversion, float32", "OpenVINO's conversion, bfloat16"
DIFFUSERS32, DIFFUSERS16 = "diffusers, float32", "diffusers, bfloat16 channels-last"

BARS = [
    (OURS32, OPENVINO32, "≤", 1.03),
    (OURS16, OPENVINO16, "≤", 0.97),
    (DIFFUSERS32, OURS16, "≥", 3.0),
    (OURS32, OURS16, "≥", 1.6),
    (UNGUIDED, OURS16, "≤", 0.54),
    (SHALLOW, OURS16, "≤", 0.11),
]

Step = Callable[[], np.ndarray]


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


def spared(folder: Path) -> tuple[Step, Step]:
    """What a step costs outside a guidance interval, and above the branch that a feature cache cuts at."""
    sample, timestep, text = (x[:1] for x in inputs())
    unet, engine = UNet2DConditionModel.from_pretrained(folder, mindspore_dtype="float16"), engines.get("openvino")
    texts = inputs()[2]
    _, feature = engine.run(unet, sample, timestep, texts, method="deep", branch=0)
    unet.graphs.clear()
    return (
        lambda: engine.run(unet, sample, timestep, text),
        lambda: engine.run(unet, sample, timestep, texts, method="shallow", feature=feature, branch=0),
    )


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


def measure(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of every step, the candidates taking turns; one untimed turn each first."""
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to keep the weights for the next run")
    parser.add_argument("--json", type=Path, help="write every measured second here")
    parser.add_argument("--only", choices=("ours", "openvino", "diffusers"), nargs="+", help="leave the others out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        folder = root / "sd15" / "unet"
        if not folder.exists():
            shapes.write("sd15", root)
        wanted = arguments.only or ("ours", "openvino", "diffusers")
        reference = all(importlib.util.find_spec(name) for name in ("torch", "diffusers"))
        steps: dict[str, Step] = {}
        if "openvino" in wanted and reference:
            steps[OPENVINO32], steps[OPENVINO16] = converted(folder, "f32"), converted(folder, "bf16")
        if "ours" in wanted:
            steps[OURS32], steps[OURS16] = ours(folder, "float32"), ours(folder, "float16")
            steps[UNGUIDED], steps[SHALLOW] = spared(folder)
        if "diffusers" in wanted and reference:
            steps[DIFFUSERS32], steps[DIFFUSERS16] = diffusers(folder, False), diffusers(folder, True)
        seconds = measure(steps, arguments.rounds)

    table = Table("candidate", "median s", "min s", "max s", title="One guided step, 64×64 latents, batch 2")
    for name, values in seconds.items():
        table.add_row(name, *(f"{f(values):.2f}" for f in (statistics.median, min, max)))
    console = Console()
    console.print(table)
    for over, under, sign, bar in BARS:
        if over in seconds and under in seconds:
            # The ratio within each round, so that both saw the same machine.
            ratio = statistics.median(a / b for a, b in zip(seconds[over], seconds[under]))
            console.print(f"{over} / {under}: {ratio:.3f} (bar {sign} {bar})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "seconds": seconds}, indent=2))


if __name__ == "__main__":
    main()
