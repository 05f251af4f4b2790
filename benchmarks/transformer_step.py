"""One step of a transformer, beside the peers that are installed, in one run.

    python benchmarks/transformer_step.py --model sd35-medium [--side 512] [--layers 24] [--rounds 5] [--half] [--busy]

Random weights: times only. Candidates share weights and take turns, as in `unet_step.py`. Guided models take two rows,
without the prompt and with it; ours is called as pipelines do: the latents once for both, a text without its padding
where padding is masked (``--words`` of its tokens are words), and what is read of a text once for all steps before the
first, whose time is a row of its own. In int8 (SANA-Sprint) are the weights and the products, with the ranges that one
evaluation had, as `Int8Config` brings a pipeline to it. With ``--layers`` fewer blocks are measured: of Stable
Diffusion 3.5 medium the dual ones first, of FLUX.1 as many of two streams and twice as many of one. All blocks take 10
to 20 GB of memory with all peers in half precision; of FLUX.1, 2 take 12 GB. Few layers flatter ours: we compute only
the image in FLUX.1's last block, the peers the text as well.
"""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mindone.diffusers import (
    FluxTransformer2DModel,
    Int8Config,
    PixArtTransformer2DModel,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    engines,
)
from mindone.diffusers.acceleration.int8.quantize import quantize
from mindone.diffusers.engines.openvino.observing import ObservingEngine
from mindone.diffusers.families.family import Int8Plan
from mindone.diffusers.families.flux.shapes import FLUX_DEV, FLUX_SCHNELL
from mindone.diffusers.families.flux.transformer import PATCH, TIMES
from mindone.diffusers.families.pixart.shapes import SIGMA
from mindone.diffusers.families.sana.family import INT8 as SANA_INT8
from mindone.diffusers.families.sana.shapes import SPRINT_600M
from mindone.diffusers.families.stable_diffusion_3.shapes import SD3_MEDIUM, SD35_LARGE, SD35_MEDIUM
from mindone.diffusers.models.random_weights import write_random_network
from mindone.diffusers.pipelines.packing import unpacked
from mindone.diffusers.pipelines.padding import without_padding, without_repeats
from unet_step import Bar, Step, measure, report

OURS32, OURS16, TEXT = "ours, float32", "ours, half precision", "ours, reading the text once"
OURS8 = "ours, int8"
OPENVINO32, OPENVINO16 = "OpenVINO's conversion, float32", "OpenVINO's conversion, bfloat16"
DIFFUSERS32, DIFFUSERS16 = "diffusers, float32", "diffusers, bfloat16"
WHO = ("ours", "ours8", "openvino", "diffusers")
TOKENS = 300
"""Of a text of Sana and PixArt."""

Arrays = dict[str, Any]


def _once(given: Arrays, *shared: str) -> Arrays:
    """The inputs as pipelines give them: of ``shared`` ones, whose two rows are equal, one row."""
    return {name: x[:1] if name in shared else x for name, x in given.items()}


@dataclass(frozen=True)
class Transformer:
    """A network of the reference's, and what it is called with."""

    network: Any
    config: Mapping[str, Any]
    draw: Callable[[np.random.Generator, int, int], Arrays]
    """The arrays of one step, by the reference's names, for a square image of a side and a text of this many words."""
    ours: Callable[[Arrays], Mapping[str, Any]]
    """The same as our pipelines call the network."""
    most: tuple[float, float]
    """The bars in half precision: of OpenVINO's conversion, and of diffusers."""
    side: int = 512
    fewer: Callable[[int], Mapping[str, int]] = lambda layers: {"num_layers": layers}
    """The config of fewer blocks."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the reference's call."""
    reads_text: bool = False
    int8: Int8Plan | None = None

    def inputs(self, side: int, words: int) -> Arrays:
        """float32, by the reference's names."""
        drawn = self.draw(np.random.Generator(np.random.PCG64(0)), side, words)
        return {name: np.asarray(x, np.float32) for name, x in drawn.items()}


def _sd3(has_t5: bool, rng: np.random.Generator, side: int, words: int) -> Arrays:
    of_clip = rng.standard_normal((2, 77, 4096))
    of_t5 = rng.standard_normal((2, 256, 4096)) if has_t5 else np.zeros((2, 77, 4096))
    return {
        "hidden_states": np.repeat(rng.standard_normal((1, 16, side // 8, side // 8)), 2, 0),
        "encoder_hidden_states": np.concatenate([of_clip, of_t5], axis=1),
        "pooled_projections": rng.standard_normal((2, 2048)),
        "timestep": np.full(2, 700.0),
    }


def _pixart(rng: np.random.Generator, side: int, words: int) -> Arrays:
    return {
        "hidden_states": np.repeat(rng.standard_normal((1, 4, side // 8, side // 8)), 2, 0),
        "encoder_hidden_states": rng.standard_normal((2, TOKENS, 4096)),
        "timestep": np.full(2, 700.0),
        "encoder_attention_mask": np.arange(TOKENS) < [[1], [words]],
    }


def _sana(rng: np.random.Generator, side: int, words: int) -> Arrays:
    return {
        "hidden_states": rng.standard_normal((1, 32, side // 32, side // 32)),
        "encoder_hidden_states": rng.standard_normal((1, TOKENS, 2304)),
        "timestep": np.array([0.7]),
        "guidance": np.array([0.45]),
        "encoder_attention_mask": np.arange(TOKENS)[None] < words,
    }


def _flux(tokens: int, scale: float | None, rng: np.random.Generator, side: int, words: int) -> Arrays:
    places = np.zeros((side // 16, side // 16, 3))
    places[..., 1], places[..., 2] = np.mgrid[: side // 16, : side // 16]
    return {
        "hidden_states": rng.standard_normal((1, (side // 16) ** 2, 64)),
        "encoder_hidden_states": rng.standard_normal((1, tokens, 4096)),
        "pooled_projections": rng.standard_normal((1, 768)),
        "timestep": np.array([0.7]),
        "img_ids": places.reshape(-1, 3),
        "txt_ids": np.zeros((tokens, 3)),
        **({} if scale is None else {"guidance": np.array([scale])}),
    }


def _our_sd3(given: Arrays) -> dict[str, Any]:
    text, times = without_repeats(engines.get("openvino"), given["encoder_hidden_states"])
    repeated = {"last_counts": times} if times > 1 else {}
    return {**_once(given, "hidden_states", "timestep"), "encoder_hidden_states": text, **repeated}


def _our_pixart(given: Arrays) -> Arrays:
    text, mask = without_padding(
        engines.get("openvino"), given["encoder_hidden_states"], given["encoder_attention_mask"]
    )
    short = {**given, "encoder_hidden_states": text, "encoder_attention_mask": mask}
    return _once(short, "hidden_states", "timestep")


def _our_sana(given: Arrays) -> Arrays:
    words = int(given["encoder_attention_mask"].sum())
    rest = {name: x for name, x in given.items() if name != "encoder_attention_mask"}
    return {**rest, "encoder_hidden_states": given["encoder_hidden_states"][:, :words]}


def _our_flux(given: Arrays) -> Arrays:
    side = int(given["hidden_states"].shape[1] ** 0.5)
    thousands = {name: given[name] * np.float32(TIMES) for name in ("timestep", "guidance") if name in given}
    pictures = {"hidden_states": unpacked(given["hidden_states"], side, side, PATCH)}
    return {name: x for name, x in {**given, **pictures, **thousands}.items() if not name.endswith("_ids")}


SD3 = Transformer(
    SD3Transformer2DModel,
    SD3_MEDIUM.config("transformer"),
    partial(_sd3, True),
    _our_sd3,
    (0.97, 0.97),
)
FLUX = Transformer(
    FluxTransformer2DModel,
    FLUX_SCHNELL.config("transformer"),
    partial(_flux, 256, None),
    _our_flux,
    (0.85, 1.0),
    fewer=lambda layers: {"num_layers": layers, "num_single_layers": 2 * layers},
)


def _with(model: Transformer, **changes: Any) -> Transformer:
    return Transformer(**{**vars(model), **changes})


MODELS = {
    "sd3-medium": SD3,
    "sd35-medium": _with(SD3, config=SD35_MEDIUM.config("transformer")),
    "sd35-medium-without-t5": _with(SD3, config=SD35_MEDIUM.config("transformer"), draw=partial(_sd3, False)),
    "sd35-large": _with(SD3, config=SD35_LARGE.config("transformer")),
    "pixart-sigma": Transformer(
        PixArtTransformer2DModel,
        SIGMA.config("transformer"),
        _pixart,
        _our_pixart,
        (0.97, 0.97),
        options={"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}},
        reads_text=True,
    ),
    "sana-sprint-0.6b": Transformer(
        SanaTransformer2DModel,
        SPRINT_600M.config("transformer"),
        _sana,
        _our_sana,
        (0.88, 0.88),
        side=1024,
        reads_text=True,
        int8=SANA_INT8,
    ),
    "flux-schnell": FLUX,
    "flux-dev": _with(FLUX, config=FLUX_DEV.config("transformer"), draw=partial(_flux, 512, 3.5)),
}


def ours(model: Transformer, folder: Path, given: Arrays, dtype: str, int8: bool = False) -> tuple[Step, Step]:
    """A step as pipelines call it, and the reading of the text that comes before the first."""
    network, engine = model.network.from_pretrained(folder, mindspore_dtype=dtype), engines.get("openvino")
    asked = dict(model.ours(given))
    text = asked["encoder_hidden_states"]

    def read() -> Any:
        return engine.run(network, text, method="read_text")

    if model.reads_text:
        asked["encoder_hidden_states"] = read()
    if int8 and model.int8 is not None:
        observing = ObservingEngine({"transformer": network}, model.int8.products, model.int8.rounds_result)
        observing.run(network, **asked)
        quantize(network, observing.ranges["transformer"], Int8Config(), model.int8)
    return lambda: engine.run(network, **asked), lambda: read()[-1]


def reference(model: Transformer, folder: Path, dtype: Any = None) -> Any:
    import diffusers

    network = getattr(diffusers, model.network.__name__)
    return network.from_pretrained(folder, torch_dtype=dtype, low_cpu_mem_usage=False).eval()


def diffusers(model: Transformer, folder: Path, given: Arrays, half: bool) -> Step:
    """The reference library."""
    import torch

    dtype = torch.bfloat16 if half else torch.float32
    network = reference(model, folder, dtype)
    tensors = {name: torch.from_numpy(x).to(dtype) for name, x in given.items()}

    @torch.inference_mode()
    def step() -> np.ndarray:
        return network(**tensors, **model.options).sample.float().numpy()

    return step


def convert(model: Transformer, folder: Path, given: Arrays) -> Path:
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
                return self.network(**dict(zip(given, tensors)), **model.options, return_dict=False)[0]

        example = tuple(torch.from_numpy(x) for x in given.values())
        with torch.no_grad():
            graph = ov.convert_model(Positional(), example_input=example, input=[list(x.shape) for x in example])
        ov.save_model(graph, target)
    return target


def converted(model: Transformer, folder: Path, given: Arrays, precision: str) -> Step:
    """OpenVINO's own conversion."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(convert(model, folder, given), "CPU", settings)
    return lambda: compiled(list(given.values()))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--side", type=int, help="of the image in pixels, a multiple of 16 (Sana: 32)")
    parser.add_argument("--layers", type=int, help="blocks to measure; all by default")
    parser.add_argument("--words", type=int, default=60, help="tokens that are no padding, up to 300 (Sana, PixArt)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--half", action="store_true", help="leave float32 out")
    parser.add_argument("--full", action="store_true", help="leave half precision out, on a CPU without it")
    parser.add_argument("--only", choices=WHO, nargs="+", help="leave the others out")
    parser.add_argument("--busy", action="store_true", help="count the processor's seconds: others use the machine")
    parser.add_argument("--json", type=Path, help="write every measured second here")
    arguments = parser.parse_args()
    model = MODELS[arguments.model]
    layers, side = arguments.layers or model.config["num_layers"], arguments.side or model.side
    given, steps = model.inputs(side, arguments.words), {}
    wanted = set(arguments.only or WHO)
    if not all(importlib.util.find_spec(name) for name in ("torch", "diffusers")):
        wanted &= {"ours", "ours8"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_random_network(model.network, {**model.config, **model.fewer(layers)}, folder)
        if "openvino" in wanted:
            convert(model, folder, given)  # first, as it takes the most memory
        call = partial(ours, model, folder, given)
        makers: dict[str, tuple[str, bool, Callable[[], Step]]] = {  # neighbours are compared
            DIFFUSERS32: ("diffusers", True, lambda: diffusers(model, folder, given, False)),
            OURS32: ("ours", True, lambda: call("float32")[0]),
            OPENVINO32: ("openvino", True, lambda: converted(model, folder, given, "f32")),
            DIFFUSERS16: ("diffusers", True, lambda: diffusers(model, folder, given, True)),
            OURS16: ("ours", True, lambda: call("float16")[0]),
            TEXT: ("ours", model.reads_text, lambda: call("float16")[1]),
            OPENVINO16: ("openvino", True, lambda: converted(model, folder, given, "bf16")),
            OURS8: ("ours8", model.int8 is not None, lambda: call("float16", int8=True)[0]),
        }
        for name, (who, is_there, make) in makers.items():
            left_out = (arguments.half and "float32" in name) or (arguments.full and "float32" not in name)
            if who in wanted and is_there and not left_out:
                steps[name] = make()
        seconds = measure(steps, arguments.rounds, time.process_time if arguments.busy else time.perf_counter)
    bars: list[Bar] = [(OURS32, peer, "≤", 1.0) for peer in (OPENVINO32, DIFFUSERS32)]
    bars += [(OURS16, peer, "≤", most) for peer, most in zip((OPENVINO16, DIFFUSERS16), model.most)]
    bars += [(OURS8, OPENVINO16, "≤", 0.70)] * (model.int8 is not None)
    report(f"One step of {arguments.model} at {side}×{side}, {layers} blocks", seconds, bars, arguments.json)


if __name__ == "__main__":
    main()
