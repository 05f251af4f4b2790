"""Error responses in each API's own format. They contain no traceback and none of the server's paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from ..utils.errors import rule_of
from ..utils.printable import shown
from .refusals import Cancelled, Refusal

_CLIENT_IS_GONE = 499
"""The usual status if nobody reads the response."""


def add_handlers(app: FastAPI) -> None:
    """Make the application answer every exception in the format of the called API."""

    def refused(request: Request, error: Exception) -> Response:
        refusal = error if isinstance(error, Refusal) else _as_refusal(error)
        request.app.state.service.metrics.refusals.labels(refusal.reason).inc()
        return response(request.url.path, refusal)

    for kind in (Refusal, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, refused)
    for gone in (Cancelled, ClientDisconnect):  # the latter in the middle of a body
        app.add_exception_handler(gone, lambda request, error: Response(status_code=_CLIENT_IS_GONE))


def response(path: str, refusal: Refusal) -> Response:
    """The error response to a request for ``path``."""
    form = _web_ui_form if path.startswith("/sdapi/") else openai_form
    return JSONResponse(form(refusal), refusal.status, refusal.headers)


def openai_form(refusal: Refusal) -> dict[str, object]:
    """An error in OpenAI's format."""
    kind = "invalid_request_error" if refusal.status < 500 else "server_error"
    details = {"message": refusal.message, "type": kind, "param": refusal.field, "code": refusal.reason}
    return {"error": details}


def _web_ui_form(refusal: Refusal) -> dict[str, object]:
    """An error in the web UI's format: validation errors with their location, others with a keyword."""
    if refusal.status == 422:
        place = ["body"] if refusal.field is None else ["body", refusal.field]
        return {"detail": [{"loc": place, "msg": refusal.message, "type": "value_error"}]}
    return {"error": refusal.reason, "detail": refusal.message, "body": "", "errors": refusal.message}


def _as_refusal(error: Exception) -> Refusal:
    if isinstance(error, RequestValidationError):
        return first_reason(error.errors())
    if isinstance(error, HTTPException):
        return Refusal(error.status_code, str(error.detail), headers=error.headers)
    return Refusal(500, "the server failed; see its log")


def first_reason(errors: Sequence[Mapping[str, Any]]) -> Refusal:
    """The first of pydantic's errors in one line: the field, what works, and what was given."""
    first = errors[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query")]
    name = ".".join(place) or None
    if first["type"] == "extra_forbidden":
        return Refusal(422, f"unknown field {shown(name)}", name)
    if first["type"] == "missing":
        return Refusal(422, f"{name or 'the body'} is missing", name)
    if first["type"] == "json_invalid":
        return Refusal(422, "the body is not valid JSON")
    message = rule_of(str(first["msg"]))
    if first["type"] == "model_attributes_type":
        return Refusal(422, f"the body must be a JSON object, got {shown(first['input'])}")
    if name is None:  # a rule about several fields names them itself
        return Refusal(422, message)
    given = "" if ", got " in message else f", got {shown(first['input'])}"
    return Refusal(422, f"{name} {message}{given}", name)
