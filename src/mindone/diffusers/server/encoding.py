"""Encodes images for clients; PNG files contain their job."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from .. import __version__
from ..jobs.png import infotext, png_bytes
from .catalogue import Catalogue
from .ticket import Ticket

if TYPE_CHECKING:
    from PIL.Image import Image


def encoded(image: Image, output_format: str = "png", quality: int = 90) -> str:
    """An image file without its job, in base64; ``quality`` is for JPEG and WebP, from 0 to 100."""
    file = io.BytesIO()
    options = {} if output_format == "png" else {"quality": quality}
    image.save(file, format=output_format.upper(), **options)
    return base64.b64encode(file.getvalue()).decode()


def encoded_png(image: Image, ticket: Ticket, catalogue: Catalogue, index: int) -> str:
    """The PNG file of a ticket's image ``index``, with its job inside, in base64."""
    job = catalogue.public(ticket.job)
    return base64.b64encode(png_bytes(image, job, _about(ticket, index))).decode()


def infotext_of(image: Image, ticket: Ticket, catalogue: Catalogue, index: int) -> str:
    """The parameters of an image in AUTOMATIC1111's format."""
    return infotext(image, catalogue.public(ticket.job), _about(ticket, index))


def _about(ticket: Ticket, index: int) -> dict[str, object]:
    own = {"image": index, "image_seed": ticket.job.seeds[index]} if ticket.job.num_images > 1 else {}
    profile = {} if ticket.profile is None else {"profile": ticket.profile}
    return {"version": __version__, **profile, **own}
