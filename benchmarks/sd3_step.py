"""One guided step of a transformer that reads T5's texts, compared with the installed peers, in one run.

    python benchmarks/sd3_step.py [--model sd35-medium] [--side 512] [--rounds 5] [--half] [--layers 24] [--json FILE]

Batch 2 (guidance: the latents twice, two texts), random weights: only times. Stable Diffusion 3 reads 77 tokens of CLIP
and 256 of T5. Candidates share weights and take turns, as in `unet_step.py`; ours is called as in pipelines, with the
latents once. ``--layers`` measures fewer blocks, for Stable Diffusion 3.5 medium the dual ones first. All 24 take about
20 GB of memory with all peers in half precision.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindone.diffusers import SD3Transformer2DModel, engines
from mindone.diffusers.families.stable_diffusion_3.shapes import SD3_MEDIUM, SD35_LARGE, SD35_MEDIUM
from mindone.diffusers.models.random_weights import write_random_network
from unet_step import Bar, Step, measure, report

OURS32, OURS16 = "ours, float32", "ours, half precision"
OPENVINO32, OPENVINO16 = "OpenVINO's conversion, float32", "OpenVINO's conversion, bfloat16"
DIFFUSERS32, DIFFUSERS16 = "diffusers, float32", "diffusers, bfloat16"
MOST = 0.97
"""The bar, in half precision."""


@dataclass(frozen=True)
class Transformer:
    """A network of the reference's, and what it is called with."""

    network: Any
    config: Mapping[str, Any]
    inputs: Callable[[int], dict[str, np.ndarray]]
    """The arrays of one guided step for a square image of that side, by the reference's names."""
    shared: tuple[str, ...]
    """Those whose two rows are equal: ours gets one row."""

    @property
    def reference(self) -> str:
        """The name of its class."""
        return self.network.__name__


def _sd3_inputs(side: int) -> dict[str, np.ndarray]:
    rng = np.random.Generator(np.random.PCG64(0))
    latents = rng.standard_normal((1, 16, side // 8, side // 8))
    drawn = {
        "hidden_states": np.repeat(latents, 2, 0),
        "encoder_hidden_states": rng.standard_normal((2, 77 + 256, 4096)),
        "pooled_projections": rng.standard_normal((2, 2048)),
        "timestep": np.full(2, 700.0),
    }
    return {name: x.astype(np.float32) for name, x in drawn.items()}


def _sd3(config: Mapping[str, Any]) -> Transformer:
    return Transformer(SD3Transformer2DModel, config, _sd3_inputs, ("hidden_states", "timestep"))


MODELS = {
    "sd3-medium": _sd3(SD3_MEDIUM.transformer),
    "sd35-medium": _sd3(SD35_MEDIUM.transformer),
    "sd35-large": _sd3(SD35_LARGE.transformer),
}


def ours(model: Transformer, folder: Path, given: dict[str, np.ndarray], dtype: str) -> Step:
    """A step as pipelines call it."""
    network, engine = model.network.from_pretrained(folder, mindspore_dtype=dtype), engines.get("openvino")
    once = {name: x[:1] if name in model.shared else x for name, x in given.items()}
    return lambda: engine.run(network, **once)


def reference(model: Transformer, folder: Path, dtype: Any = None) -> Any:
    import diffusers

    network = getattr(diffusers, model.reference)
    return network.from_pretrained(folder, torch_dtype=dtype, low_cpu_mem_usage=False).eval()


def diffusers(model: Transformer, folder: Path, given: dict[str, np.ndarray], half: bool) -> Step:
    """The reference library."""
    import torch

    dtype = torch.bfloat16 if half else torch.float32
    network = reference(model, folder, dtype)
    tensors = {name: torch.from_numpy(x).to(dtype) for name, x in given.items()}

    @torch.inference_mode()
    def step() -> np.ndarray:
        return network(**tensors).sample.float().numpy()

    return step


def convert(model: Transformer, folder: Path, given: dict[str, np.ndarray]) -> Path:
    """The reference's network through OpenVINO's PyTorch front end, saved as float16; made once a folder."""
    target = folder / "converted.xml"
    if not target.exists():
        import openvino as ov
        import torch

        class Positional(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = reference(model, folder)

            def forward(self, *tensors: Any) -> Any:
                return self.network(**dict(zip(given, tensors)), return_dict=False)[0]

        example = tuple(torch.from_numpy(x) for x in given.values())
        with torch.no_grad():
            graph = ov.convert_model(Positional(), example_input=example, input=[list(x.shape) for x in example])
        ov.save_model(graph, target)
    return target


def converted(model: Transformer, folder: Path, given: dict[str, np.ndarray], precision: str) -> Step:
    """OpenVINO's own conversion."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(convert(model, folder, given), "CPU", settings)
    return lambda: compiled(list(given.values()))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="sd35-medium")
    parser.add_argument("--side", type=int, default=512, help="of the image in pixels, a multiple of 16")
    parser.add_argument("--layers", type=int, help="blocks to measure; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--half", action="store_true", help="leave float32 out")
    parser.add_argument("--full", action="store_true", help="leave half precision out, on a CPU without it")
    parser.add_argument("--only", choices=("ours", "openvino", "diffusers"), nargs="+", help="leave the others out")
    parser.add_argument("--json", type=Path, help="write every measured second here")
    arguments = parser.parse_args()
    model = MODELS[arguments.model]
    layers = arguments.layers or model.config["num_layers"]
    given, steps = model.inputs(arguments.side), {}
    wanted = arguments.only or ("ours", "openvino", "diffusers")
    if not all(importlib.util.find_spec(name) for name in ("torch", "diffusers")):
        wanted = ("ours",)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_random_network(model.network, {**model.config, "num_layers": layers}, folder)
        makers: dict[str, tuple[str, Callable[[], Step]]] = {  # neighbours are compared
            DIFFUSERS32: ("diffusers", lambda: diffusers(model, folder, given, False)),
            OURS32: ("ours", lambda: ours(model, folder, given, "float32")),
            OPENVINO32: ("openvino", lambda: converted(model, folder, given, "f32")),
            DIFFUSERS16: ("diffusers", lambda: diffusers(model, folder, given, True)),
            OURS16: ("ours", lambda: ours(model, folder, given, "float16")),
            OPENVINO16: ("openvino", lambda: converted(model, folder, given, "bf16")),
        }
        for name, (who, make) in makers.items():
            left_out = (arguments.half and "float32" in name) or (arguments.full and "float32" not in name)
            if who in wanted and not left_out:
                steps[name] = make()
        seconds = measure(steps, arguments.rounds)
    bars: list[Bar] = [(OURS32, peer, "≤", 1.0) for peer in (OPENVINO32, DIFFUSERS32)]
    bars += [(OURS16, peer, "≤", MOST) for peer in (OPENVINO16, DIFFUSERS16)]
    title = f"One guided step of {arguments.model} at {arguments.side}×{arguments.side}, {layers} blocks"
    report(title, seconds, bars, arguments.json)


if __name__ == "__main__":
    main()
