"""What every training stage shares: where files lie, the clock, resuming, averaging, the optimizer and the sheets."""

import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
RUNS = HERE / "runs"
CHECKPOINTS = HERE.parent / "src/mindone/diffusers/checkpoints"


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


def orthogonalize(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest semi-orthogonal matrix, nearly: the quintic Newton-Schulz iteration of Jordan et al. (2024), "Muon"."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each weight matrix is orthogonalized; convolutions count as (out, in * kernel) matrices.

    The update is scaled to AdamW's usual size, 0.2 * sqrt(larger side), so that both share a learning rate (Liu et al.
    2025, "Muon is scalable for LLM training", section 2.2).
    """

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                nesterov = parameter.grad.lerp(state["momentum"], group["momentum"])
                update = orthogonalize(nesterov.reshape(len(nesterov), -1))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                scale = 0.2 * math.sqrt(max(update.shape))
                parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * scale)


class Optimizers:
    """Muon for the hidden matrices of ``modules``, AdamW for embeddings, norms, biases and thin layers."""

    def __init__(self, modules: list[torch.nn.Module], lr: float, weight_decay: float = 0.0):
        hidden, rest = [], []
        for module in modules:
            for name, parameter in module.named_parameters():
                matrix = parameter.ndim >= 2 and "embedding.weight" not in name and len(parameter) >= 16
                (hidden if matrix else rest).append(parameter)
        self.lr = lr
        self.optimizers = [
            Muon(hidden, lr, weight_decay=weight_decay),
            torch.optim.AdamW(rest, lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.parameters = hidden + rest

    def step(self, factor: float, max_norm: float = 1.0) -> None:
        """One update at ``factor`` times the learning rate, gradients clipped, then cleared."""
        torch.nn.utils.clip_grad_norm_(self.parameters, max_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def save(state: dict, stage: str) -> None:
    """Write ``training/runs/<stage>.pt`` so that a crash leaves the old file or the new one, never half of one."""
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


def prepare(seed: int, threads: int = 2) -> None:
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
