"""Serves the page and the API list. They load nothing from other sites."""

from __future__ import annotations

from importlib.resources import files
from pathlib import PurePath
from types import MappingProxyType

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape

from ..schedulers.registry import SHORT_NAMES
from .refusals import Refusal
from .request import service_of

router = APIRouter(include_in_schema=False)

_FOLDER = files("mindone.diffusers.server").joinpath("page")
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_FILES = MappingProxyType(
    {each.name: _TYPES[kind] for each in _FOLDER.iterdir() if (kind := PurePath(each.name).suffix) in _TYPES}
)
_MODULES = sorted(name for name in _FILES if name.endswith(".js") and name != "docs.js")
_SAMPLERS = {name: f"{setup.sampler} {setup.schedule}".strip() for name, setup in SHORT_NAMES.items()}
"""AUTOMATIC1111's labels of our schedulers."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_templates = Environment(
    loader=PackageLoader("mindone.diffusers.server", "page"), autoescape=select_autoescape(["html"])
)


@router.get("/")
async def page(request: Request) -> Response:
    """The page for generating in a browser. It needs no key: it reveals only the limits of its inputs."""
    settings = service_of(request).settings
    template = _templates.get_template("index.html")
    text = template.render(settings=settings, samplers=_SAMPLERS, modules=_MODULES)
    return HTMLResponse(text, headers=_HEADERS)


@router.get("/docs")
async def docs() -> Response:
    """The API list, which the browser builds from ``/openapi.json``."""
    return HTMLResponse(_templates.get_template("docs.html").render(), headers=_HEADERS)


@router.get("/page/{name}")
async def page_file(name: str) -> Response:
    """A file that the page loads."""
    if name not in _FILES:
        raise Refusal(404, "there is no such file")
    content = _FOLDER.joinpath(name).read_bytes()
    return Response(content, media_type=_FILES[name], headers=_HEADERS)


@router.get("/favicon.ico")
async def icon() -> JSONResponse:
    """Not found: there is no icon."""
    raise Refusal(404, "there is no icon")
