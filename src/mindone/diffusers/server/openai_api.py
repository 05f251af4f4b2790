"""OpenAI's images API: generations, edits and the list of models."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image, ImageOps
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from ..jobs.own_values import OwnValues
from .catalogue import Choice
from .encoding import encoded, encoded_png
from .errors import first_reason, openai_form
from .openai_fields import JOB_NAMES, EditFields, GenerationFields, ImageFields
from .reading import ReadingRoute, check_texts, read_form
from .refusals import Cancelled, Refusal
from .request import NOTHING_SENT, Control, Uploads, accepted, make_ticket, service_of
from .service import Service
from .settings import Settings
from .ticket import Progress, Ticket, Wait
from .uploads import Opening, from_base64
from .waiting import follow, result

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

router = APIRouter(prefix="/v1", tags=["OpenAI's images API"], route_class=ReadingRoute)

_STARTED = int(time.time())
_FILES_OF_AN_EDIT = ("image", "image[]", "mask", "control_image")


@router.get("/models")
async def models(request: Request) -> JSONResponse:
    """List the models that requests may name; the first one is the default.

    Each entry has its profiles, LoRAs, ControlNets and default values (``own``: null until the model is downloaded).
    """
    service = service_of(request)
    names = service.catalogue.models
    entries = await asyncio.to_thread(lambda: [_model(service, name) for name in names])  # reads files
    return JSONResponse({"object": "list", "data": entries})


@router.get("/models/{name}")
async def model(request: Request, name: str) -> JSONResponse:
    """Describe one model."""
    service = service_of(request)
    if name not in service.catalogue.models:
        raise Refusal(404, f"unknown model {name[:80]!r}", "model")
    return JSONResponse(await asyncio.to_thread(_model, service, name))


@router.post("/images/generations")
async def generations(request: Request, fields: Annotated[GenerationFields, Body()]) -> Response:
    """Generate images from text. With ``stream`` the response is server-sent events."""
    sent, max_side = NOTHING_SENT, service_of(request).settings.max_upload_side
    if _follows(fields, fields.control_image is not None):
        sent = await accepted(request, functools.partial(_uploads_of_text, fields, max_side))
    ticket = make_ticket(request, _choice(fields), fields.job_fields(), sent, JOB_NAMES, fields.partial_images)
    return await _answer(request, ticket, fields, "image_generation")


_FILE = {"type": "string", "format": "binary"}
_EDIT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    **EditFields.model_json_schema(),
                    "required": ["prompt", "image"],
                    "properties": {
                        **{name: _FILE for name in _FILES_OF_AN_EDIT if name != "image[]"},
                        **EditFields.model_json_schema()["properties"],
                    },
                }
            }
        },
    }
}


@router.post("/images/edits", openapi_extra=_EDIT_BODY)
async def edits(request: Request) -> Response:
    """Change a picture, or only the part where ``mask`` is transparent."""
    form = await read_form(request, max_files=4, max_fields=40)
    fields, files = _edit_fields(form), await _files(form)
    await form.close()
    max_side = service_of(request).settings.max_upload_side
    _follows(fields, "control_image" in files)
    sent = await accepted(request, functools.partial(_uploads, files, fields, max_side))
    ticket = make_ticket(request, _choice(fields), fields.job_fields(), sent, JOB_NAMES, fields.partial_images)
    return await _answer(request, ticket, fields, "image_edit")


def _edit_fields(form: FormData) -> EditFields:
    texts = {name: value for name, value in form.multi_items() if name not in _FILES_OF_AN_EDIT}
    file = next((name for name, value in texts.items() if isinstance(value, UploadFile)), None)
    if file is not None:
        raise Refusal(422, f"unknown file {file[:80]}; the files are image, mask and control_image", file[:80])
    check_texts(texts)
    try:
        return EditFields.model_validate(texts)
    except ValidationError as error:
        raise first_reason(error.errors(include_url=False, include_context=False)) from None


async def _files(form: FormData) -> dict[str, bytes]:
    """The uploaded files of an edit."""
    files: dict[str, bytes] = {}
    images = 0
    for key, value in form.multi_items():
        if key in _FILES_OF_AN_EDIT:
            name = key.removesuffix("[]")
            if not isinstance(value, UploadFile):
                raise Refusal(422, f"{name} must be a file", name)
            files[name] = await value.read()
            images += name == "image"
    if images != 1:
        raise Refusal(422, f"image must be one file, got {images} files", "image")
    return files


def _uploads(files: Mapping[str, bytes], fields: EditFields, max_side: int) -> Uploads:
    opening = Opening(max_side)
    mask = _where_transparent(opening.mask(files["mask"], "mask")) if "mask" in files else None
    image = opening.picture(files["image"], "image")
    control = _control(files["control_image"], fields, opening) if "control_image" in files else None
    return Uploads(image, mask, control)


def _uploads_of_text(fields: GenerationFields, max_side: int) -> Uploads:
    """The picture for a ControlNet to follow."""
    content = from_base64(fields.control_image or "", "control_image")
    return Uploads(control=_control(content, fields, Opening(max_side)))


def _follows(fields: ImageFields, has_picture: bool) -> bool:
    """Whether a request has a ControlNet and its picture; refuses one without the other."""
    if has_picture == (fields.controlnet is None):
        given, missing = ("control_image", "controlnet") if has_picture else ("controlnet", "control_image")
        raise Refusal(422, f"{given} needs {missing}", missing)
    return has_picture


def _control(content: bytes, fields: ImageFields, opening: Opening) -> Control:
    upload = opening.picture(content, "control_image")
    return Control(upload, fields.control_kind, fields.control_scale)


def _choice(fields: ImageFields) -> Choice:
    return Choice(fields.model, fields.profile, fields.controlnet)


def _where_transparent(mask: Picture) -> Picture:
    """A mask in white where this API's mask is transparent, which marks the part to change."""
    if mask.mode != "RGBA":
        raise Refusal(422, "mask must have an alpha channel; its transparent part is what changes", "mask")
    white_where_opaque: Image.Image = mask.getchannel("A")
    del mask  # four times as large, and not used elsewhere
    return ImageOps.invert(white_where_opaque)


async def _answer(request: Request, ticket: Ticket, fields: ImageFields, kind: str) -> Response:
    service = service_of(request)
    if not fields.stream:
        images = await result(service, ticket, request)
        data = await asyncio.to_thread(_data, images, ticket, service, fields)
        size = f"{images[0].width}x{images[0].height}"
        common = {"created": int(time.time()), "size": size, "output_format": fields.output_format}
        return JSONResponse({**common, "background": "opaque", "data": data, **_warned(ticket)}, headers=ticket.timing)
    events = follow(service, ticket, request, tells_waits=fields.progress)
    first = await anext(events)  # a refusal can still set the status
    body = _events(first, events, ticket, service, fields, kind)
    return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _warned(ticket: Ticket) -> dict[str, object]:
    """Our own key ``warnings``, if there are any."""
    return {"warnings": ticket.warnings} if ticket.warnings else {}


def _data(images: list[Picture], ticket: Ticket, service: Service, fields: ImageFields) -> list[dict[str, object]]:
    """An entry per image: OpenAI's key, and the seed that reproduces the image."""
    quality = 90 if fields.output_compression is None else fields.output_compression
    return [
        {
            "b64_json": encoded_png(image, ticket, service.catalogue, i)
            if fields.output_format == "png"
            else encoded(image, fields.output_format, quality),
            "seed": ticket.job.seeds[i],
        }
        for i, image in enumerate(images)
    ]


async def _events(
    first: Progress | Wait | list[Picture],
    rest: AsyncIterator[Progress | Wait | list[Picture]],
    ticket: Ticket,
    service: Service,
    fields: ImageFields,
    kind: str,
) -> AsyncIterator[str]:
    """Server-sent events: on request the steps, and the stages before the first one; partial images; and each image
    when all are done."""
    about = {"background": "opaque", "quality": "auto", "output_format": fields.output_format}
    partial, event = 0, first
    try:
        while not isinstance(event, list):
            if isinstance(event, Wait):
                yield _event(f"{kind}.waiting", stage=event.stage, place=event.place)
                event = await anext(rest)
                continue
            if fields.progress:
                left = round(event.seconds_left, 3)
                yield _event(f"{kind}.progress", step=event.step, steps=event.steps, seconds_left=left)
            if event.preview is not None:
                shown = await asyncio.to_thread(encoded, event.preview, fields.output_format)
                size = f"{event.preview.width}x{event.preview.height}"
                common = {**about, "size": size, "created_at": int(time.time()), "partial_image_index": partial}
                yield _event(f"{kind}.partial_image", b64_json=shown, **common)
                partial += 1
            event = await anext(rest)
        data = await asyncio.to_thread(_data, event, ticket, service, fields)
        size = f"{event[0].width}x{event[0].height}"
        for entry in data:
            yield _event(
                f"{kind}.completed", **entry, **about, **_warned(ticket), size=size, created_at=int(time.time())
            )
    except Refusal as refusal:
        service.metrics.refusals.labels(refusal.reason).inc()
        yield _event("error", **openai_form(refusal))
    except Cancelled:
        return
    finally:
        with contextlib.suppress(RuntimeError):
            await rest.aclose()  # type: ignore[attr-defined]


def _event(kind: str, **values: object) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n"


def _model(service: Service, name: str) -> dict[str, object]:
    """A model's entry: OpenAI's keys, and the profiles, LoRAs and ControlNets that requests may combine with it."""
    catalogue, ours = service.catalogue, {"object": "model", "created": _STARTED, "owned_by": "mindone-diffusers"}
    own = catalogue.own_values(name)
    takes_loras, takes_controlnets = (own is None or own.takes_loras), (own is None or own.takes_controlnets)
    return {
        "id": name,
        **ours,
        "profiles": [_profile(service, each) for each, offer in catalogue.profiles.items() if offer.model == name],
        "loras": catalogue.loras if takes_loras else [],
        "controlnets": catalogue.controlnets if takes_controlnets else [],
        "own": None if own is None else _own(own, service.settings),
    }


def _own(own: OwnValues, settings: Settings) -> dict[str, object]:
    """The model's defaults for fields that a request leaves open, within the operator's limits."""
    return {
        "steps": min(own.steps, settings.max_steps),
        "guidance_scale": own.guidance_scale,
        "width": own.width,
        "height": own.height,
        "multiple": own.multiple,
        "tasks": own.tasks,
        "schedulers": own.schedulers,
        "negative_prompts": own.takes_negative_prompts,
        "examples": own.examples,
    }


def _profile(service: Service, name: str) -> dict[str, object]:
    """A profile with the expected seconds for an image of its size."""
    profile, seconds = service.catalogue.profiles[name].profile, service.speeds.seconds(name)
    settings = profile.settings
    about = {"width": profile.width, "height": profile.height, "steps": settings.steps, "settings": settings.words}
    return {"id": name, **about, "seconds": None if seconds is None else round(seconds, 3)}
