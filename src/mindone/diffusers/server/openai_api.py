"""OpenAI's images API: generations, edits and the list of models."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image, ImageOps
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from .encoding import encoded, encoded_png
from .errors import first_reason, openai_form
from .openai_fields import JOB_NAMES, EditFields, ImageFields
from .refusals import Cancelled, Refusal
from .request import Start, make_ticket, service_of
from .service import Service
from .ticket import Progress, Ticket
from .uploads import open_upload
from .waiting import follow, result

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

router = APIRouter(prefix="/v1", tags=["OpenAI's images API"])

_STARTED = int(time.time())
_IMAGES_OF_AN_EDIT = ("image", "image[]")


@router.get("/models")
async def models(request: Request) -> JSONResponse:
    """The models that requests may name; the first one is the default."""
    entries = [_model(name) for name in service_of(request).catalogue.models]
    return JSONResponse({"object": "list", "data": entries})


@router.get("/models/{name}")
async def model(request: Request, name: str) -> JSONResponse:
    """One of them."""
    if name not in service_of(request).catalogue.models:
        raise Refusal(404, f"unknown model {name[:80]!r}", "model")
    return JSONResponse(_model(name))


@router.post("/images/generations")
async def generations(request: Request, fields: Annotated[ImageFields, Body()]) -> Response:
    """Draw images of a text. With ``stream`` the response is server-sent events."""
    ticket = make_ticket(request, fields.model, fields.job_fields(), None, JOB_NAMES, fields.partial_images)
    return await _answer(request, ticket, fields, "image_generation")


_EDIT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    **EditFields.model_json_schema(),
                    "required": ["prompt", "image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary"},
                        "mask": {"type": "string", "format": "binary"},
                        **EditFields.model_json_schema()["properties"],
                    },
                }
            }
        },
    }
}


@router.post("/images/edits", openapi_extra=_EDIT_BODY)
async def edits(request: Request) -> Response:
    """Draw a picture anew, or where ``mask`` is transparent only that part of it."""
    async with request.form(max_files=4, max_fields=40) as form:
        fields = _edit_fields(form)
        start = await _start(form, service_of(request).settings.max_upload_side)
    ticket = make_ticket(request, fields.model, fields.job_fields(), start, JOB_NAMES, fields.partial_images)
    return await _answer(request, ticket, fields, "image_edit")


def _edit_fields(form: FormData) -> EditFields:
    texts = {name: value for name, value in form.multi_items() if name not in (*_IMAGES_OF_AN_EDIT, "mask")}
    file = next((name for name, value in texts.items() if isinstance(value, UploadFile)), None)
    if file is not None:
        raise Refusal(422, f"{file[:80]} is no file that is known here", file[:80])
    try:
        return EditFields.model_validate(texts)
    except ValidationError as error:
        raise first_reason(error.errors(include_url=False, include_context=False, include_input=False)) from None


async def _start(form: FormData, max_side: int) -> Start:
    pictures = [value for name, value in form.multi_items() if name in _IMAGES_OF_AN_EDIT]
    if len(pictures) != 1 or not isinstance(pictures[0], UploadFile):
        raise Refusal(422, f"image must be one file, got {len(pictures)} of them", "image")
    image = await asyncio.to_thread(open_upload, await pictures[0].read(), "image", max_side)
    mask = form.get("mask")
    if mask is None:
        return Start(image)
    if not isinstance(mask, UploadFile):
        raise Refusal(422, "mask must be a file", "mask")
    transparent = await asyncio.to_thread(open_upload, await mask.read(), "mask", max_side)
    return Start(image, _where_transparent(transparent.picture))


def _where_transparent(mask: Picture) -> Picture:
    """White where a mask of this API is transparent, which is where it has a picture drawn anew."""
    if mask.mode != "RGBA":
        raise Refusal(422, "mask must have an alpha channel: transparent is what is drawn anew", "mask")
    white_where_opaque: Image.Image = mask.getchannel("A")
    return ImageOps.invert(white_where_opaque)


async def _answer(request: Request, ticket: Ticket, fields: ImageFields, kind: str) -> Response:
    service = service_of(request)
    if not fields.stream:
        images = await result(service, ticket, request)
        data = await asyncio.to_thread(_data, images, ticket, service, fields)
        size = f"{images[0].width}x{images[0].height}"
        told = {"created": int(time.time()), "size": size, "output_format": fields.output_format}
        return JSONResponse({**told, "background": "opaque", "data": data})
    events = follow(service, ticket, request)
    first = await anext(events)  # what is refused still has a status of its own
    body = _events(first, events, ticket, service, fields, kind)
    return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _data(images: list[Picture], ticket: Ticket, service: Service, fields: ImageFields) -> list[dict[str, object]]:
    """An entry for each image; beside OpenAI's own key the seed that draws it again."""
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
    first: Progress | list[Picture],
    rest: AsyncIterator[Progress | list[Picture]],
    ticket: Ticket,
    service: Service,
    fields: ImageFields,
    kind: str,
) -> AsyncIterator[str]:
    """Server-sent events: steps where they were asked for, partial images, and each image when all are there."""
    about = {"background": "opaque", "quality": "auto", "output_format": fields.output_format}
    partial, event = 0, first
    try:
        while isinstance(event, Progress):
            if fields.progress:
                left = round(event.seconds_left, 3)
                yield _event(f"{kind}.progress", step=event.step, steps=event.steps, seconds_left=left)
            if event.preview is not None:
                shown = await asyncio.to_thread(encoded, event.preview, fields.output_format)
                size = f"{event.preview.width}x{event.preview.height}"
                told = {**about, "size": size, "created_at": int(time.time()), "partial_image_index": partial}
                yield _event(f"{kind}.partial_image", b64_json=shown, **told)
                partial += 1
            event = await anext(rest)
        data = await asyncio.to_thread(_data, event, ticket, service, fields)
        size = f"{event[0].width}x{event[0].height}"
        for entry in data:
            yield _event(f"{kind}.completed", **entry, **about, size=size, created_at=int(time.time()))
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


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "mindone-diffusers"}
