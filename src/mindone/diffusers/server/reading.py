"""The text of a request, read in one place: JSON that fields can hold, and characters that an answer can repeat."""

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
                await request.body()  # the framework would take a hang-up for a broken body
            return await handle(request)

        return read_and_handle


class _Read(Request):
    """A request whose body has been read."""

    value: object = None

    async def json(self) -> object:
        """The body's value."""
        return self.value


def read_json(body: bytes) -> object:
    """The value of a JSON text; None of an empty one.

    Raises:
        Refusal: it is no JSON, or holds NaN, a number of thousands of digits, or half a character.
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
        raise Refusal(422, "the body is no valid JSON") from None
    except ValueError:  # Python's own bound
        raise Refusal(422, "the body holds a number of thousands of digits") from None
    return value


class _FormInMemory(MultiPartParser):
    """Files stay where `Intake` bounds them: a full disk fails no request, and no picture is left on it."""

    spool_max_size = sys.maxsize


async def read_form(request: Request, max_files: int, max_fields: int) -> FormData:
    """The fields and files of a multipart form; nothing of a body of another type.

    Raises:
        Refusal: it is broken, or has more of either.
        ClientDisconnect: the client has hung up before its end.
    """
    if not _is_form(request):
        return FormData()
    try:
        parser = _FormInMemory(request.headers, request.stream(), max_files=max_files, max_fields=max_fields)
        return await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, error.message) from None


def check_texts(values: Mapping[str, object]) -> None:
    """Refuse half a character (a lone surrogate), which no text has, anywhere in the fields of a request.

    Raises:
        Refusal: one is there.
    """
    for name, value in values.items():
        try:
            json.dumps([name, value], ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            shown = printable(name)[:80]
            raise Refusal(422, f"{shown} holds half a character (a lone surrogate), which no text has", shown) from None


def _no_number(name: str) -> NoReturn:
    raise Refusal(422, f"the body holds {name}, which is no number of JSON's")


def _is_json(content_type: str) -> bool:
    """Whether the framework takes a body of this type for JSON."""
    kind = _kind(content_type)
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _is_form(request: Request) -> bool:
    return _kind(request.headers.get("content-type", "")) == "multipart/form-data"


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
