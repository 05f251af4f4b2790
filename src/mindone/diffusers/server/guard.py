"""Checks every request first: its origin, its key and its size."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import response
from .intake import Intake, too_large
from .keys import Keys
from .refusals import Refusal
from .service import Service
from .settings import Settings

OPEN = ("/", "/healthz", "/readyz")
"""Paths that need no key: the page, which asks for it, and a supervisor's probes; the page's files need none either."""
PAGE = "/page/"
_PAGES = ("/", "/docs")
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app, self._service, self._settings = app, service, service.settings
        self._keys = None if self._settings.api_key is None else Keys(self._settings.api_key)
        self._intake = Intake(self._settings.upload_bytes, self._settings.held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer refused requests, and pass on all others."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # answered like GET; uvicorn omits the body
            scope = {**scope, "method": "GET"}
        headers, send = Headers(scope=scope), _taken_as_it_says(send)
        try:
            _check_origin(scope["path"], headers, self._settings)
            self._check_key(scope, headers)
            _check_length(headers, self._settings.upload_bytes)
        except (Refusal, ValueError) as error:
            refusal = error if isinstance(error, Refusal) else Refusal(400, "the request has an unreadable header")
            self._service.metrics.refusals.labels(refusal.reason).inc()
            await response(scope["path"], refusal)(scope, receive, send)
            return
        body = self._intake.begin(receive)
        try:
            await self._app(scope, body, send)
        finally:
            body.release()

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if self._keys is None or path in OPEN or path.startswith(PAGE):
            return
        key = self._keys.find(headers.get("authorization", ""))
        if key is None:
            raise Refusal(401, "this server needs an API key: send the header Authorization: Bearer KEY")
        scope.setdefault("state", {})["key"] = str(key)


def _check_origin(path: str, headers: Headers, settings: Settings) -> None:
    """Refuse requests from pages of other sites.

    A browser sends some requests, with their Origin, even if it may not read the response; for images and scripts it
    sends Sec-Fetch-Site instead. Links to our pages may come from anywhere. If the server is for this machine only, the
    Host header exposes another site's name that resolves to this machine.

    Raises:
        Refusal: the request comes from another site.
        ValueError: a header is unreadable.
    """
    follows_a_link = path in _PAGES and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not follows_a_link:
        raise Refusal(403, "requests from pages of another origin are not served")
    host = headers.get("host", "")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        raise Refusal(403, "requests from pages of another origin are not served")
    if settings.is_loopback and settings.api_key is None and urlsplit(f"//{host}").hostname not in _LOCAL:
        raise Refusal(403, "only requests to localhost are served; --host and --api-key open the server to others")


def _taken_as_it_says(send: Send) -> Send:
    """``send`` with a header that keeps browsers from guessing another content type."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
        await send(message)

    return send_marked


def _check_length(headers: Headers, most: int) -> None:
    length = headers.get("content-length", "0")
    if length.isdecimal() and (len(length) > 18 or int(length) > most):
        raise too_large(most)
