"""Logs a line per request: the client, the path, the status, the seconds, and the settings of its images.

Prompts belong to their authors, so the log has them only if the operator asks for it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..utils.logging import get_logger
from ..utils.printable import printable
from .guard import PAGE

if TYPE_CHECKING:
    from .catalogue import Catalogue
    from .ticket import Ticket

Log = Literal["nothing", "requests", "prompts"]

logger = get_logger(__name__)

_OFTEN = ("/healthz", "/readyz", "/metrics", "/sdapi/v1/progress", "/internal/ping")
"""Paths that clients request every few seconds; like the page's files, they get a line only if refused."""
_LONGEST = 200
_HUNG_UP = 499


def show(what: Log) -> None:
    """Turn the lines on or off."""
    logger.setLevel(logging.WARNING if what == "nothing" else logging.INFO)


class AccessLog:
    """The outermost ASGI middleware."""

    def __init__(self, app: ASGIApp, catalogue: Catalogue, log: Log):
        self._app, self._catalogue, self._log = app, catalogue, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log its result."""
        if scope["type"] != "http" or not logger.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        status, began = _HUNG_UP, time.monotonic()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        state = scope.setdefault("state", {})
        try:
            await self._app(scope, receive, noted)
        finally:
            if status >= 400 or not (scope["path"] in _OFTEN or scope["path"].startswith(PAGE)):
                self._write(scope, status, time.monotonic() - began, state.get("ticket"))

    def _write(self, scope: Scope, status: int, seconds: float, ticket: Ticket | None) -> None:
        key = scope["state"].get("key")
        client = (scope.get("client") or ("local",))[0]
        who = client if key is None else f"{client} key {key}"
        path = printable(scope["path"])
        path = path if len(path) <= _LONGEST else f"{path[:_LONGEST]}…"
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {who} {scope['method']} {path} {status} {seconds:.3f} s"
        logger.info(line if ticket is None else f"{line} · {self._words(ticket)}")

    def _words(self, ticket: Ticket) -> str:
        """A job in short: its settings and the seconds of each stage."""
        job = ticket.job
        words = [
            self._catalogue.name_of(job),
            *([f"profile {ticket.profile}"] if ticket.profile else []),
            *([f"{job.num_images} images"] if job.num_images > 1 else []),
            *([f"{job.steps} steps"] if job.steps else []),
            *([job.scheduler] if job.scheduler else []),
            *([f"{job.width}×{job.height}"] if job.width and job.height else []),
            *(name for name in ("image", "mask", "control", "lora", "upscale") if getattr(job, name)),
            f"seed {job.seed}",
            *(f"{stage} {seconds:.2f} s" for stage, seconds in ticket.seconds.items()),
        ]
        prompt = [f"prompt {printable(job.prompt)!r}"] if self._log == "prompts" else []
        return ", ".join([*words, *prompt])
