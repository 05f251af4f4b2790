"""The application: the two APIs, the page, and probes for a supervisor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from .. import __version__
from . import openai_api, page, webui_api, webui_lists
from .access import AccessLog
from .choices import Choices
from .errors import add_handlers
from .guard import Guard
from .service import Service
from .settings import Settings
from .webui_fields import Overrides


def create_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """An ASGI application that generates in this process; its engine's thread runs as long as the application.

    Args:
        settings: the operator's settings.
        service: a warmed-up service; None creates one that loads the first model on its first request.

    Raises:
        ValueError, OSError: two models have one name, or the file of keys is unusable.
    """
    service = Service(settings) if service is None else service

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    app = FastAPI(
        title="mindone-diffusers",
        version=__version__,
        description="Generates images from text: OpenAI's images API and AUTOMATIC1111's API.",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere; ours lists the same document
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service, app.state.choices = service, Choices[Overrides]()
    for part in (openai_api.router, webui_api.router, webui_lists.router, page.router):
        app.include_router(part)
    _add_probes(app, service)
    add_handlers(app)
    app.add_middleware(Guard, service=service)
    app.add_middleware(AccessLog, catalogue=service.catalogue, log=settings.log)
    return app


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["Operation"])
    async def healthz() -> JSONResponse:
        """Reports that the process runs."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", tags=["Operation"])
    async def readyz() -> JSONResponse:
        """Reports whether the server accepts requests; 503 while it stops."""
        ready = service.is_ready
        return JSONResponse({"status": "ready" if ready else "stopping"}, 200 if ready else 503)

    @app.get("/metrics", tags=["Operation"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters in Prometheus's text format."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
