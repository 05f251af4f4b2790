"""Language models as text encoders, compared with the installed peers, in one run.

    python benchmarks/text_encoder.py [--model gemma2] [--layers 26] [--tokens 300] [--half] [--busy]
    python benchmarks/text_encoder.py --model t5 [--layers 24] [--tokens 256] --half [--memory ours4]

Gemma-2-2B or T5-v1.1-XXL's encoder with random weights in the published size: only times. All candidates have the same
weights and read the same text of ``--tokens`` tokens; they take turns round by round, every second round in the
opposite order. All layers are alike, so fewer ``--layers`` give the same ratios in less memory: Gemma's embeddings
alone take 2.4 GB in float32 and a layer 0.3 GB, T5's 0.5 and 0.8 GB.

With Gemma the first ``--instruction`` tokens are a fixed instruction: "the next prompt" finds its keys and values
computed, "the first prompt" does not. With T5 two more candidates have weights in 8 bits by row, and in 4 by group.

``--memory`` runs one candidate in its own process and reports its peak memory, mapped files included. The
weights are written to a temporary folder, or kept in ``--folder``.
"""

import argparse
import functools
import importlib.util
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mindone.diffusers import engines
from mindone.diffusers.acceleration.int8.config import Int8Config
from mindone.diffusers.acceleration.int8.quantize import round_weights
from mindone.diffusers.acceleration.weights.config import WeightOnlyConfig
from mindone.diffusers.acceleration.weights.quantize import round_network
from mindone.diffusers.families.family import Int8Plan
from mindone.diffusers.models.random_weights import write_random_network
from mindone.transformers import Gemma2Model, T5EncoderModel

OURS, FIRST, NEXT = "ours, all tokens", "ours, the first prompt", "ours, the next prompt"
BYTES, NIBBLES = "ours, 8-bit weights", "ours, 4-bit weights"
OPENVINO, TORCH = "OpenVINO's conversion", "transformers"

Step = Callable[[], object]


@dataclass(frozen=True)
class Encoder:
    """A network that is measured."""

    title: str
    network: type[Any]
    layers: int
    layers_field: str
    tokens: int
    bars: tuple[tuple[str, str, float], ...]


ENCODERS = {
    "gemma2": Encoder(
        "Gemma-2-2B",
        Gemma2Model,
        26,
        "num_hidden_layers",
        300,
        ((OURS, OPENVINO, 1.0), (OURS, TORCH, 1.0), (NEXT, FIRST, 0.55)),
    ),
    "t5": Encoder(
        "T5-v1.1-XXL",
        T5EncoderModel,
        24,
        "num_layers",
        256,
        ((OURS, OPENVINO, 1.0), (OURS, TORCH, 1.0), (BYTES, OURS, 1.1), (NIBBLES, OURS, 1.1)),
    ),
}


def ids(tokens: int) -> np.ndarray:
    """A text."""
    return np.random.Generator(np.random.PCG64(0)).integers(4, 32_000, (1, tokens))


def ours(network: type[Any], folder: Path, half: bool, tokens: int) -> Step:
    """An encoder of ours."""
    encoder, engine = network.from_pretrained(folder, mindspore_dtype="bfloat16" if half else None), engines.get()
    text = ids(tokens)
    return lambda: encoder.encode_with(engine, text)


def behind_an_instruction(folder: Path, half: bool, tokens: int, instruction: int) -> dict[str, Step]:
    """Gemma of ours, whose one graph serves all three."""
    network, engine = Gemma2Model.from_pretrained(folder, mindspore_dtype="bfloat16" if half else None), engines.get()
    text = ids(tokens)
    beginning = text[0, :instruction].tolist()

    def first() -> object:
        network.forget_beginnings()
        return network.encode_with(engine, text, None, beginning)

    return {
        OURS: lambda: network.encode_with(engine, text),
        FIRST: first,
        NEXT: lambda: network.encode_with(engine, text, None, beginning),
    }


@functools.cache
def reference(name: str, folder: Path, half: bool) -> Any:
    import torch
    import transformers

    kind = getattr(transformers, name)
    return kind.from_pretrained(folder, dtype=torch.bfloat16 if half else torch.float32).eval()


def transformers(name: str, folder: Path, half: bool, tokens: int) -> Step:
    """The reference library, without a cache of keys and values."""
    import torch

    network, text = reference(name, folder, half), torch.from_numpy(ids(tokens))
    options = {"use_cache": False} if name == "Gemma2Model" else {}

    @torch.inference_mode()
    def step() -> object:
        return network(text, torch.ones_like(text), **options).last_hidden_state.float().numpy()

    return step


def converted(name: str, folder: Path, half: bool, tokens: int) -> Step:
    """OpenVINO's own conversion of the reference, for any length."""
    import openvino as ov
    import torch

    class Positional(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = reference(name, folder, half=False)

        def forward(self, text, mask):
            if name != "Gemma2Model":
                return self.network(text, mask, return_dict=False)[0]
            masks = {"full_attention": mask, "sliding_attention": mask}  # what makes them cannot be traced
            return self.network(text, masks, use_cache=False, return_dict=False)[0]

    if name == "Gemma2Model":
        mask, shape = np.tril(np.ones((1, 1, tokens, tokens), bool)), [1, 1, -1, -1]
    else:
        mask, shape = np.ones((1, tokens), np.int64), [1, -1]
    with torch.no_grad():
        example = (torch.from_numpy(ids(tokens)), torch.from_numpy(mask))
        graph = ov.convert_model(Positional(), example_input=example, input=[[1, -1], shape])
    settings = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(graph, "CPU", settings)
    return lambda: compiled([ids(tokens), mask])[0]


def write_bytes(network: type[Any], source: Path, folder: Path) -> None:
    """The same network with its weights in 8 bits."""
    encoder = network.from_pretrained(source, mindspore_dtype="bfloat16")
    round_weights(encoder, Int8Config(), Int8Plan({}))
    encoder.save_pretrained(folder)


def write_nibbles(network: type[Any], source: Path, folder: Path) -> None:
    """The same network with its weights in 4 bits, those of its embeddings in 8."""
    encoder = network.from_pretrained(source, mindspore_dtype="bfloat16")
    print(round_network(encoder, WeightOnlyConfig(), Int8Plan({}), at_once=False).words)
    encoder.save_pretrained(folder)


def peak(network: type[Any], folder: Path, half: bool, tokens: int) -> int:
    """Encode twice; the most memory that this process had, in bytes."""
    step = ours(network, folder, half, tokens)
    step()
    step()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def apart(function: Callable[..., Any], *arguments: object) -> Any:
    """Run a function in a process of its own, whose memory goes with it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(steps: dict[str, Step], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=ENCODERS, default="gemma2")
    parser.add_argument("--layers", type=int, help="fewer than the model has: all of them are alike")
    parser.add_argument("--tokens", type=int, help="of the text; 300 for Gemma, 256 for T5")
    parser.add_argument("--instruction", type=int, default=220, help="how many are the instruction's, for Gemma")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--half", action="store_true", help="bfloat16 instead of float32")
    parser.add_argument("--busy", action="store_true", help="count the processor's seconds: others use the machine")
    names = ("ours", "ours8", "ours4")
    parser.add_argument("--memory", choices=names, help="report this one's peak memory instead of times")
    parser.add_argument("--folder", type=Path, help="where to keep the weights for the next run")
    parser.add_argument("--json", type=Path, help="write every measured second here")
    candidates = ("ours", "ours8", "ours4", "openvino", "transformers")
    parser.add_argument("--only", choices=candidates, nargs="+", help="leave the others out")
    arguments = parser.parse_args()
    encoder, half = ENCODERS[arguments.model], arguments.half
    layers, tokens = arguments.layers or encoder.layers, arguments.tokens or encoder.tokens
    wanted = [arguments.memory] if arguments.memory else arguments.only or candidates
    name, title = encoder.network.__name__, f"{encoder.title}, {layers} layers of {encoder.layers}, {tokens} tokens"
    console = Console()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)) / f"{arguments.model}-{layers}"
        kinds = {"ours8": (BYTES, "int8", write_bytes), "ours4": (NIBBLES, "int4", write_nibbles)}
        rounded = {each: folder.with_name(f"{folder.name}-{suffix}") for each, (_, suffix, _) in kinds.items()}
        if not folder.exists():
            write_random_network(encoder.network, {encoder.layers_field: layers}, folder)
        for each, (_, _, write) in kinds.items():
            if arguments.model == "t5" and each in wanted and not rounded[each].exists():
                apart(write, encoder.network, folder, rounded[each])
        if arguments.memory:
            most = apart(peak, encoder.network, rounded.get(arguments.memory, folder), half, tokens)
            console.print(f"{title}: {arguments.memory}, {most / 1e9:.2f} GB at most")
            return
        steps: dict[str, Step] = {}
        peers = all(importlib.util.find_spec(library) for library in ("torch", "transformers"))
        if "openvino" in wanted and peers:
            steps[OPENVINO] = converted(name, folder, half, tokens)
        if "ours" in wanted and arguments.model == "gemma2":
            steps |= behind_an_instruction(folder, half, tokens, arguments.instruction)
        elif "ours" in wanted:
            steps[OURS] = ours(encoder.network, folder, half, tokens)
        for each, (label, _, _) in kinds.items():
            if each in wanted and rounded[each].exists():
                steps[label] = ours(encoder.network, rounded[each], half, tokens)
        if "transformers" in wanted and peers:
            steps[TORCH] = transformers(name, folder, half, tokens)
        seconds = measure(steps, arguments.rounds, time.process_time if arguments.busy else time.perf_counter)

    table = Table("candidate", "median s", "min s", "max s", title=title)
    for candidate, values in seconds.items():
        table.add_row(candidate, *(f"{f(values):.2f}" for f in (statistics.median, min, max)))
    console.print(table)
    for over, under, bar in encoder.bars:
        if over in seconds and under in seconds:
            # The ratio within each round, so that both saw the same machine.
            ratio = statistics.median(a / b for a, b in zip(seconds[over], seconds[under]))
            console.print(f"{over} / {under}: {ratio:.3f} (bar ≤ {bar})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "seconds": seconds}, indent=2))


if __name__ == "__main__":
    main()
