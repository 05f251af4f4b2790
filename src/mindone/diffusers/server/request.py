"""The common part of the two APIs: turns the values of a request into a ticket, within the operator's limits."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from PIL import Image
from pydantic import Field, ValidationError
from starlette.requests import Request

from ..engines.cache import return_freed_memory
from ..jobs import Job
from ..jobs.checks import family_here, refusal, unsupported
from ..jobs.pictures import Pictures, check_mask
from .catalogue import Choice
from .refusals import Cancelled, Refusal
from .service import Service
from .settings import Settings
from .ticket import Ticket
from .uploads import Upload

if TYPE_CHECKING:
    from ..jobs.checks import Family

LARGEST_SEED = 2**63 - 1
Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""A number in a request, limited to a sane range before the operator's own limits apply."""


@dataclass(frozen=True)
class Control:
    """The picture for a ControlNet: whether to follow its edges (``canny``) or itself (``image``), and how closely."""

    picture: Upload
    kind: str
    scale: float


@dataclass(frozen=True)
class Uploads:
    """The picture that a request starts from, the part to change (white in ``mask``), and a picture to follow."""

    image: Upload | None = None
    mask: Image.Image | None = None
    control: Control | None = None

    @property
    def job_fields(self) -> dict[str, object]:
        """The fields of a job, with names in place of the pictures."""
        fields: dict[str, object] = {}
        if self.image is not None:
            fields |= {"image": self.image.name, **({"mask": f"{self.image.name}-mask"} if self.mask else {})}
        if self.control is not None:
            named = f"{self.control.kind}={self.control.picture.name}"
            fields |= {"control": (named,), "control_scale": (self.control.scale,)}
        return fields

    @property
    def pictures(self) -> Pictures:
        """The same pictures, as inputs of a job.

        Raises:
            ValueError: image and mask have different sizes, or the mask is all black.
        """
        image = None if self.image is None else self.image.picture
        if image is not None and self.mask is not None:
            check_mask(image, self.mask)
        controls = () if self.control is None else ((self.control.kind, self.control.picture.picture),)
        return Pictures(image, self.mask, controls, spent=True)


def _no_pictures() -> Pictures:
    return Pictures()


@dataclass(frozen=True)
class Sent:
    """Waiting pictures: the job's fields for them, and a function that decodes the client's bytes when it is time."""

    job_fields: Mapping[str, object]
    open: Callable[[], Pictures]


NOTHING_SENT = Sent({}, _no_pictures)


async def accepted(request: Request, decode: Callable[[], Uploads]) -> Sent:
    """Check that a request's pictures are usable, once the queue has room for the request.

    A thread decodes them, one request at a time and each client in turn, and then drops them: a decoded picture can
    take a thousand times its file.

    Args:
        request: the client's request.
        decode: decodes the client's pictures; called again when the job runs.

    Raises:
        Refusal: the queue is full, or ``decode`` refuses.
        Cancelled: the client hung up before its turn.
    """

    def checked() -> Mapping[str, object]:
        try:
            return _job_fields(decode)
        finally:
            return_freed_memory()

    async with service_of(request).decoding(client_of(request)):
        if await request.is_disconnected():
            raise Cancelled
        return Sent(await asyncio.to_thread(checked), lambda: decode().pictures)


def _job_fields(decode: Callable[[], Uploads]) -> Mapping[str, object]:
    """The job's fields of pictures, after a check that they decode and fit together."""
    try:
        uploads = decode()
        _ = uploads.pictures
    except ValueError as error:
        raise Refusal(422, str(error), _field(str(error), {})) from None
    return uploads.job_fields


def service_of(request: Request) -> Service:
    """The service of a request's application."""
    service: Service = request.app.state.service
    return service


def client_of(request: Request) -> str:
    """The client in terms of fairness: its key, or without one its address; for IPv6 the network (/64).

    The owner of an IPv6 address owns its whole network, and could otherwise pose as a new client with each request.
    """
    key = request.scope.get("state", {}).get("key")
    if key is not None:
        return f"key {key}"
    host = request.client.host if request.client is not None else "local"
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def make_ticket(
    request: Request,
    choice: Choice,
    fields: Mapping[str, object],
    sent: Sent = NOTHING_SENT,
    names: Mapping[str, str] | None = None,
    previews: int = 0,
    family: Family | None = None,
) -> Ticket:
    """A ticket ready to submit.

    Args:
        request: the client's request.
        choice: the client's model, profile and ControlNet.
        fields: the client's fields of a job; the profile or the model fills in None.
        sent: the request's pictures.
        names: the client's names of fields, if they differ from the job's.
        previews: how many previews to make.
        family: the model's, if it has been read; None reads it now.

    Raises:
        Refusal: a value is out of range or not allowed.
    """
    service, names = service_of(request), names or {}
    given = {name: value for name, value in {**fields, **sent.job_fields}.items() if value is not None}
    _check_length("prompt", str(given["prompt"]), service.settings)
    try:
        key, given["prompt"] = service.catalogue.key_for(choice, str(given["prompt"]))
        offer = service.catalogue.profile(choice)
        values = given if offer is None else offer.profile.job_fields_with(given)
        job = Job.of({**values, **key.model_dump()})
    except (ValueError, ValidationError) as error:
        raise Refusal(422, str(error), _field(str(error), names)) from None
    family = family or family_here(key)
    if family is not None and (found := unsupported(job, family)):
        field = names.get(found[0], found[0])
        raise Refusal(422, refusal(field, found[1]), field)
    check_bounds({name: getattr(job, name) for name in _BOUNDS}, service.settings, names)
    _check_length("negative_prompt", job.negative_prompt or "", service.settings)
    ticket = Ticket(job, client_of(request), sent.open, previews, choice.profile)
    request.state.ticket = ticket  # for the log
    return ticket


def _check_length(name: str, text: str, settings: Settings) -> None:
    if len(text) > settings.max_prompt:
        raise Refusal(422, f"{name} has {len(text)} characters; the server takes at most {settings.max_prompt}", name)


_BOUNDS = {"height": "max_side", "width": "max_side", "steps": "max_steps", "num_images": "max_images"}
"""The operator's setting that limits a field of a job."""


def check_bounds(values: Mapping[str, int | None], settings: Settings, names: Mapping[str, str]) -> None:
    """Refuse values above the operator's limits.

    Args:
        values: values of a job's fields; None is open.
        settings: the operator's settings.
        names: the client's names of fields, if they differ from the job's.
    """
    for name, value in values.items():
        most: int = getattr(settings, _BOUNDS[name])
        if value is not None and value > most:
            theirs = names.get(name, name)
            raise Refusal(422, f"{theirs} must be at most {most} here, got {value}", theirs)


def _field(message: str, names: Mapping[str, str]) -> str | None:
    """The field at the start of a job's error message."""
    first = message.split(" ")[0]
    return names.get(first, first) if first in Job.model_fields else None
