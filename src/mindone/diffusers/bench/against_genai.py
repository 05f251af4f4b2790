"""A row of OpenVINO GenAI: the checkpoint as converted by optimum-intel, with GenAI's own defaults.

These include a forecast of steps for Stable Diffusion 3 and FLUX.1 (TaylorSeer), and half precision if the CPU has it.
"""

import functools
import importlib.util
import multiprocessing.util
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..jobs import Job
from ..loading.config import read_config, write_config
from ..schedulers import SHORT_NAMES, by_name, draw_noise
from ..utils.errors import one_line
from .clock import StageClock
from .setups import Setup

if TYPE_CHECKING:
    from PIL.Image import Image

PACKAGES = ("openvino_genai", "openvino_tokenizers", "optimum.intel", "diffusers", "transformers", "torch")
NAMES = {
    "openvino_genai": "openvino-genai",
    "openvino_tokenizers": "openvino-tokenizers",
    "optimum.intel": "optimum-intel",
}
"""The names under which packages are installed, if they differ."""
SCHEDULERS = {
    "DDIMScheduler": "DDIM",
    "EulerDiscreteScheduler": "EULER_DISCRETE",
    "FlowMatchEulerDiscreteScheduler": "FLOW_MATCH_EULER_DISCRETE",
    "LMSDiscreteScheduler": "LMS_DISCRETE",
    "PNDMScheduler": "PNDM",
}
"""The schedulers of GenAI that draw no noise of their own, with its names for them."""
_CONFIG = "scheduler_config.json"
_EXPORT = Path(__file__).with_name("genai_export.py")


def check(scheduler: str | None) -> None:
    """Check that the packages are installed and that GenAI has the scheduler.

    Raises:
        ValueError: a package or the scheduler is missing.
    """
    absent = [NAMES.get(package, package) for package in PACKAGES if not _is_there(package)]
    if absent:
        raise ValueError(f"--against openvino-genai needs {', '.join(absent)}: pip install {' '.join(absent)}")
    if scheduler and SHORT_NAMES[scheduler].class_name not in SCHEDULERS:
        known = [name for name, named in SHORT_NAMES.items() if named.class_name in SCHEDULERS and not named.options]
        raise ValueError(f"OpenVINO GenAI has no {scheduler}; give --scheduler as one of {', '.join(known)}")


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


class Runner:
    """The same checkpoint in GenAI's pipeline, given the same noise as ours."""

    def __init__(self, setup: Setup, clock: StageClock):
        import openvino_genai

        folder = exported(setup.model.folder)
        named = SHORT_NAMES[str(setup.job.scheduler)]
        own = read_config(setup.model.folder / "scheduler", _CONFIG)
        asked = {**by_name(str(setup.job.scheduler), own).config, "_class_name": named.class_name}
        write_config(folder / "asked", asked, _CONFIG)
        kind = getattr(openvino_genai.Scheduler.Type, SCHEDULERS[named.class_name])
        self.pipe = openvino_genai.Text2ImagePipeline(str(folder), "CPU")
        self.pipe.set_scheduler(openvino_genai.Scheduler.from_config(str(folder / "asked" / _CONFIG), kind))
        self.size = setup.model.image_size(setup.job.height, setup.job.width)
        self.engine, self.clock = f"OpenVINO GenAI {openvino_genai.__version__}", clock

    def draw(self, job: Job) -> "list[Image]":
        """The job's images, one per seed."""
        from PIL import Image

        began = time.perf_counter()
        options: dict[str, Any] = {
            "num_inference_steps": job.steps,
            "num_images_per_prompt": job.num_images,
            "height": self.size[0],
            "width": self.size[1],
            "generator": _noise(job),
            "callback": self._step,
        }
        given = {"guidance_scale": job.guidance_scale, "negative_prompt": job.negative_prompt}
        options |= {name: value for name, value in given.items() if value is not None}
        made = self.pipe.generate(job.prompt, **options)
        self._account(time.perf_counter() - began, job)
        return [Image.fromarray(each) for each in np.array(made.data)]

    def _step(self, step: int, count: int, latents: object) -> bool:
        """Count a step; False makes GenAI go on."""
        self.clock.on_step()
        return False

    def _account(self, seconds: float, job: Job) -> None:
        """Stages and calls as measured by GenAI itself, in milliseconds and microseconds."""
        metrics = self.pipe.get_performance_metrics()
        raw = metrics.raw_metrics
        calls = [*raw.unet_inference_durations, *raw.transformer_inference_durations]
        text = sum(metrics.get_text_encoder_infer_duration().values()) / 1000
        decode = metrics.get_vae_decoder_infer_duration() / 1000
        clock = self.clock
        clock.stages = {"text_encoder": text, "denoising": seconds - text - decode, "decode": decode}
        clock.stage, clock.entered = "decode", time.perf_counter()
        for _ in calls:
            clock.calls.add(single=job.guidance_scale is not None and job.guidance_scale <= 1)


@functools.cache
def exported(model: Path) -> Path:
    """The folder of a converted checkpoint, kept until this process ends.

    Raises:
        ValueError: the conversion failed.
    """
    scratch = tempfile.mkdtemp(prefix="mindone-genai-")
    multiprocessing.util.Finalize(None, shutil.rmtree, args=(scratch, True), exitpriority=0)
    folder = Path(scratch) / "model"
    command = [sys.executable, str(_EXPORT), str(model), str(folder)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise ValueError(f"optimum-intel could not convert {model}: {one_line(made.stderr.strip()[-300:])}")
    return folder


def _noise(job: Job) -> Any:
    """The noise of our images, in the form that GenAI wants."""
    import openvino
    import openvino_genai

    generators = [np.random.Generator(np.random.PCG64(seed)) for seed in job.seeds]

    class Noise(openvino_genai.Generator):
        """Our noise."""

        def next(self) -> float:
            return float(generators[0].standard_normal())

        def randn_tensor(self, shape: Any) -> Any:
            return openvino.Tensor(np.asarray(draw_noise(np.empty(tuple(shape), np.float32), generators)))

    return Noise()
