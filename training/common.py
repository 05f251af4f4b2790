"""What every training stage shares: where files lie, the clock, workers, resuming, averaging and the sheets."""

import math
import os
import time
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


class Clock:
    """Seconds of training, pauses left out: a step counts for at most ``longest_step`` seconds."""

    def __init__(self, elapsed: float = 0.0, longest_step: float = 10.0):
        self.elapsed = elapsed
        self.longest_step = longest_step
        self.last = time.monotonic()

    def tick(self) -> float:
        now = time.monotonic()
        self.elapsed += min(now - self.last, self.longest_step)
        self.last = now
        if dist.is_initialized():  # workers must agree on the last step
            shared = torch.tensor(self.elapsed, dtype=torch.float64)
            dist.broadcast(shared, 0)
            self.elapsed = shared.item()
        return self.elapsed


class Every:
    """True once every ``seconds`` of wall-clock time, not at the start."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.last = time.monotonic()

    def __call__(self) -> bool:
        due = time.monotonic() - self.last >= self.seconds
        if due:
            self.last = time.monotonic()
        return due


def cosine(progress: float, warmup: float = 0.02, floor: float = 0.01) -> float:
    """Learning-rate factor at ``progress`` in [0, 1] of a stage: linear warm-up, then a cosine down to ``floor``."""
    if progress < warmup:
        return max(progress / warmup, 0.02)
    fraction = min((progress - warmup) / (1 - warmup), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fraction))


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


def save(state: dict, stage: str) -> None:
    """Write ``training/runs/<stage>.pt`` so that a crash leaves the old file or the new one, never half of one."""
    if rank() > 0:
        return
    RUNS.mkdir(parents=True, exist_ok=True)
    partial = RUNS / f"{stage}.pt.partial"
    torch.save(state, partial)
    os.replace(partial, RUNS / f"{stage}.pt")


def load(stage: str) -> dict | None:
    path = RUNS / f"{stage}.pt"
    return torch.load(path, weights_only=True) if path.exists() else None


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
