"""Jobs that read pictures: which pipeline draws them, and what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..utils.images import load_image
from .job import Job

if TYPE_CHECKING:
    from ..pipelines.base import Pipeline

_NOISE_AFTER_ENLARGING = 0.6
"""The usual strength of a second pass: enlarged latents are blurred, and need this much drawn anew."""


def view_for(pipe: Pipeline, job: Job) -> Pipeline:
    """The pipeline for the job's task, with the networks of ``pipe`` and what is compiled for them."""
    from ..pipelines import auto

    if job.image is None:
        return pipe
    task = auto.AutoPipelineForImage2Image if job.mask is None else auto.AutoPipelineForInpainting
    return _sharing(task, pipe)


def draw_with(view: Any, job: Job, more: dict[str, object]) -> list[Image.Image]:
    """The job's images, by what `view_for` gave; ``more`` are arguments that no job holds."""
    arguments = {**job.arguments, **_pictures(view, job), **more}
    if job.upscale is None:
        return list(view(**arguments).images)
    if job.image is None:
        arguments.pop("strength", None)  # it is the second pass's
    latents = view(**arguments, output_type="latent").images
    for taken in ("height", "width", "mask_image"):
        arguments.pop(taken, None)
    if job.control:
        arguments["control_image"] = arguments.get("control_image", arguments["image"])
    arguments["image"] = enlarged(view.engine.numpy(latents), job.upscale)
    arguments["strength"] = job.strength or _NOISE_AFTER_ENLARGING
    from ..pipelines.auto import AutoPipelineForImage2Image

    second: Any = _sharing(AutoPipelineForImage2Image, view)
    return list(second(**arguments).images)


def enlarged(latents: NDArray[np.float32], times: float) -> NDArray[np.float32]:
    """Latents (images, channels, height, width) with so many times as many rows and columns, bilinearly."""
    from scipy.ndimage import zoom

    larger = zoom(latents, (1, 1, times, times), order=1, mode="nearest", grid_mode=True)
    return np.ascontiguousarray(larger, np.float32)


def edges(picture: Image.Image) -> Image.Image:
    """White edges on black (Canny 1986), as ControlNets for edges take them."""
    from skimage.feature import canny

    found = canny(np.asarray(picture.convert("L"), np.float32) / 255.0, sigma=1.5)
    return Image.fromarray(np.repeat(found[..., None], 3, axis=2).astype(np.uint8) * 255)


def _sharing(task: Any, pipe: Any) -> Any:
    view = task.from_pipe(pipe)
    view.set_progress_bar_config(**pipe._progress_bar_options)
    view.caches = pipe.caches
    return view


def _pictures(view: Any, job: Job) -> dict[str, object]:
    """The arguments that are pictures, all of one size: that which was asked for, or the first picture's own."""
    paths = [path for path in (job.image, job.mask, *(each.partition("=")[2] for each in job.control)) if path]
    if not paths:
        return {}
    loaded = {path: load_image(path) for path in paths}
    if job.mask is not None and loaded[job.mask].size != loaded[str(job.image)].size:
        picture, mask = loaded[str(job.image)], loaded[job.mask]
        raise ValueError(
            f"image is {picture.width}×{picture.height} and mask {mask.width}×{mask.height}; they must be of one size"
        )
    first, factor = loaded[paths[0]], view.vae_scale_factor
    width, height = ((given or own) // factor * factor for given, own in zip((job.width, job.height), first.size))
    if width < factor or height < factor:
        raise ValueError(f"{paths[0]} is {first.width}×{first.height}: too small, at least {factor}×{factor} is needed")
    sized = {path: picture.resize((width, height), Image.Resampling.LANCZOS) for path, picture in loaded.items()}
    controls = [
        edges(sized[path]) if kind == "canny" else sized[path]
        for kind, _, path in (each.partition("=") for each in job.control)
    ]
    followed: object = controls[0] if len(controls) == 1 else controls
    if job.image is None:
        return {"image": followed, "height": height, "width": width}
    arguments: dict[str, object] = {"image": sized[job.image]}
    if job.mask is not None:
        arguments |= {"mask_image": sized[job.mask], "height": height, "width": width}
    return arguments | ({"control_image": followed} if controls else {})
