"""Reads the text of requests: JSON with values that fields can hold, and characters that a response can repeat."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from ..utils.printable import printable
from .refusals import Refusal


class ReadingRoute(APIRoute):
    """A route that reads its JSON body itself: the framework accepts values that no field can hold."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        """See `fastapi.routing.APIRoute`."""
        handle = super().get_route_handler()

        async def read_and_handle(request: Request) -> Response:
            if _is_json(request.headers.get("content-type", "")):
                request = _Read(request.scope, request.receive)
                request.value = read_json(await request.body())
            elif not _is_form(request):
                await request.body()  # the framework would mistake a hang-up for a broken body
            return await handle(request)

        return read_and_handle


class _Read(Request):
    """A request with its body already read."""

    value: object = None

    async def json(self) -> object:
        """The value of the body."""
        return self.value


def read_json(body: bytes) -> object:
    """The value of a JSON text; None for an empty one.

    Raises:
        Refusal: it is not JSON, or contains NaN, a number with thousands of digits, or half a character.
    """
    if not body:
        return None
    try:
        text = body.decode(json.detect_encoding(body))
        value = json.loads(text, parse_constant=_no_number)
        if "\\u" in text:
            check_texts(value if isinstance(value, dict) else {"the body": value})
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise Refusal(422, "the body is not valid JSON") from None
    except ValueError:  # Python's own limit
        raise Refusal(422, "the body contains a number with thousands of digits") from None
    return value


class _FormInMemory(MultiPartParser):
    """Keeps files in memory, where `Intake` limits them: a full disk fails no request, and no picture stays on it."""

    spool_max_size = sys.maxsize


async def read_form(request: Request, max_files: int, max_fields: int) -> FormData:
    """The fields and files of a multipart form; empty for a body of another type.

    Raises:
        Refusal: the form is broken, or has too many files or fields.
        ClientDisconnect: the client hung up before the end.
    """
    if not _is_form(request):
        return FormData()
    try:
        parser = _FormInMemory(request.headers, request.stream(), max_files=max_files, max_fields=max_fields)
        return await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, error.message) from None


def check_texts(values: Mapping[str, object]) -> None:
    """Check that the fields of a request have no half character (a lone surrogate).

    Raises:
        Refusal: a field has one.
    """
    for name, value in values.items():
        try:
            json.dumps([name, value], ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            shown = printable(name)[:80]
            raise Refusal(
                422, f"{shown} contains half a character (a lone surrogate); send whole ones", shown
            ) from None


def _no_number(name: str) -> NoReturn:
    raise Refusal(422, f"the body contains {name}, which is not a JSON number")


def _is_json(content_type: str) -> bool:
    """Whether the framework treats a body of this type as JSON."""
    kind = _kind(content_type)
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _is_form(request: Request) -> bool:
    return _kind(request.headers.get("content-type", "")) == "multipart/form-data"


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
