"""AUTOMATIC1111's API: the part that generates images."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse
from PIL import ImageOps

from ..jobs import PipelineKey
from ..jobs.checks import family_here, is_flow, most_clip_skip
from ..jobs.infotext import format_infotext
from ..jobs.pictures import has_white
from ..jobs.png import INFOTEXT, KEYWORD, parameters_of, texts_in
from ..pipelines.regions import blurred, fill_whole, fit_inside, in_mode
from ..schedulers.registry import SHORT_NAMES
from .catalogue import Choice
from .choices import Choices
from .encoding import encoded, encoded_png, infotext_of
from .reading import ReadingRoute
from .refusals import Refusal
from .request import NOTHING_SENT, Sent, Uploads, accepted, check_bounds, client_of, make_ticket, service_of
from .ticket import Ticket
from .uploads import Opening, from_base64, marked
from .waiting import result
from .webui_fields import JOB_NAMES, TRUE_NAMES, Img2Img, Overrides, Picture, TextFields, Txt2Img

if TYPE_CHECKING:
    from PIL.Image import Image

_FILE_OF_MODEL = re.compile(r"(\.safetensors|\.ckpt)?( \[[0-9a-fA-F]+\])?$")

router = APIRouter(prefix="/sdapi/v1", tags=["AUTOMATIC1111's API"], route_class=ReadingRoute)


@router.post("/txt2img")
async def txt2img(request: Request, fields: Annotated[Txt2Img, Body()]) -> JSONResponse:
    """Generate images from text."""
    return await _drawn(request, fields, NOTHING_SENT)


@router.post("/img2img")
async def img2img(request: Request, fields: Annotated[Img2Img, Body()]) -> JSONResponse:
    """Change a picture, or only where the mask is white (or opaque, if the mask has transparent parts)."""
    settings = service_of(request).settings
    check_bounds(fields.bounded, settings, JOB_NAMES)  # pictures will be fitted into the size
    sent = await accepted(request, functools.partial(_uploads, fields, settings.max_upload_side))
    return await _drawn(request, fields, sent)


@router.get("/progress")
async def progress(request: Request, skip_current_image: bool = False) -> JSONResponse:
    """The progress of this client's running request."""
    service = service_of(request)
    ticket = next(iter(service.running_for(client_of(request))), None)
    if ticket is None:
        return JSONResponse({"progress": 0.0, "eta_relative": 0.0, "state": _state(None), "current_image": None})
    step, steps, left = (0, 0, 0.0) if ticket.progress is None else _counts(ticket)
    shown, estimate = None, ticket.estimate
    if estimate is not None and not skip_current_image:
        picture = await asyncio.to_thread(estimate.picture)
        shown = None if picture is None else await asyncio.to_thread(encoded, picture)
    summary = {"progress": step / steps if steps else 0.0, "eta_relative": left, "state": _state(ticket)}
    return JSONResponse({**summary, "current_image": shown, "textinfo": None})


@router.post("/interrupt")
async def interrupt(request: Request) -> JSONResponse:
    """Finish this client's running requests early, with the images as they are."""
    service_of(request).interrupt(client_of(request))
    return JSONResponse({})


@router.get("/options")
async def options(request: Request) -> JSONResponse:
    """The options that apply to this client's requests."""
    return JSONResponse(_chosen(request).model_dump())


@router.post("/options")
async def set_options(request: Request, given: Annotated[Overrides, Body()]) -> JSONResponse:
    """Set options for this client's later requests; omitted ones keep their values."""
    _choose(request, given.over(_chosen(request)))
    return JSONResponse({})


@router.post("/png-info")
async def png_info(picture: Annotated[Picture, Body()]) -> JSONResponse:
    """The parameters in a PNG, JPEG or WebP file from this server or AUTOMATIC1111."""
    content = await asyncio.to_thread(from_base64, picture.image, "image")
    return JSONResponse(await asyncio.to_thread(_png_info, content, "image"))


def _choices(request: Request) -> Choices[Overrides]:
    choices: Choices[Overrides] = request.app.state.choices
    return choices


def _chosen(request: Request) -> Overrides:
    """The client's options, with the model that they select."""
    first = Overrides(sd_model_checkpoint=service_of(request).catalogue.models[0])
    return (_choices(request).get(client_of(request)) or Overrides()).over(first)


def _choose(request: Request, options: Overrides) -> None:
    """Remember options for the client's later requests, and refuse names that are not allowed."""
    key = service_of(request).catalogue.key(_choice(request, options))
    _check_clip_skip(key, options.CLIP_stop_at_last_layers, "CLIP_stop_at_last_layers")
    _choices(request).put(client_of(request), options)


def _check_clip_skip(key: PipelineKey, stop: int, field: str) -> None:
    """Refuse more layers than the model has; as in AUTOMATIC1111, 1 skips none."""
    most = most_clip_skip(key)
    if most is not None and stop > most + 1:
        raise Refusal(422, f"{field} must be from 1 to {most + 1} for this model, got {stop}", field)


def _choice(request: Request, options: Overrides) -> Choice:
    name, known = options.sd_model_checkpoint, service_of(request).catalogue.models
    if name is not None and name not in known:  # AUTOMATIC1111 lists files with hashes
        name = _FILE_OF_MODEL.sub("", name)
    return Choice(name, options.profile)


def _uploads(fields: Img2Img, max_side: int) -> Uploads:
    opening, content = Opening(max_side), from_base64(fields.init_images[0], "init_images")
    size = opening.size(content, "init_images")
    mask = opening.stretched(_mask(fields, opening), size) if fields.mask else None
    image = opening.picture(content, "init_images")
    if mask is not None and fields.inpaint_full_res:  # the changed part has the size's proportions
        opening.check_results(image, fields.num_images, "init_images")
        return Uploads(replace(image, picture=in_mode(image.picture, "RGB")), mask)  # the result is pasted into it
    fitted = _fitted(mask, fields).convert("L") if mask is not None and fields.resize_mode else mask
    return Uploads(replace(image, picture=_fitted(image.picture, fields)), fitted)


def _fitted(picture: Image, fields: Img2Img) -> Image:
    """A picture in the proportions of the requested size: cropped, or with its edges extended."""
    if not fields.resize_mode or fields.width is None or fields.height is None:
        return picture
    return (fill_whole if fields.resize_mode == 1 else fit_inside)(picture, fields.width, fields.height)


def _mask(fields: Img2Img, opening: Opening) -> Image:
    """The mask with the part to change in white."""
    mask = marked(opening.mask(from_base64(fields.mask, "mask"), "mask"))
    if fields.inpainting_mask_invert:
        mask = ImageOps.invert(mask)
    soft = blurred(mask, fields.blur)
    if has_white(mask) and not has_white(soft):
        raise Refusal(422, f"{_blur_in_words(fields)} leaves nothing of this mask; use a smaller blur", "mask_blur")
    return soft


def _blur_in_words(fields: Img2Img) -> str:
    if fields.mask_blur is not None:
        return f"mask_blur {fields.mask_blur}"
    return f"mask_blur_x {fields.mask_blur_x} with mask_blur_y {fields.mask_blur_y}"


async def _drawn(request: Request, fields: TextFields, sent: Sent) -> JSONResponse:
    service, options = service_of(request), fields.override_settings.over(_chosen(request))
    choice = _choice(request, options)
    key = service.catalogue.key(choice)
    _check_clip_skip(key, *fields.clip_stop(options))
    family = family_here(key)
    guided = family is not None and family.true_guidance
    given = fields.job_fields(options, is_flow(family), guided)
    ticket = make_ticket(request, choice, given, sent, TRUE_NAMES if guided else JOB_NAMES, family=family)
    if not fields.override_settings_restore_afterwards:
        _choose(request, options)
    images = await result(service, ticket, request)

    def files() -> list[str]:
        return [encoded_png(image, ticket, service.catalogue, i) for i, image in enumerate(images)]

    texts = [infotext_of(image, ticket, service.catalogue, i) for i, image in enumerate(images)]
    shows_pictures = getattr(fields, "include_init_images", False)
    parameters = fields.model_dump(exclude=set() if shows_pictures else {"init_images", "mask"})
    info = json.dumps(_info(ticket, images, texts, guided))
    shown = await asyncio.to_thread(files) if fields.send_images else []
    return JSONResponse({"images": shown, "parameters": parameters, "info": info}, headers=ticket.timing)


def _info(ticket: Ticket, images: list[Image], texts: list[str], guided: bool) -> dict[str, object]:
    job = ticket.job
    built_in = {"distilled_cfg_scale": job.guidance_scale} if guided else {}
    return {
        "prompt": job.prompt,
        "all_prompts": [job.prompt] * job.num_images,
        "negative_prompt": job.negative_prompt or "",
        "seed": job.seed,
        "all_seeds": job.seeds,
        "width": images[0].width,
        "height": images[0].height,
        "steps": job.steps,
        "cfg_scale": (1.0 if job.true_cfg_scale is None else job.true_cfg_scale) if guided else job.guidance_scale,
        **built_in,
        "sampler_name": SHORT_NAMES[job.scheduler].sampler if job.scheduler else None,
        "batch_size": job.num_images,
        "infotexts": texts,
        "index_of_first_image": 0,
        "warnings": list(ticket.warnings),
    }


def _counts(ticket: Ticket) -> tuple[int, int, float]:
    assert ticket.progress is not None
    return ticket.progress.step, ticket.progress.steps, ticket.progress.seconds_left


def _state(ticket: Ticket | None) -> dict[str, object]:
    step, steps, _ = _counts(ticket) if ticket is not None and ticket.progress is not None else (0, 0, 0.0)
    return {
        "skipped": False,
        "interrupted": ticket is not None and ticket.is_interrupted,
        "stopping_generation": False,
        "job": "" if ticket is None else "drawing",
        "job_count": 0 if ticket is None else 1,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        "job_no": 0,
        "sampling_step": step,
        "sampling_steps": steps,
    }


def _png_info(content: bytes, field: str) -> dict[str, object]:
    """The parameters as text (``info``), as their text chunk (``items``) and under our names (``parameters``), without
    decoding pixels.

    Raises:
        Refusal: the file is not PNG, JPEG or WebP, is damaged, or holds more text than parameters have.
    """
    try:
        said = texts_in(io.BytesIO(content), field)
    except ValueError as error:
        raise Refusal(422, str(error), field) from None
    parameters = parameters_of(said) or {}
    # Version 0.1 wrote another text into the same chunk.
    text = format_infotext(parameters) if parameters and KEYWORD in said.texts else said.texts.get(INFOTEXT, "")
    items = {INFOTEXT: text} if text else {}
    return {"info": text, "items": items, "parameters": {**parameters, **_profile(said.texts.get(KEYWORD, "{}"))}}


def _profile(remembered: str) -> dict[str, object]:
    """The profile of an image of ours; AUTOMATIC1111 has no name for it."""
    try:
        about = json.loads(remembered)
    except (ValueError, RecursionError):
        return {}
    name = about.get("profile") if isinstance(about, dict) else None
    return {"profile": name} if isinstance(name, str) and name.isprintable() else {}
