"""Time a call of FLUX.1's blocks with the weights of a GGUF file beside the same in bfloat16: processor seconds.

    PYTHONPATH=tests python benchmarks/gguf_step.py --types Q4_0 Q4_K Q8_0
    PYTHONPATH=tests python benchmarks/gguf_step.py --types Q4_0 --blocks 5 10

Weights are random, in the published widths; the picture is 512×512, the text has 256 tokens. Calls of all set-ups take
turns, so that a busy machine slows them all; the least of each counts. Each set-up runs in a process of its own, which
also says what memory it takes and what the first call takes beyond the others: unpacking, compiling and packing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

CONFIG = {
    "_class_name": "FluxTransformer2DModel",
    "in_channels": 64,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "axes_dims_rope": [16, 56, 56],
}
SIDE, TOKENS = 32, 256


def write(folder: Path, kind: str, blocks: tuple[int, int]) -> Path:
    """A file whose large matrices are of the type, and its config beside it."""
    from gguf_files import random_blocks, write_gguf
    from mindone.diffusers import FluxTransformer2DModel
    from mindone.diffusers.loading.safetensors import StoredTensor

    config = {**CONFIG, "num_layers": blocks[0], "num_single_layers": blocks[1]}
    (folder / "config.json").write_text(json.dumps(config))
    random, made, tensors = np.random.default_rng(0), {}, {}
    for name, shape in FluxTransformer2DModel(**config).published_shapes().items():
        is_large = len(shape) == 2 and shape[0] > 64 and shape[1] % 256 == 0
        if (shape, is_large) not in made:
            values = random.standard_normal(shape, np.float32) * np.float32(0.02)
            half = StoredTensor.from_numpy(values).cast("bfloat16" if len(shape) > 1 else "float32")
            made[shape, is_large] = half if kind == "BF16" or not is_large else random_blocks(kind, *shape)
        tensors[name] = made[shape, is_large]
    return write_gguf(folder / f"{kind}.gguf", tensors, "flux")


def worker(pipe: Connection, path: Path) -> None:
    """Answer each message with the processor seconds of a call, and the peak memory so far."""
    from mindone.diffusers import FluxTransformer2DModel
    from mindone.diffusers.utils.machine import peak_memory

    network = FluxTransformer2DModel.from_single_file(path, config=path.parent, mindspore_dtype="bfloat16")
    random = np.random.default_rng(0)
    places = np.stack(np.meshgrid([0], range(SIDE), range(SIDE), indexing="ij"), -1).reshape(-1, 3)
    inputs = {
        "encoder_hidden_states": random.standard_normal((1, TOKENS, CONFIG["joint_attention_dim"]), np.float32),
        "pooled_projections": random.standard_normal((1, CONFIG["pooled_projection_dim"]), np.float32),
        "timestep": np.array([0.5], np.float32),
        "img_ids": places.astype(np.float32),
        "txt_ids": np.zeros((TOKENS, 3), np.float32),
    }
    latents = random.standard_normal((1, SIDE * SIDE, CONFIG["in_channels"]), np.float32)
    while pipe.recv():
        began = time.process_time()
        network(latents, **inputs)
        pipe.send((time.process_time() - began, peak_memory()))


def main() -> None:
    """Print a line for each set-up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--types", nargs="+", default=["Q4_0", "Q4_K", "Q8_0"], metavar="TYPE")
    parser.add_argument("--blocks", type=int, nargs=2, default=(1, 1), metavar="N", help="double and single ones")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        setups = {}
        for kind in ("BF16", *options.types):
            ours, theirs = context.Pipe()
            path = write(Path(name), kind, tuple(options.blocks))
            process = context.Process(target=worker, args=(theirs, path), daemon=True)
            process.start()
            setups[kind] = (ours, process, path.stat().st_size)
        seconds: dict[str, list[float]] = {kind: [] for kind in setups}
        peaks = {}
        for _ in range(options.rounds + 1):
            for kind, (pipe, *_) in setups.items():
                pipe.send(True)
                spent, peaks[kind] = pipe.recv()
                seconds[kind].append(spent)
        plain = min(seconds["BF16"][1:])
        for kind, (pipe, process, nbytes) in setups.items():
            pipe.send(False)
            process.join()
            least = min(seconds[kind][1:])
            print(
                f"{kind}: file {nbytes / 1e9:.2f} GB, call {least:.2f} s ({least / plain:.2f} of BF16), first call "
                f"{seconds[kind][0] - least:.1f} s more, peak {peaks[kind] / 1e9:.2f} GB"
            )


if __name__ == "__main__":
    main()
