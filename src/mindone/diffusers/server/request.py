"""What the two APIs have in common: from the values of a request to a ticket, within the operator's bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image
from pydantic import ValidationError
from starlette.requests import Request

from ..jobs import Job
from ..jobs.pictures import Pictures, check_mask
from .refusals import Refusal
from .service import Service
from .settings import Settings
from .ticket import Ticket
from .uploads import Upload

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Start:
    """The picture that a request starts from, and where it is drawn anew: white in ``mask``."""

    image: Upload
    mask: Image.Image | None = None


def service_of(request: Request) -> Service:
    """The service of the application that a request came to."""
    service: Service = request.app.state.service
    return service


def client_of(request: Request) -> str:
    """Whose turn it is: a client is an address, with the key that it has shown."""
    address = request.client.host if request.client is not None else "local"
    return f"{address} {request.scope.get('state', {}).get('key', '')}"


def make_ticket(
    request: Request,
    model: str | None,
    fields: Mapping[str, object],
    start: Start | None = None,
    names: Mapping[str, str] | None = None,
    previews: int = 0,
) -> Ticket:
    """A ticket that can be submitted.

    Args:
        request: who asks.
        model: the name of a model; None is the first one.
        fields: of a job, as the client gave them; what is None is left to the model.
        start: the picture to start from.
        names: what the client calls a field, where that is not the job's name.
        previews: how many to make on the way.

    Raises:
        Refusal: a value is out of bounds or not allowed.
    """
    service, names = service_of(request), names or {}
    given = {name: value for name, value in fields.items() if value is not None}
    key, given["prompt"] = service.catalogue.key_for(model, _prompt(given.get("prompt"), service.settings))
    pictures = Pictures()
    if start is not None:
        given |= {"image": start.image.name, **({"mask": f"{start.image.name}-mask"} if start.mask else {})}
        pictures = Pictures(_on_white(start.image.picture), start.mask)
    try:
        if start is not None and start.mask is not None:
            check_mask(start.image.picture, start.mask)
        job = Job.of({**key.to_dict(), **given})
    except (ValueError, ValidationError) as error:
        raise Refusal(422, str(error), _field(str(error), names)) from None
    _check_bounds(job, service.settings, names)
    return Ticket(job, client_of(request), pictures, previews)


def _prompt(prompt: object, settings: Settings) -> str:
    text = str(prompt)
    _check_text("prompt", text, settings)
    return text


def _check_text(name: str, text: str, settings: Settings) -> None:
    if len(text) > settings.max_prompt:
        raise Refusal(422, f"{name} has {len(text)} characters; at most {settings.max_prompt} are taken", name)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Refusal(422, f"{name} holds half a character (a lone surrogate), which no text has", name)


def _check_bounds(job: Job, settings: Settings, names: Mapping[str, str]) -> None:
    bounds = {
        "height": settings.max_side,
        "width": settings.max_side,
        "steps": settings.max_steps,
        "num_images": settings.max_images,
    }
    for name, most in bounds.items():
        value = getattr(job, name)
        if value is not None and value > most:
            theirs = names.get(name, name)
            raise Refusal(422, f"{theirs} must be at most {most} here, got {value}", theirs)
    _check_text("negative_prompt", job.negative_prompt or "", settings)


def _field(message: str, names: Mapping[str, str]) -> str | None:
    """The field that a job's message begins with."""
    first = message.split(" ")[0]
    return names.get(first, first) if first in Job.model_fields else None


def _on_white(picture: Image.Image) -> Image.Image:
    """Without transparency."""
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
