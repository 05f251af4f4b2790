"""From a job to its images."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from ..utils.printable import shown
from .grouping import call_key
from .job import Job, PipelineKey
from .loras import adapter_weights, merged

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..acceleration.int8.config import Int8Config
    from ..families.components import SkippingDenoiser
    from ..families.family import Family
    from ..pipelines.callbacks import StepCallback
    from ..pipelines.published import PublishedPipeline as Pipeline
    from .pictures import Pictures


def load(key: PipelineKey, quantization: Int8Config | None = None, **components: Any) -> Pipeline:
    """Load the pipeline for a job, and for every other job with the same ``pipeline_key``.

    The job's LoRAs are loaded; each job sets their weights.

    Args:
        key: a job, or its ``pipeline_key``.
        quantization: how to calibrate a pipeline in int8; None for the default.
        components: components to use instead of the checkpoint's, as in ``Pipeline.from_pretrained``.

    Raises:
        ValueError, OSError: what ``from_pretrained``, ``from_single_file`` and ``load_lora_weights`` raise.
    """
    from ..models.autoencoder_tiny import AutoencoderTiny
    from ..pipelines.auto import AutoPipelineForText2Image

    if key.tiny_vae is not None:
        components["vae"] = AutoencoderTiny.from_pretrained(key.tiny_vae, mindspore_dtype=key.dtype)
    for name in key.without:
        components |= {name: None, name.replace("text_encoder", "tokenizer"): None}
    loras = merged(key.lora)
    pipe = _load_model(key, quantization, **components)
    _check_reads_texts(pipe, key)
    if key.controlnet:  # only now, because int8 is calibrated without pictures
        pipe = AutoPipelineForText2Image.from_pipe(pipe, controlnet=_controlnets(pipe.family, key))
    weights = adapter_weights(loras, pipe.family)
    for name, lora in zip(weights, loras):
        pipe.load_lora_weights(lora.path, adapter_name=name)
    if loras:
        pipe.set_adapters(list(weights), list(weights.values()))
    if key.token_downsampling is not None:
        denoiser: SkippingDenoiser = pipe.components[pipe.family.denoiser]
        denoiser.enable_token_downsampling(key.token_downsampling)
    return pipe


def _check_reads_texts(pipe: Pipeline, key: PipelineKey) -> None:
    """A job has a prompt; embeddings in its place are for those who call a pipeline themselves.

    Raises:
        ValueError: nothing in the pipeline reads prompts.
    """
    parts = pipe.components
    pairs = [(name, name.replace("text_encoder", "tokenizer")) for name in pipe.family.text_encoders]
    absent = [[name for name in pair if name in parts and parts[name] is None] for pair in pairs]
    if absent and all(absent):
        from ..loading.hub import MODEL_INDEX

        lost = " and no ".join(name for names in absent for name in names)
        why = "it is asked to do without" if key.without else f"its {MODEL_INDEX} names none"
        raise ValueError(
            f"{key.model} has no {lost}: {why}, and then nothing reads the prompt; take a whole checkpoint"
        )


def _controlnets(family: Family, key: PipelineKey) -> object:
    """One ControlNet, or a list of several."""
    from ..families.registry import load

    if family.controlnets is None:
        raise ValueError(f"{key.model} takes no ControlNets (--controlnet): {family.title} has none here")
    network = load(family.controlnets).network
    nets = [
        network.from_single_file(path, mindspore_dtype=key.dtype)
        if path.endswith(".safetensors")
        else network.from_pretrained(path, mindspore_dtype=key.dtype)
        for path in key.controlnet
    ]
    return nets if len(nets) > 1 else nets[0]


def _load_model(key: PipelineKey, quantization: Int8Config | None, **components: Any) -> Pipeline:
    from ..acceleration.int8.config import Int8Config
    from ..acceleration.quantized_components import DENOISER
    from ..loading.weights import names_file
    from ..pipelines.auto import AutoPipelineForText2Image, DiffusionPipeline

    in_int8 = tuple(name for name, asked in ((DENOISER, key.int8), ("vae", key.int8_vae)) if asked)
    # A refiner only takes pictures, as its checkpoint says; int8 is calibrated on texts.
    kind = AutoPipelineForText2Image if in_int8 else DiffusionPipeline
    if names_file(key.model):
        if key.gguf is not None:
            raise ValueError(
                f"gguf goes with a model that is a folder or a hub id; {key.model} has a denoiser of its own"
            )
        if key.revision is not None or key.variant is not None:
            raise ValueError("revision and variant are for folders and repositories; a single-file model has none")
        if in_int8:
            raise ValueError("int8 takes a folder; `mindone-diffusers convert` turns a file into one")
        return kind.from_single_file(
            key.model, config=key.config, mindspore_dtype=key.dtype, engine=key.engine, **components
        )
    if key.config is not None:
        raise ValueError(f"config is for a single-file model; {key.model} has its own configs")
    if key.gguf is not None:
        components |= _denoiser_of_gguf(key, key.gguf)
    return kind.from_pretrained(
        key.model,
        mindspore_dtype=key.dtype,
        variant=key.variant,
        revision=key.revision,
        engine=key.engine,
        quantization_config=replace(quantization or Int8Config(), components_to_quantize=in_int8) if in_int8 else None,
        **components,
    )


def _denoiser_of_gguf(key: PipelineKey, file: str) -> dict[str, object]:
    """The denoiser with the weights of a GGUF file, and the config of the key's model."""
    if not file.endswith(".gguf"):
        raise ValueError(f"gguf must be a FILE.gguf or its address on the hub, got {shown(file)}")
    from ..families.registry import family_of
    from ..loading.gguf_config import GGUFQuantizationConfig
    from ..loading.hub import Source, component_names
    from ..pipelines.components import component_class

    index = Source(key.model, key.revision).index()
    pipeline = str(index.get("_class_name"))
    if (family := family_of(pipeline)) is None:
        raise ValueError(f"{key.model} is a {pipeline:.80}, which is not known here")
    class_name = component_names(index).get(family.denoiser)
    if class_name is None:
        raise ValueError(f"{key.model} names no {family.denoiser}, whose place the weights of {file} would take")
    network = component_class(class_name).from_single_file(
        file,
        quantization_config=GGUFQuantizationConfig(key.dtype),
        config=key.model,
        subfolder=family.denoiser,
        revision=key.revision,
    )
    return {family.denoiser: network}


def settled(pipe: Pipeline, job: Job) -> Job:
    """The job with the pipeline's defaults for steps and guidance scales filled in, so that it fully describes the
    image.

    Raises:
        ValueError: the job contradicts them, for example a guidance cache without guidance.
    """
    view = _for_task(pipe, job)
    true = {"true_cfg_scale": 1.0} if view.family.true_guidance and job.true_cfg_scale is None else {}
    scale = view.choose_guidance_scale(job.guidance_scale)
    return job.changed(steps=_steps(view, job), guidance_scale=scale, **true)


def _steps(view: Pipeline, job: Job) -> int:
    return int(job.steps or len(job.calibration) or view.usual("num_inference_steps"))


def warnings_of(pipe: Pipeline, job: Job, pictures: Pictures | None = None) -> tuple[str, ...]:
    """Warnings about a job's fields that have no effect or give poor images: a sentence for each.

    These are a size above the network's training size, a negative prompt without guidance, weights and LoRAs read as
    text, and parts of a prompt beyond the text encoders' length.
    """
    from .checks import larger_than_trained

    view = _for_task(pipe, job)
    said = [larger_than_trained(view, job, pictures), *_ineffective(view, job)]
    if not job.prompt_weights or not view.text_towers:
        said += view.unread(job.prompt, job.negative_prompt or "")
    return tuple(dict.fromkeys(sentence for sentence in said if sentence is not None))


def draw(
    pipe: Pipeline, job: Job, callback: StepCallback | None = None, pictures: Pictures | None = None
) -> list[Image]:
    """Generate the job's images, one per seed; several threads may share one pipeline.

    Args:
        pipe: from ``load`` for this job, or for one with the same ``pipeline_key``; it stays unchanged.
        job: what to generate.
        callback: called after every step, as a pipeline's ``callback_on_step_end``; with ``upscale`` in both passes.
        pictures: from ``read_pictures`` for the job; None reads them now.

    Raises:
        ValueError: a picture does not fit, or the pipeline refuses an argument; raised before any network runs.
        OSError: a picture is missing.
    """
    return _call(pipe, [job], callback, pictures)


def draw_together(pipe: Pipeline, jobs: Sequence[Job]) -> list[list[Image]]:
    """Generate the images of jobs that differ only in prompt and seed and read no pictures, in one pipeline call.

    In half precision a larger batch rounds differently, so the images do not equal those of ``draw`` bit for bit: the
    batch size affects the choice of kernels and the splitting of sums.

    Raises:
        ValueError: the jobs differ in more; also what ``draw`` raises.
    """
    if any(call_key(each) != call_key(jobs[0]) for each in jobs):
        raise ValueError("jobs in one call may differ only in prompt and seed, and must read no pictures")
    images, each = _call(pipe, jobs), jobs[0].num_images
    return [images[i : i + each] for i in range(0, len(images), each)]


def _call(
    pipe: Pipeline, jobs: Sequence[Job], callback: StepCallback | None = None, pictures: Pictures | None = None
) -> list[Image]:
    """The images of jobs that can share a call, in order."""
    from ..schedulers.unsuited import UnsuitedScheduler

    try:
        view = jobs[0].stack.on(_for_task(pipe, jobs[0]))
        loras = adapter_weights(merged(jobs[0].lora), view.family)
        with view.lora_weights(loras) if loras else nullcontext():
            return _images(view, jobs, callback, pictures)
    except UnsuitedScheduler as error:
        raise ValueError(error.in_short_names) from None


def _images(
    view: Pipeline, jobs: Sequence[Job], callback: StepCallback | None, pictures: Pictures | None
) -> list[Image]:
    import numpy as np

    from ..pipelines.checks import check_size
    from .checks import check_run
    from .pictures import read_pictures
    from .upscale import draw_enlarged

    job = jobs[0]
    pictures = pictures or read_pictures(job)
    unguided = _unguided(view, job)
    for lost in dict.fromkeys(lost for each in jobs for lost in _ineffective(view, each)):
        if lost is not None:
            _warn_once(lost)
    height, width = pictures.size(job.height, job.width, view.pixels_per_token)
    fits = view.pixels_per_token  # as does a side that the pipeline chooses
    check_size(view, height or fits, width or fits)
    check_run(view, job, (height, width), sum(each.num_images for each in jobs))
    elsewhere = {"height", "width", *(("negative_prompt",) if unguided else ())}
    arguments = {name: value for name, value in job.arguments.items() if name not in elsewhere}
    if len(jobs) > 1:
        arguments["prompt"] = [each.prompt for each in jobs]
    if job.prompt_weights:
        arguments = {name: value for name, value in arguments.items() if name not in _PROMPTS} | _read(view, jobs)
    arguments["generator"] = [np.random.Generator(np.random.PCG64(seed)) for each in jobs for seed in each.seeds]
    arguments["callback_on_step_end"] = callback
    if job.strength == 0:
        part, steps = 1 / _steps(view, job), _steps(view, job)
        arguments["strength"] = part if part * steps == 1 else math.nextafter(part, 1)  # exactly one step
    if job.upscale is not None:
        return draw_enlarged(view, arguments, pictures, height, width, job.upscale)
    cut = job.padding_mask_crop is not None
    view.spends_pictures = pictures.spent
    arguments |= pictures.arguments(height, width, cut)
    known = inspect.signature(type(view).__call__).parameters
    if unknown := [name for name in arguments if name not in known]:
        raise ValueError(f"{type(view).__name__} takes no {' and no '.join(unknown)}; leave it out")
    if job.image is not None and "height" in known:  # otherwise it would use its network's size
        arguments |= {"height": height, "width": width}
    return list(view(**arguments).images)


@cache
def _warn_once(text: str) -> None:
    """Warn once: a server or a batch repeats no warning for later jobs."""
    from ..utils.logging import get_logger

    get_logger(__name__).warning(text)


_PROMPTS = ("prompt", "negative_prompt", "clip_skip")
"""The arguments of a call that embeddings replace."""


def _read(view: Pipeline, jobs: Sequence[Job]) -> dict[str, object]:
    """The arguments of a pipeline's call for jobs with weighted prompts; several jobs have equal prompts.

    They are embeddings; if no text encoder supports weights, they are texts, provided these have no weights.
    """
    from ..prompts import encode_prompt, plain_text

    if not view.text_towers:
        name = view.family.title
        negative = "" if _unguided(view, jobs[0]) else jobs[0].negative_prompt or ""
        plain, avoided = [plain_text(job.prompt) for job in jobs], plain_text(negative, "negative_prompt")
        if None not in plain and avoided is not None:
            return {"prompt": plain} | ({"negative_prompt": avoided} if avoided else {})
        raise ValueError(f"{name} supports no weighted words; remove the weights, or leave out prompt_weights")
    guided = False if _unguided(view, jobs[0]) else None
    texts = ([job.prompt for job in jobs], None if guided is False else jobs[0].negative_prompt)
    return {**encode_prompt(view, *texts, clip_skip=jobs[0].clip_skip, do_classifier_free_guidance=guided)}


def _ineffective(view: Pipeline, job: Job) -> list[str | None]:
    """Warnings about words without the effect that they have elsewhere; None for each that does not apply."""
    return [_lost_negative(view, job), _unread_weights(view, job), _unread_lora(job)]


def _lost_negative(view: Pipeline, job: Job) -> str | None:
    """A warning about a negative prompt without effect; otherwise None."""
    from ..pipelines.checks import lost_negative

    why = _unguided(view, job) if job.negative_prompt else ""
    return lost_negative("negative_prompt", why) if why else None


def _unread_weights(view: Pipeline, job: Job) -> str | None:
    """A warning about weights in prompts that are read as text; otherwise None."""
    if job.prompt_weights:
        return None
    from ..prompts.syntax import has_weight

    names = [name for name in ("prompt", "negative_prompt") if has_weight(getattr(job, name) or "")]
    why = " without prompt_weights" if view.text_towers else f": {view.family.title} supports no weights"
    return f"weights such as (cat:1.3) in {' and '.join(names)} are read as text{why}" if names else None


def _unread_lora(job: Job) -> str | None:
    """A warning about a LoRA in the prompt that is read as text; otherwise None."""
    from .infotext import lora_tag

    tag = lora_tag(job.prompt)
    return f"{tag[:80]} in prompt is read as text; give the file as a LoRA: --lora FILE:WEIGHT" if tag else None


def _unguided(view: Pipeline, job: Job) -> str:
    """Why a job has no guidance away from a negative prompt; empty if it has."""
    from ..pipelines.checks import why_unguided

    true = view.family.true_guidance
    scale = (job.true_cfg_scale or 1.0) if true else view.choose_guidance_scale(job.guidance_scale)
    is_distilled = not view.takes_negative_prompts
    return why_unguided(view, scale) or ("on a network with built-in guidance" if is_distilled else "")


def _for_task(pipe: Pipeline, job: Job) -> Pipeline:
    """The job's own pipeline for its task, sharing all networks and compiled graphs."""
    from ..pipelines import auto
    from .checks import check_supported

    check_supported(job, pipe.family)
    if job.image is None:
        task: type[auto.AutoPipeline] = auto.AutoPipelineForText2Image
    else:
        task = auto.AutoPipelineForImage2Image if job.mask is None else auto.AutoPipelineForInpainting
    made = task.from_pipe(pipe)
    return pipe.view() if type(made) is type(pipe) else made
