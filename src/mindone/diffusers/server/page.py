"""The page, and the list of what the server understands. Nothing they load comes from elsewhere."""

from __future__ import annotations

from importlib.resources import files
from types import MappingProxyType

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape

from ..schedulers.registry import SHORT_NAMES
from .refusals import Refusal
from .request import service_of

router = APIRouter(include_in_schema=False)

_MODULES = ("api.js", "brush.js", "drawing.js", "form.js", "gallery.js", "page.js", "pictures.js")
_FILES = MappingProxyType({"page.css": "text/css", **dict.fromkeys((*_MODULES, "docs.js"), "text/javascript")})
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_templates = Environment(
    loader=PackageLoader("mindone.diffusers.server", "page"), autoescape=select_autoescape(["html"])
)


@router.get("/")
async def page(request: Request) -> Response:
    """Draw in a browser. What it shows of the server needs no key: the bounds of its inputs."""
    settings = service_of(request).settings
    template = _templates.get_template("index.html")
    text = template.render(settings=settings, schedulers=list(SHORT_NAMES), modules=_MODULES)
    return HTMLResponse(text, headers=_HEADERS)


@router.get("/docs")
async def docs() -> Response:
    """What the server understands, made in the browser of ``/openapi.json``."""
    return HTMLResponse(_templates.get_template("docs.html").render(), headers=_HEADERS)


@router.get("/page/{name}")
async def page_file(name: str) -> Response:
    """What the page loads."""
    if name not in _FILES:
        raise Refusal(404, "there is no such file")
    content = files("mindone.diffusers.server").joinpath("page", name).read_bytes()
    return Response(content, media_type=_FILES[name], headers=_HEADERS)


@router.get("/favicon.ico")
async def icon() -> JSONResponse:
    """There is none."""
    raise Refusal(404, "there is no icon")
