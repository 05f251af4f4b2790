"""A request that is not served: the reason, for whom it concerns, in one line."""

from __future__ import annotations

from collections.abc import Mapping

from ..utils.errors import one_line


class Refusal(Exception):
    """Raised anywhere while a request is handled; each API tells it in its own form.

    Args:
        status: of HTTP: 401 no key, 404 no such thing, 413 too large, 422 not as it should be, 429 come back later, 503
            going away, 500 our fault.
        message: what was given and what would work; made one line of at most 500 characters.
        field: the request's field that it concerns.
        retry_after: in how many seconds to come back.
        headers: what else the response is to carry.
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
        """What the response carries besides the reason."""
        retry = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**self._headers, **retry, **({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})}

    @property
    def reason(self) -> str:
        """A word for it, for metrics and clients."""
        return _REASONS.get(self.status, "server_error")


class Cancelled(Exception):
    """The client has hung up or pressed Stop: nobody waits for the images."""


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
