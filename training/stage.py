"""The common parts of all training stages: options, resuming from a file, the learning rate schedule, the log,
saving."""

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
import torch.distributed as dist

from common import RUNS, Ema, prepare, rank, seed_worker, workers
from optimizers import Optimizers, Together

REPORT_EVERY, SAVE_EVERY = 60, 180  # seconds


def begin(description: str, seed: int, hours: float, lr: float, batch: int, **flags: str) -> argparse.Namespace:
    """Parse the options of a stage with these defaults; then fix the seed and join the other workers.

    ``flags`` are further options without a value: their names and help.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--hours", type=float, default=hours, help="total training time, without pauses")
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--batch", type=int, default=batch, help="pictures per step; a whole one counts as four crops")
    for flag, meaning in flags.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", action="store_true", help=meaning)
    options = parser.parse_args()
    prepare(seed)
    RUNS.mkdir(parents=True, exist_ok=True)
    return options


def save(state: dict, stage: str) -> None:
    """Write ``training/runs/<stage>.pt`` so that a crash leaves the old file or the new one, never half of one."""
    partial = RUNS / f"{stage}.pt.partial"
    torch.save(state, partial)
    os.replace(partial, RUNS / f"{stage}.pt")


def load(stage: str) -> dict | None:
    path = RUNS / f"{stage}.pt"
    return torch.load(path, weights_only=True) if path.exists() else None


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


class Stage:
    """A stage's steps, in the time that its options give it, going on from ``training/runs/<name>.pt`` where that is.

    The file holds the states of ``parts``, of the optimizers and of the moving average, and for the stages that come
    after it ``average``: the weights of ``averaged`` with the moving average in their place.
    """

    def __init__(
        self,
        name: str,
        options: argparse.Namespace,
        parts: dict[str, torch.nn.Module | torch.optim.Optimizer],
        optimizers: Optimizers | Together,
        ema: Ema | None = None,
        averaged: torch.nn.Module | None = None,
        warmup: float = 0.02,
    ):
        self.name, self.optimizers, self.ema, self.averaged, self.warmup = name, optimizers, ema, averaged, warmup
        self.kept = parts | {"optimizers": optimizers} | ({"ema": ema} if ema else {})
        self.seconds, self.batch = options.hours * 3600, options.batch // workers()
        self.step, self.clock, self.factor, self.running = 0, Clock(), 0.0, {}
        if state := load(name):
            if missing := self.kept.keys() - state.keys():
                raise ValueError(
                    f"{RUNS / name}.pt has no {', '.join(sorted(missing))} to resume from: another stage wrote "
                    "it. Move it away to restart this one"
                )
            for key, part in self.kept.items():
                part.load_state_dict(state[key])
            self.step, self.clock = state["step"], Clock(state["elapsed"])

    def steps(self, show: Callable[[], str] | None = None, show_every: float = 240) -> Iterator[float]:
        """Yields the fraction of time used, in [0, 1), before each step; the step then has to call ``update``.

        ``show`` writes the sample sheet and describes it, at regular intervals and at the end. The averaged weights are
        in place then.
        """
        if rank() == 0:
            count = sum(parameter.numel() for parameter in self.optimizers.parameters)
            print(f"{count / 1e6:.2f} M parameters, from step {self.step}", flush=True)
        seed_worker(self.step)
        report, look, checkpoint = Every(REPORT_EVERY), Every(show_every), Every(SAVE_EVERY)
        while (progress := self.clock.tick() / self.seconds) < 1:
            self.factor = cosine(progress, self.warmup)
            yield progress
            if rank() == 0:
                if report():
                    values = " ".join(f"{name} {value:.4g}" for name, value in self.running.items())
                    print(f"step {self.step} {self.clock.elapsed / 60:.1f} min {values}", flush=True)
                if show and look():
                    self.look(show)
                if checkpoint():
                    self.save()
        if rank() == 0:
            self.save()
            if show:
                self.look(show)

    def update(self, **measured: torch.Tensor) -> None:
        """One update from the current gradients; the log has the running means of ``measured``."""
        self.optimizers.step(self.factor)
        if self.ema:
            self.ema.update()
        self.step += 1
        for name, tensor in measured.items():
            value = tensor.item()
            self.running[name] = 0.97 * self.running.get(name, value) + 0.03 * value

    @torch.no_grad()
    def look(self, show: Callable[[], str]) -> None:
        with self.ema or nullcontext():
            print(show(), flush=True)

    def save(self) -> None:
        state = {key: part.state_dict() for key, part in self.kept.items()}
        if self.averaged is not None:
            with self.ema:
                state["average"] = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}
        save(state | {"step": self.step, "elapsed": self.clock.elapsed}, self.name)
