"""What training stages share besides their loop (``stage.py``): the location of files, averages, sheets and workers."""

import math
import os
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
RUNS = HERE / "runs"
CHECKPOINTS = HERE.parent / "src/mindone/diffusers/checkpoints"
# Products in bfloat16, weights and updates in float32: half the time on a CPU that has the instruction, ten times as
# long on one that has not.
HAS_BFLOAT16 = torch.cpu.get_capabilities()["avx512_bf16"]
HALF_PRECISION = torch.autocast("cpu", torch.bfloat16, enabled=HAS_BFLOAT16)
MEMORY_FORMAT = torch.channels_last if HAS_BFLOAT16 else torch.contiguous_format  # whichever trains autoencoders faster


class Ema:
    """A moving average of a module's parameters whose horizon grows with the step up to ``decay``."""

    def __init__(self, module: torch.nn.Module, decay: float = 0.999):
        self.module = module
        self.decay = decay
        self.step = 0
        self.average = [p.detach().clone() for p in module.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.module.parameters()], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the module's parameters with their average; a second call exchanges them back."""
        for parameter, average in zip(self.module.parameters(), self.average, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

    def __enter__(self) -> torch.nn.Module:
        self.swap()
        return self.module

    def __exit__(self, *_) -> None:
        self.swap()

    def state_dict(self) -> dict:
        return {"step": self.step, "average": self.average}

    def load_state_dict(self, state: dict) -> None:
        self.step = state["step"]
        for average, stored in zip(self.average, state["average"], strict=True):
            average.copy_(stored)


def psnr(images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio of each image in dB, for values in [-1, 1]; (batch,)."""
    error = (images.clamp(-1, 1) - reference).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp(min=1e-10))


def sheet(images: torch.Tensor, columns: int) -> Image.Image:
    """Images (count, 3, height, width) in [-1, 1] as one picture, row by row."""
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    grid = torch.ones(rows * columns, channels, height, width)
    grid[:count] = images.detach().clamp(-1, 1)
    grid = grid.view(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    pixels = (grid.reshape(rows * height, columns * width, channels) * 127.5 + 127.5).round()
    return Image.fromarray(pixels.numpy().astype(np.uint8))


def prepare(seed: int) -> None:
    """Fix the seed and join the other workers.

    Under ``torchrun --nproc-per-node N`` every worker computes on one core and gradients are averaged. Where other
    programs want the cores too, that is far faster than one process whose threads keep waiting for each other.
    """
    torch.manual_seed(seed)
    if "WORLD_SIZE" in os.environ:
        torch.set_num_threads(1)
        dist.init_process_group("gloo")


def workers() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def seed_worker(step: int) -> None:
    """From here on every worker draws its own batches; a resumed run draws others than it has seen."""
    torch.manual_seed(1_000_000 * rank() + step)


def wait_for_workers() -> None:
    if dist.is_initialized():
        dist.barrier()


def sum_over_workers(tensors: list[torch.Tensor]) -> None:
    """Replace the tensors by their sums over all workers, in place."""
    if workers() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def average_over_workers(tensors: list[torch.Tensor]) -> None:
    """Replace the tensors by their means over all workers, in place."""
    sum_over_workers(tensors)
    torch._foreach_div_(tensors, workers())
