"""What every request passes first: from our own pages, with a key, and no larger than allowed."""

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
"""Paths that need no key: the page, which asks for it, and what a supervisor calls. What the page loads as well."""
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
        """Answer what is refused; hand on all else."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # answered as GET; the server below leaves the body out
            scope = {**scope, "method": "GET"}
        headers, send = Headers(scope=scope), _taken_as_it_says(send)
        try:
            _check_origin(scope["path"], headers, self._settings)
            self._check_key(scope, headers)
            _check_length(headers, self._settings.upload_bytes)
        except (Refusal, ValueError) as error:
            refusal = error if isinstance(error, Refusal) else Refusal(400, "a header of the request cannot be read")
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
            raise Refusal(401, "an API key is needed: send the header Authorization: Bearer KEY")
        scope.setdefault("state", {})["key"] = str(key)


def _check_origin(path: str, headers: Headers, settings: Settings) -> None:
    """Refuse what a page of another site sends.

    A browser sends some requests, and shows its Origin, even where it may not read the answer; to pictures and scripts
    it adds no Origin, but Sec-Fetch-Site. Links to a page of ours may stand anywhere. A name that another site has had
    resolve to this machine shows in the Host header, where only this machine is served.

    Raises:
        Refusal: it does.
        ValueError: a header cannot be read.
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
    """``send`` for answers that a browser must not take for another type than they say."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
        await send(message)

    return send_marked


def _check_length(headers: Headers, most: int) -> None:
    length = headers.get("content-length", "0")
    if length.isdecimal() and (len(length) > 18 or int(length) > most):
        raise too_large(most)
