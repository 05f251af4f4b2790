"""Exceptions for requests that the server refuses or gives up."""

from __future__ import annotations

from collections.abc import Mapping

from ..utils.errors import one_line


class Refusal(Exception):
    """A refused request. Any code that handles a request may raise it; each API sends it in its own format.

    Args:
        status: the HTTP status: 401 no key, 404 not found, 413 too large, 422 invalid, 429 try later, 503 stopping, 500
            our fault.
        message: what was given and what would work; shortened to one line of at most 500 characters.
        field: the request's field at fault.
        retry_after: the seconds until a retry makes sense.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        field: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.field, self.retry_after = status, one_line(message), field, retry_after
        self._headers = headers or {}

    def __reduce__(self) -> tuple[type[Refusal], tuple[int, str, str | None, int | None]]:
        return Refusal, (self.status, self.message, self.field, self.retry_after)  # it travels between processes

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response."""
        retry = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**self._headers, **retry, **({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})}

    @property
    def reason(self) -> str:
        """A keyword for metrics and clients."""
        return _REASONS.get(self.status, "server_error")


class Cancelled(Exception):
    """The client hung up or pressed Stop: nobody waits for the images."""


_REASONS = {
    400: "malformed",
    401: "no_key",
    403: "other_origin",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "media_type",
    422: "invalid",
    429: "queue_full",
    503: "stopping",
}
