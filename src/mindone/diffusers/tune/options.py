"""The options of a search."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..bench.shapes import ShapeName
from ..jobs import Fields, Option
from ..jobs.job import EngineName, PathOrId, Variant

_PATH = Option(metavar="PATH_OR_ID")
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}


def parse_memory(value: object) -> object:
    """``2GB``, ``800 MiB`` or a number of bytes as bytes.

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([\d.]+)\s*([a-zA-Z]*)", value.strip())
    try:
        return int(float(found[1]) * _UNITS[found[2].upper()]) if found else int(value)
    except (ValueError, KeyError):
        raise ValueError("must be a size such as 2GB or 800MB") from None


def _size(value: str) -> str:
    """Check for a size above 0; raises as `parse_memory`."""
    if parse_memory(value) == 0:
        raise ValueError("must be a size such as 2GB or 800MB")
    return value


class Options(Fields):
    """The user's choices."""

    model: Annotated[
        PathOrId | None,
        Field(description="What to tune: a folder, a hub id, or the name of a bundled checkpoint."),
        Option(metavar="PATH_OR_ID", unset="icons"),
    ] = None
    variant: Variant = None
    speed_up: Annotated[
        float | None,
        Field(gt=0, description="The speed-up to reach over 25 DPM++ steps in half precision."),
        Option(metavar="FACTOR"),
    ] = None
    seconds: Annotated[
        float | None, Field(gt=0, description="The most seconds per image."), Option(metavar="SECONDS")
    ] = None
    min_psnr: Annotated[
        float | None,
        Field(gt=0, lt=100, description="The least PSNR against the reference image, in decibels."),
        Option(metavar="DB"),
    ] = None
    memory: Annotated[
        Annotated[str, AfterValidator(_size)] | None,
        Field(description="The most memory at the peak, such as 2GB."),
        Option(metavar="SIZE"),
    ] = None
    budget: Annotated[
        float | None,
        Field(gt=0, description="Minutes to search."),
        Option(metavar="MINUTES", unset="2.5, or 30 if the weights take over 1 GB"),
    ] = None
    distilled: Annotated[
        PathOrId | None,
        Field(description="A distilled model that may replace it, such as nota-ai/bk-sdm-small."),
        _PATH,
    ] = None
    tiny_vae: Annotated[
        PathOrId | None, Field(description="A tiny autoencoder that may decode, such as madebyollin/taesd."), _PATH
    ] = None
    prompts: Annotated[
        Path | None,
        BeforeValidator(lambda value: Path(value) if isinstance(value, str) else value),
        Field(description="A file of prompts, one per line."),
        Option(metavar="FILE", unset="six bundled prompts"),
    ] = None
    height: Annotated[int | None, Field(ge=1, description="In pixels."), Option(unset="the model's")] = None
    width: Annotated[int | None, Field(ge=1, description="In pixels."), Option(unset="the model's")] = None
    seed: Annotated[int, Field(ge=0, description="Prompt i has the noise of seed + i.")] = 0
    engine: EngineName = None
    shape: Annotated[
        ShapeName | None,
        Field(description="Random weights in the shapes of published models: measures only cost, without a download."),
    ] = None
    name: Annotated[
        str | None,
        Field(description="Also save the profile under this name, for `generate --profile NAME`."),
        Option(metavar="NAME"),
    ] = None

    @model_validator(mode="after")
    def _no_contradictions(self) -> Options:
        if self.shape:
            for name in ("model", "variant", "distilled", "tiny_vae", "min_psnr", "name"):
                if getattr(self, name):
                    why = "has no quality to measure" if name == "min_psnr" else "makes random weights of its own"
                    raise ValueError(f"--shape {why}; leave it out, or leave out --{name.replace('_', '-')}")
        if self.speed_up is not None and self.speed_up < 1:
            raise ValueError(f"speed_up must be 1 or more, got {self.speed_up:g}; a slower image needs no search")
        if self.min_psnr is not None and self.min_psnr > 60:
            raise ValueError(
                f"min_psnr {self.min_psnr:g} rules out any speed-up: above 60 dB the eye sees no difference"
            )
        if self.name and not self.has_target:
            raise ValueError("--name saves one profile: say which, with --speed-up, --seconds, --min-psnr or --memory")
        return self

    @property
    def has_target(self) -> bool:
        """Whether the user wants one profile, not just the front."""
        return any(each is not None for each in (self.speed_up, self.seconds, self.min_psnr, self.memory))

    @property
    def targets(self) -> dict[str, float | None]:
        """The targets for `Front.at`."""
        memory = None if self.memory is None else float(str(parse_memory(self.memory)))
        return {"speed_up": self.speed_up, "seconds": self.seconds, "min_psnr": self.min_psnr, "memory": memory}
