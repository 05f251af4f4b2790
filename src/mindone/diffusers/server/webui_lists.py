"""The lists that AUTOMATIC1111's clients request, with its field names.

Lists of features that this server lacks are empty. The lists contain none of the server's paths.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ..schedulers.registry import SHORT_NAMES
from ..utils.machine import peak_memory, total_memory
from .request import client_of, service_of

router = APIRouter(tags=["AUTOMATIC1111's API"])

_API = "/sdapi/v1"
_EMPTY = (
    *("upscalers", "sd-vae", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles"),
    *("script-info", "extensions"),
)
_FIXED: Mapping[str, Mapping[str, object]] = {
    "GET": {
        "/internal/ping": {},
        f"{_API}/latent-upscale-modes": [{"name": "Latent"}],
        f"{_API}/embeddings": {"loaded": {}, "skipped": {}},
        f"{_API}/scripts": {"txt2img": [], "img2img": []},
        **{f"{_API}/{name}": [] for name in _EMPTY},
    },
    "POST": {f"{_API}/refresh-{name}": {} for name in ("checkpoints", "loras", "vae")},
}
"""The answers that never change, by method and path."""


@router.get(f"{_API}/sd-models")
async def sd_models(request: Request) -> JSONResponse:
    """The models that requests may name."""
    about = {"hash": None, "sha256": None, "config": None}
    names = service_of(request).catalogue.models
    return JSONResponse([{"title": name, "model_name": name, "filename": name, **about} for name in names])


@router.get(f"{_API}/loras")
async def loras(request: Request) -> JSONResponse:
    """The LoRAs that prompts may name."""
    names = service_of(request).catalogue.loras
    return JSONResponse([{"name": name, "alias": name, "path": name, "metadata": {}} for name in names])


@router.get(f"{_API}/samplers")
async def samplers() -> JSONResponse:
    """The samplers; for older clients also names that include the schedule."""
    names = [setup.sampler for setup in SHORT_NAMES.values()]
    names += [f"{setup.sampler} Karras" for setup in SHORT_NAMES.values() if setup.schedule == "Karras"]
    return JSONResponse([{"name": name, "aliases": [], "options": {}} for name in dict.fromkeys(names)])


@router.get(f"{_API}/schedulers")
async def schedulers() -> JSONResponse:
    """The schedules that at least one sampler supports."""
    labels = ["Automatic", "Uniform", "Normal", *(setup.schedule for setup in SHORT_NAMES.values() if setup.schedule)]
    about = {"aliases": None, "default_rho": -1.0, "need_inner_model": False}
    names = {label: label.lower().replace(" ", "_") for label in labels}
    return JSONResponse([{"name": name, "label": label, **about} for label, name in names.items()])


@router.get(f"{_API}/cmd-flags")
async def cmd_flags(request: Request) -> JSONResponse:
    """The server's start options that clients may need."""
    settings = service_of(request).settings
    return JSONResponse({"api": True, "listen": not settings.is_loopback, "port": settings.port})


@router.get(f"{_API}/memory")
async def memory() -> JSONResponse:
    """The peak memory of this process, and the memory of the machine, in bytes."""
    used, total = peak_memory() or 0, total_memory() or 0
    ram = {"free": max(total - used, 0), "used": used, "total": total}
    return JSONResponse({"ram": ram, "cuda": {"error": "unavailable"}})


@router.post(f"{_API}/skip")
async def skip(request: Request) -> JSONResponse:
    """The same as interrupt, because a request generates all its images at once."""
    service_of(request).interrupt(client_of(request))
    return JSONResponse({})


async def _fixed(request: Request) -> JSONResponse:
    """A fixed answer."""
    return JSONResponse(_FIXED[request.method][request.scope["route"].path])


for _method, _answers in _FIXED.items():
    for _path in _answers:
        router.add_api_route(_path, _fixed, methods=[_method], name=_path.rpartition("/")[2])
