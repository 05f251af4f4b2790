"""One guided step of the PixArt-Σ-shaped transformer, compared with the installed peers, in one run.

    python benchmarks/pixart_step.py [--side 512] [--words 60] [--rounds 5] [--half] [--layers 28] [--json FILE]

Two rows, without and with the prompt, random weights: only times. Texts have 300 tokens: the first ``--words`` of the
prompt's are words, and the first of the empty one's. Candidates share weights and take turns, as in `unet_step.py`.
Peers multiply the padding and mask it; ours gets the latents once for both rows, and the text without padding; it
computes the text's keys and values once for all steps, which is a row of its own. ``--layers`` measures fewer blocks.
About 10 GB of memory with all peers.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mindone.diffusers import PixArtTransformer2DModel, engines
from mindone.diffusers.families.pixart.shapes import SIGMA
from mindone.diffusers.models.random_weights import write_random_network
from mindone.diffusers.pipelines.padding import without_padding
from unet_step import Bar, Step, measure, report

TOKENS = 300
OURS32, OURS16, TEXT = "ours, float32", "ours, half precision", "ours, reading the text once"
OPENVINO32, OPENVINO16 = "OpenVINO's conversion, float32", "OpenVINO's conversion, bfloat16"
DIFFUSERS32, DIFFUSERS16 = "diffusers, float32", "diffusers, bfloat16"
MOST = {512: 0.97}
"""The bar, by the side of the image in pixels."""
SIZES = {"resolution": None, "aspect_ratio": None}


def inputs(side: int, words: int) -> dict[str, np.ndarray]:
    """Of one guided step, by the reference's names."""
    rng = np.random.Generator(np.random.PCG64(0))
    drawn = {
        "hidden_states": np.repeat(rng.standard_normal((1, 4, side // 8, side // 8)), 2, 0),
        "encoder_hidden_states": rng.standard_normal((2, TOKENS, 4096)),
        "timestep": np.array([700.0, 700.0]),
        "encoder_attention_mask": np.arange(TOKENS) < [[1], [words]],
    }
    return {name: x.astype(np.float32) for name, x in drawn.items()}


def ours(folder: Path, given: dict[str, np.ndarray], dtype: str) -> tuple[Step, Step]:
    """A step as pipelines call it, and the reading of the text that comes before the first."""
    network, engine = PixArtTransformer2DModel.from_pretrained(folder, mindspore_dtype=dtype), engines.get("openvino")
    given = {**given, "hidden_states": given["hidden_states"][:1], "timestep": given["timestep"][:1]}
    text, mask = without_padding(engine, given["encoder_hidden_states"], given["encoder_attention_mask"])

    def read() -> Any:
        return engine.run(network, text, method="read_text")

    given |= {"encoder_hidden_states": read(), "encoder_attention_mask": mask}
    return lambda: engine.run(network, **given), lambda: read()[-1]


def reference(folder: Path, dtype: Any = None) -> Any:
    from diffusers import PixArtTransformer2DModel as Reference

    return Reference.from_pretrained(folder, torch_dtype=dtype, low_cpu_mem_usage=False).eval()


def diffusers(folder: Path, given: dict[str, np.ndarray], half: bool) -> Step:
    """The reference library."""
    import torch

    dtype = torch.bfloat16 if half else torch.float32
    network, tensors = reference(folder, dtype), {name: torch.from_numpy(x).to(dtype) for name, x in given.items()}

    @torch.inference_mode()
    def step() -> np.ndarray:
        return network(**tensors, added_cond_kwargs=SIZES).sample.float().numpy()

    return step


def converted(folder: Path, given: dict[str, np.ndarray], precision: str) -> Step:
    """OpenVINO's own conversion."""
    import openvino as ov
    import torch

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = reference(folder)

        def forward(self, *tensors: Any) -> Any:
            return self.network(**dict(zip(given, tensors)), added_cond_kwargs=SIZES, return_dict=False)[0]

    example = tuple(torch.from_numpy(x) for x in given.values())
    with torch.no_grad():
        graph = ov.convert_model(Positional(), example_input=example, input=[list(x.shape) for x in example])
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(graph, "CPU", settings)
    return lambda: compiled(list(given.values()))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="of the image in pixels, a multiple of 16")
    parser.add_argument("--words", type=int, default=60, help="tokens that are no padding, up to 300")
    parser.add_argument("--layers", type=int, default=28, help="blocks to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--half", action="store_true", help="leave float32 out")
    parser.add_argument("--full", action="store_true", help="leave half precision out, on a CPU without it")
    parser.add_argument("--only", choices=("ours", "openvino", "diffusers"), nargs="+", help="leave the others out")
    parser.add_argument("--json", type=Path, help="write every measured second here")
    arguments = parser.parse_args()
    given, steps = inputs(arguments.side, arguments.words), {}
    wanted = arguments.only or ("ours", "openvino", "diffusers")
    if not all(importlib.util.find_spec(name) for name in ("torch", "diffusers")):
        wanted = ("ours",)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_random_network(PixArtTransformer2DModel, {**SIGMA.transformer, "num_layers": arguments.layers}, folder)
        makers: dict[str, tuple[str, Callable[[], Step]]] = {  # neighbours are compared
            DIFFUSERS32: ("diffusers", lambda: diffusers(folder, given, False)),
            OURS32: ("ours", lambda: ours(folder, given, "float32")[0]),
            OPENVINO32: ("openvino", lambda: converted(folder, given, "f32")),
            DIFFUSERS16: ("diffusers", lambda: diffusers(folder, given, True)),
            OURS16: ("ours", lambda: ours(folder, given, "float16")[0]),
            TEXT: ("ours", lambda: ours(folder, given, "float16")[1]),
            OPENVINO16: ("openvino", lambda: converted(folder, given, "bf16")),
        }
        for name, (who, make) in makers.items():
            left_out = (arguments.half and "float32" in name) or (arguments.full and "float32" not in name)
            if who in wanted and not left_out:
                steps[name] = make()
        seconds = measure(steps, arguments.rounds)
    most = MOST.get(arguments.side, 1.0)
    peers = ((OURS32, OPENVINO32), (OURS32, DIFFUSERS32), (OURS16, OPENVINO16), (OURS16, DIFFUSERS16))
    bars: list[Bar] = [(mine, peer, "≤", most) for mine, peer in peers]
    report(
        f"One guided step at {arguments.side}×{arguments.side}, {arguments.layers} blocks",
        seconds,
        bars,
        arguments.json,
    )


if __name__ == "__main__":
    main()
