"""The tiny checkpoints as pipelines, made once a test run."""

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import numpy as np

from checkpoints import TINY_AUTOENCODER, tiny, write_model
from mindone.diffusers import AutoencoderTiny, DiffusionPipeline
from mindone.diffusers.schedulers import SCHEDULERS
from mindone.diffusers.tune.clock import Clock

PROMPT = "a red cat sitting on a mat"

_folder = tempfile.TemporaryDirectory(prefix="tiny-checkpoints-")


@functools.cache
def checkpoint(family: str, safety_checker: bool = False) -> Path:
    """The folder of a family's tiny checkpoint; copy it before changing anything in it."""
    name = f"{family}-checked" if safety_checker else family
    return tiny(family, Path(_folder.name) / name, safety_checker=safety_checker)


@functools.cache
def tiny_autoencoder_folder() -> Path:
    """The folder of a tiny autoencoder of our own, shaped like TAESD."""
    return write_model(AutoencoderTiny, TINY_AUTOENCODER, Path(_folder.name) / "taesd")


def load(folder, **options):
    """A pipeline on OpenVINO, without a progress bar."""
    pipe = DiffusionPipeline.from_pretrained(folder, **{"engine": "openvino", **options})
    pipe.set_progress_bar_config(disable=True)
    return pipe


@functools.cache
def _shared(family: str, engine: str):
    pipe = load(checkpoint(family), engine=engine)
    pipe.set_compiled_limit(16)
    return pipe


def sharing(family: str, engine: str = "openvino"):
    """A pipeline of one's own on networks that it shares, with what was compiled for them: leave those as they are."""
    shared = _shared(family, engine)
    pipe = type(shared).from_pipe(shared)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def images_of(pipe, seed=0, **options) -> np.ndarray:
    """Images after two steps."""
    arguments = {"prompt": PROMPT, "num_inference_steps": 2, "output_type": "np", **options}
    if "generator" not in arguments:
        arguments["generator"] = np.random.default_rng(seed)
    return pipe(**arguments).images


def put_scheduler(monkeypatch, pipes, name: str) -> None:
    """A scheduler of the class into the reference's pipeline and ours, with the checkpoint's settings, for one test."""
    import diffusers

    theirs, ours = pipes
    monkeypatch.setattr(theirs, "scheduler", getattr(diffusers, name).from_config(theirs.scheduler.config))
    monkeypatch.setattr(ours, "scheduler", SCHEDULERS[name].from_config(ours.scheduler.config))


def let_time_tick(monkeypatch) -> None:
    """Let `tune` see 0.8 seconds pass whenever it asks, so that its search is short and the same on any machine."""
    ticks = count()
    monkeypatch.setattr(Clock, "gone", property(lambda self: 0.8 * next(ticks)))


def _ip_adapters() -> Path:
    from adapter_cases import ip_adapter_folder  # which needs this module

    return ip_adapter_folder("sd1", "plain")


PUBLISHED = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": lambda: checkpoint("sd1", safety_checker=True),
    "nota-ai/bk-sdm-small": lambda: checkpoint("bk_sdm"),
    "madebyollin/taesd": tiny_autoencoder_folder,
    "h94/IP-Adapter": _ip_adapters,
}
"""The tiny checkpoint that stands in for each hub id of the documentation."""


def hub_cache(cache: Path, published: Mapping[str, Callable[[], Path]] = PUBLISHED) -> dict[str, str]:
    """Fill a cache with repositories as the hub leaves them. Returns the environment of a process that reads it."""
    for name, folder in published.items():
        repository = cache / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder(), repository / "snapshots" / "0123abcd")
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("0123abcd")
    return {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
