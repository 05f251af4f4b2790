"""From a job to its images."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ..schedulers.short_names import by_name
from .job import Job, PipelineKey

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..pipelines.base import Pipeline
    from ..pipelines.denoising import StepCallback


def load(key: PipelineKey, **components: Any) -> Pipeline:
    """The pipeline that draws a job, and every other job of the same ``pipeline_key``.

    Args:
        key: a job, or its ``pipeline_key``.
        components: components to use instead of the checkpoint's, as in ``Pipeline.from_pretrained``.

    Raises:
        ValueError, OSError: what ``Pipeline.from_pretrained`` raises.
    """
    from ..models.autoencoder_tiny import AutoencoderTiny
    from ..pipelines.auto import AutoPipelineForText2Image

    if key.tiny_vae is not None:
        components["vae"] = AutoencoderTiny.from_pretrained(key.tiny_vae, mindspore_dtype=key.dtype)
    if key.model.endswith(".safetensors"):
        if key.revision is not None or key.variant is not None:
            raise ValueError("revision and variant are for folders and repositories; a model that is one file has none")
        return AutoPipelineForText2Image.from_single_file(
            key.model, mindspore_dtype=key.dtype, engine=key.engine, **components
        )
    return AutoPipelineForText2Image.from_pretrained(
        key.model,
        mindspore_dtype=key.dtype,
        variant=key.variant,
        revision=key.revision,
        engine=key.engine,
        **components,
    )


def draw(pipe: Pipeline, job: Job, callback: StepCallback | None = None) -> list[Image]:
    """The job's images, one per seed; several threads may draw with one pipeline.

    Args:
        pipe: what ``load`` gave for this job, or for one of the same ``pipeline_key``; it stays as it is.
        job: what to draw.
        callback: called after every step, as a pipeline's ``callback_on_step_end``.

    Raises:
        ValueError: the pipeline refuses an argument, before any network runs.
    """
    import numpy as np

    view: Any = pipe
    if job.scheduler is not None:
        view = copy.copy(pipe)  # with a scheduler of its own: the networks and what is compiled are shared
        view.scheduler = by_name(job.scheduler, view.scheduler.config)
    generators = [np.random.Generator(np.random.PCG64(seed)) for seed in job.seeds]
    return list(view(**job.arguments, generator=generators, callback_on_step_end=callback).images)
