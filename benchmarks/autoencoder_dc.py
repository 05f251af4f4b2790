"""Decoding latents of Sana with a DC-AE of the published size, compared with the installed peers, in one run.

    python benchmarks/autoencoder_dc.py [--side 1024] [--rounds 3] [--half] [--only ours openvino …] [--folder FOLDER]

One image, random weights: only times. All candidates have the same weights and take turns round by round, there and
back. Next to the wall clock it prints the process's CPU seconds, which a busy machine spoils less. The tiny decoder has
the layers of TAESANA. ``--memory`` runs one candidate alone and reports the process's peak memory.
"""

import argparse
import importlib.util
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mindone.diffusers import AutoencoderDC, AutoencoderTiny, engines
from mindone.diffusers.models.random_weights import write_random_network

DC_AE = {
    "encoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
    "decoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
    "upsample_block_type": "interpolate",
    "downsample_block_type": "Conv",
    "scaling_factor": 0.41407,
}
TAESANA = {
    "latent_channels": 32,
    "encoder_stem_channels": [32],
    "num_encoder_blocks": [1, 3, 3, 3],
    "decoder_block_out_channels": [256, 128, 64, 64, 64, 64],
    "num_decoder_blocks": [3, 3, 3, 3, 3, 1],
}
OURS, TINY, CONVERTED, DIFFUSERS = "ours", "ours, tiny", "OpenVINO's conversion", "diffusers"
PEERS = {"ours": OURS, "tiny": TINY, "openvino": CONVERTED, "diffusers": DIFFUSERS}
BARS = [(OURS, CONVERTED, "≤", 0.93), (TINY, OURS, "≤", 1 / 12)]

Decode = Callable[[], np.ndarray]


def latents(side: int) -> np.ndarray:
    """Latents of one image of that many pixels a side."""
    return np.random.Generator(np.random.PCG64(0)).standard_normal((1, 32, side // 32, side // 32)).astype(np.float32)


def ours(folder: Path, cls: type, side: int, half: bool) -> Decode:
    """A decoder of ours on the OpenVINO engine."""
    vae, engine, z = cls.from_pretrained(folder), engines.get("openvino"), latents(side)
    vae.to("float16" if half else "float32")
    return lambda: vae.decode_with(engine, z)


def diffusers(folder: Path, side: int, half: bool) -> Decode:
    """The reference library."""
    import torch
    from diffusers import AutoencoderDC as Reference

    dtype = torch.bfloat16 if half else torch.float32
    vae = Reference.from_pretrained(folder, torch_dtype=dtype, low_cpu_mem_usage=False).eval()
    if half:
        vae = vae.to(memory_format=torch.channels_last)
    z = torch.from_numpy(latents(side)).to(dtype)

    @torch.inference_mode()
    def decode() -> np.ndarray:
        return vae.decode(z).sample.float().numpy()

    return decode


def converted(folder: Path, side: int, half: bool) -> Decode:
    """The reference's decoder through OpenVINO's PyTorch front end, saved as float16; made once a folder and size."""
    import openvino as ov

    target, z = folder / f"converted-{side}.xml", latents(side)
    if not target.exists():
        import torch
        from diffusers import AutoencoderDC as Reference

        decoder, small = Reference.from_pretrained(folder, low_cpu_mem_usage=False).eval().decoder, latents(256)
        with torch.no_grad():
            graph = ov.convert_model(decoder, example_input=torch.from_numpy(small), input=[list(z.shape)])
        ov.save_model(graph, target)
    settings = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(target, "CPU", settings)
    return lambda: compiled([z])[0]


def measure(decoders: dict[str, Decode], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the clock and of the processor, the candidates taking turns; one untimed turn each first."""
    for decode in decoders.values():
        decode()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in decoders}
    for number in range(rounds):
        for name in reversed(decoders) if number % 2 else decoders:
            start, computed = time.perf_counter(), time.process_time()
            decoders[name]()
            seconds[name].append((time.perf_counter() - start, time.process_time() - computed))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="pixels of the image along each side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--half", action="store_true", help="half precision instead of float32")
    parser.add_argument("--only", choices=PEERS, nargs="+", default=list(PEERS), help="leave the others out")
    parser.add_argument("--memory", choices=PEERS, help="run this one alone, and report the peak of the process")
    parser.add_argument("--folder", type=Path, help="where to keep the weights for the next run")
    parser.add_argument("--json", type=Path, help="write every measured second here")
    arguments = parser.parse_args()
    side, half = arguments.side, arguments.half
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        for cls, config, name in ((AutoencoderDC, DC_AE, "dc-ae"), (AutoencoderTiny, TAESANA, "taesana")):
            if not (root / name).exists():
                write_random_network(cls, config, root / name)
        makers: dict[str, Callable[[], Decode]] = {
            "openvino": lambda: converted(root / "dc-ae", side, half),
            "ours": lambda: ours(root / "dc-ae", AutoencoderDC, side, half),
            "tiny": lambda: ours(root / "taesana", AutoencoderTiny, side, half),
            "diffusers": lambda: diffusers(root / "dc-ae", side, half),
        }
        if not all(importlib.util.find_spec(name) for name in ("torch", "diffusers")):
            del makers["openvino"], makers["diffusers"]
        if arguments.memory:
            makers[arguments.memory]()()
            print(
                f"{PEERS[arguments.memory]}: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most"
            )
            return
        decoders = {PEERS[name]: make() for name, make in makers.items() if name in arguments.only}
        seconds = measure(decoders, arguments.rounds)
    table = Table(
        "candidate", "median s", "min s", "max s", "median s computed", title=f"Decoding {side}×{side} pixels"
    )
    for name, values in seconds.items():
        walls, computed = zip(*values)
        figures = (*(f(walls) for f in (statistics.median, min, max)), statistics.median(computed))
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    console = Console()
    console.print(table)
    for over, under, sign, bar in BARS:
        if over in seconds and under in seconds:
            # The ratio within each round, so that both saw the same machine.
            wall, computed = (
                statistics.median(a[i] / b[i] for a, b in zip(seconds[over], seconds[under])) for i in range(2)
            )
            console.print(f"{over} / {under}: {wall:.3f}, computed {computed:.3f} (bar {sign} {bar:.3g})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "seconds": seconds}, indent=2))


if __name__ == "__main__":
    main()
