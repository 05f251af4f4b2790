"""Gemma-2-2B as a text encoder, beside the peers that are installed, in one run.

    python benchmarks/text_encoder.py [--layers 26] [--tokens 300] [--instruction 220] [--half] [--busy]

Random weights in the published size, times only. All candidates have the same weights and read the same text of
``--tokens`` tokens, where the first ``--instruction`` stand for an instruction that never changes; they take turns
round by round, every second round in the opposite order. "The next prompt" finds the instruction's keys and values
computed; "the first prompt" does not. All layers are alike, so fewer ``--layers`` give the same ratios in less memory:
the embeddings alone take 2.4 GB in float32, a layer 0.3 GB. The weights are written to a temporary folder, or kept in
``--folder``.
"""

import argparse
import functools
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

from mindone.diffusers import engines
from mindone.diffusers.models.random_weights import write_random_network
from mindone.transformers import Gemma2Model

OURS, FIRST, NEXT = "ours, all tokens", "ours, the first prompt", "ours, the next prompt"
OPENVINO, TORCH = "OpenVINO's conversion", "transformers"
BARS = [(OURS, OPENVINO, 1.0), (OURS, TORCH, 1.0), (NEXT, FIRST, 0.55)]

Step = Callable[[], object]


def ids(tokens: int) -> np.ndarray:
    """A text."""
    return np.random.Generator(np.random.PCG64(0)).integers(4, 250_000, (1, tokens))


def ours(folder: Path, half: bool, tokens: int, instruction: int) -> dict[str, Step]:
    """Our encoder, whose one graph serves all three."""
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
def reference(folder: Path, half: bool) -> object:
    import torch
    from transformers import Gemma2Model as Reference

    return Reference.from_pretrained(folder, dtype=torch.bfloat16 if half else torch.float32).eval()


def transformers(folder: Path, half: bool, tokens: int) -> Step:
    """The reference library, without a cache of keys and values."""
    import torch

    network, text = reference(folder, half), torch.from_numpy(ids(tokens))

    @torch.inference_mode()
    def step() -> object:
        return network(text, torch.ones_like(text), use_cache=False).last_hidden_state.float().numpy()

    return step


def converted(folder: Path, half: bool, tokens: int) -> Step:
    """OpenVINO's own conversion of the reference, for any length."""
    import openvino as ov
    import torch

    class Positional(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = reference(folder, half=False)

        def forward(self, text, mask):  # with masks made outside: what makes them cannot be traced
            masks = {"full_attention": mask, "sliding_attention": mask}
            return self.network(text, masks, use_cache=False, return_dict=False)[0]

    mask = np.tril(np.ones((1, 1, tokens, tokens), bool))
    with torch.no_grad():
        example = (torch.from_numpy(ids(tokens)), torch.from_numpy(mask))
        graph = ov.convert_model(Positional(), example_input=example, input=[[1, -1], [1, 1, -1, -1]])
    settings = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(graph, "CPU", settings)
    return lambda: compiled([ids(tokens), mask])[0]


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
    parser.add_argument("--layers", type=int, default=26)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--instruction", type=int, default=220)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--half", action="store_true", help="bfloat16 instead of float32")
    parser.add_argument("--busy", action="store_true", help="count the processor's seconds: others use the machine")
    parser.add_argument("--folder", type=Path, help="where to keep the weights for the next run")
    parser.add_argument("--json", type=Path, help="write every measured second here")
    parser.add_argument("--only", choices=("ours", "openvino", "transformers"), nargs="+", help="leave the others out")
    arguments = parser.parse_args()
    wanted = arguments.only or ("openvino", "ours", "transformers")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)) / f"gemma2-{arguments.layers}"
        if not folder.exists():
            write_random_network(Gemma2Model, {"num_hidden_layers": arguments.layers}, folder)
        steps: dict[str, Step] = {}
        peers = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
        if "openvino" in wanted and peers:
            steps[OPENVINO] = converted(folder, arguments.half, arguments.tokens)
        if "ours" in wanted:
            steps |= ours(folder, arguments.half, arguments.tokens, arguments.instruction)
        if "transformers" in wanted and peers:
            steps[TORCH] = transformers(folder, arguments.half, arguments.tokens)
        seconds = measure(steps, arguments.rounds, time.process_time if arguments.busy else time.perf_counter)

    title = f"Gemma-2-2B, {arguments.layers} layers of 26, {arguments.tokens} tokens"
    table = Table("candidate", "median s", "min s", "max s", title=title)
    for name, values in seconds.items():
        table.add_row(name, *(f"{f(values):.2f}" for f in (statistics.median, min, max)))
    console = Console()
    console.print(table)
    for over, under, bar in BARS:
        if over in seconds and under in seconds:
            # The ratio within each round, so that both saw the same machine.
            ratio = statistics.median(a / b for a, b in zip(seconds[over], seconds[under]))
            console.print(f"{over} / {under}: {ratio:.3f} (bar ≤ {bar})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "seconds": seconds}, indent=2))


if __name__ == "__main__":
    main()
