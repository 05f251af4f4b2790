"""The well-known web user interface's API, as far as pictures are drawn with it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse
from PIL import ImageFilter, ImageOps

from ..utils.infotext import SAMPLERS
from .catalogue import Choice
from .choices import Choices
from .encoding import encoded, encoded_png, infotext_of
from .png_info import png_info_of
from .request import Uploads, client_of, make_ticket, service_of
from .ticket import Ticket
from .uploads import from_base64, open_upload
from .waiting import result
from .webui_fields import JOB_NAMES, Img2Img, Overrides, Picture, TextFields, Txt2Img

if TYPE_CHECKING:
    from PIL.Image import Image

router = APIRouter(prefix="/sdapi/v1", tags=["The web user interface's API"])


@router.post("/txt2img")
async def txt2img(request: Request, fields: Annotated[Txt2Img, Body()]) -> JSONResponse:
    """Draw images of a text."""
    ticket = make_ticket(request, _choice(request, fields), fields.job_fields(), names=JOB_NAMES)
    return await _drawn(request, ticket, fields)


@router.post("/img2img")
async def img2img(request: Request, fields: Annotated[Img2Img, Body()]) -> JSONResponse:
    """Draw a picture anew, or with a mask only where that is white."""
    job_fields = fields.job_fields()
    uploads = await asyncio.to_thread(_uploads, fields, service_of(request).settings.max_upload_side)
    ticket = make_ticket(request, _choice(request, fields), job_fields, uploads, JOB_NAMES)
    return await _drawn(request, ticket, fields)


@router.get("/progress")
async def progress(request: Request, skip_current_image: bool = False) -> JSONResponse:
    """How far the request that is being drawn for this client has come."""
    service = service_of(request)
    ticket = next(iter(service.running_for(client_of(request))), None)
    if ticket is None:
        return JSONResponse({"progress": 0.0, "eta_relative": 0.0, "state": _state(None), "current_image": None})
    step, steps, left = (0, 0, 0.0) if ticket.progress is None else _counts(ticket)
    shown, estimate = None, ticket.estimate
    if estimate is not None and not skip_current_image:
        picture = await asyncio.to_thread(estimate.picture)
        shown = None if picture is None else await asyncio.to_thread(encoded, picture)
    told = {"progress": step / steps if steps else 0.0, "eta_relative": left, "state": _state(ticket)}
    return JSONResponse({**told, "current_image": shown, "textinfo": None})


@router.post("/interrupt")
async def interrupt(request: Request) -> JSONResponse:
    """Have what is being drawn for this client come out as it is."""
    service_of(request).interrupt(client_of(request))
    return JSONResponse({})


@router.get("/options")
async def options(request: Request) -> JSONResponse:
    """The settings that hold for this client's requests."""
    service = service_of(request)
    chosen = _choices(request).get(client_of(request)) or Overrides(sd_model_checkpoint=service.catalogue.models[0])
    return JSONResponse(chosen.model_dump())


@router.post("/options")
async def set_options(request: Request, given: Annotated[Overrides, Body()]) -> JSONResponse:
    """Choose the model and the profile of this client's further requests."""
    service = service_of(request)
    service.catalogue.key(Choice(given.sd_model_checkpoint, given.profile))
    _choices(request).put(client_of(request), given)
    return JSONResponse({})


@router.get("/sd-models")
async def sd_models(request: Request) -> JSONResponse:
    """The models that requests may name."""
    names = service_of(request).catalogue.models
    about = {"hash": None, "sha256": None, "config": None}
    return JSONResponse([{"title": name, "model_name": name, "filename": name, **about} for name in names])


@router.get("/samplers")
async def samplers() -> JSONResponse:
    """The samplers by that interface's names, older ones with the schedule among them."""
    names = [f"{name} {schedule}" if schedule == "Karras" else name for name, schedule in SAMPLERS.values()]
    return JSONResponse([{"name": name, "aliases": [], "options": {}} for name in names])


@router.post("/png-info")
async def png_info(picture: Annotated[Picture, Body()]) -> JSONResponse:
    """The parameters in a PNG file, ours or that interface's."""
    content = await asyncio.to_thread(from_base64, picture.image, "image")
    return JSONResponse(await asyncio.to_thread(png_info_of, content, "image"))


def _choices(request: Request) -> Choices[Overrides]:
    choices: Choices[Overrides] = request.app.state.choices
    return choices


def _choice(request: Request, fields: TextFields) -> Choice:
    """The model and the profile that the request names, or else those that its client has chosen."""
    named, chosen = fields.override_settings, _choices(request).get(client_of(request))
    for each in (named, chosen):
        if each is not None and (each.sd_model_checkpoint is not None or each.profile is not None):
            return Choice(each.sd_model_checkpoint, each.profile)
    return Choice()


def _uploads(fields: Img2Img, max_side: int) -> Uploads:
    image = open_upload(from_base64(fields.init_images[0], "init_images"), "init_images", max_side)
    if fields.mask is None:
        return Uploads(image)
    mask = open_upload(from_base64(fields.mask, "mask"), "mask", max_side).picture.convert("L")
    if fields.inpainting_mask_invert:
        mask = ImageOps.invert(mask)
    return Uploads(image, mask.filter(ImageFilter.GaussianBlur(fields.mask_blur)))


async def _drawn(request: Request, ticket: Ticket, fields: TextFields) -> JSONResponse:
    service = service_of(request)
    images = await result(service, ticket, request)

    def files() -> list[str]:
        return [encoded_png(image, ticket, service.catalogue, i) for i, image in enumerate(images)]

    texts = [infotext_of(image, ticket, service.catalogue, i) for i, image in enumerate(images)]
    given = fields.model_dump(exclude={"init_images", "mask"})
    info = json.dumps(_info(ticket, images, texts))
    told = {"images": await asyncio.to_thread(files), "parameters": given, "info": info}
    return JSONResponse(told, headers=ticket.timing)


def _info(ticket: Ticket, images: list[Image], texts: list[str]) -> dict[str, object]:
    job = ticket.job
    return {
        "prompt": job.prompt,
        "all_prompts": [job.prompt] * job.num_images,
        "negative_prompt": job.negative_prompt or "",
        "seed": job.seed,
        "all_seeds": job.seeds,
        "width": images[0].width,
        "height": images[0].height,
        "steps": job.steps,
        "cfg_scale": job.guidance_scale,
        "sampler_name": SAMPLERS[job.scheduler][0] if job.scheduler else None,
        "batch_size": job.num_images,
        "infotexts": texts,
        "index_of_first_image": 0,
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
