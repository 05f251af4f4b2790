"""Profiles: small files with a pipeline's speed-ups, and the measurements behind them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from ..acceleration.checkpoints import Distilled, TinyAutoencoder
from ..acceleration.fewer_tokens import FewerTokens
from ..acceleration.guidance_interval import GuidanceInterval
from ..acceleration.int8.products import Int8
from ..acceleration.precision import ComputesIn
from ..acceleration.solver import Solver
from ..acceleration.stack import Caches, Stack, parse_caches
from ..schedulers.calibration_rows import parse_rows
from ..utils.environment import PROFILES
from ..utils.files import make_folder, read_json, write_json
from ..utils.printable import shown
from .fields import Fields
from .job import (
    LAST_TIMESTEP,
    MOST_PIXELS,
    MOST_STEPS,
    MOST_VALUES,
    PathOrId,
    Precision,
    SchedulerName,
    Variant,
    check_calibration,
)

if TYPE_CHECKING:
    from ..pipelines.published import PublishedPipeline

FORMAT = 1
"""The version of the file format that this program writes, and the highest that it reads."""
SUFFIX = ".json"
_NOT_CALIBRATED = ("steps", "scheduler", "last_timestep", "image", "upscale")
"""Fields of a job that make calibrated steps meaningless if they differ from the profile's."""


class Settings(Fields):
    """The speed-ups of a profile: the fields of a job of the same names, and ``distilled`` for its ``model``."""

    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 25
    scheduler: SchedulerName = "dpm++"
    last_timestep: Annotated[int | None, Field(ge=0, le=LAST_TIMESTEP)] = None
    calibration: Annotated[tuple[str, ...], Field(max_length=MOST_STEPS)] = ()
    dtype: Precision = "float16"
    cache: Annotated[tuple[str, ...], Field(max_length=MOST_VALUES)] = ()
    guidance_interval: tuple[float, float] | None = None
    token_downsampling: Annotated[int | None, Field(ge=1, le=MOST_PIXELS)] = None
    int8: bool = False
    int8_vae: bool = False
    tiny_vae: PathOrId | None = None
    distilled: PathOrId | None = None

    @model_validator(mode="after")
    def _no_contradictions(self) -> Settings:
        if self.cache:
            parse_caches(self.cache)
        if self.calibration:
            check_calibration(self.calibration, self.steps, self.scheduler, self.last_timestep)
        return self

    @property
    def words(self) -> str:
        """The settings in a few words."""
        return self.stack.words

    @property
    def stack(self) -> Stack:
        """The settings as speed-ups."""
        speed_ups = (
            Solver(self.steps, self.scheduler, self.last_timestep, self.calibration),
            Caches(parse_caches(self.cache)),
            GuidanceInterval(*(self.guidance_interval or (0.0, 1.0))),
            FewerTokens(self.token_downsampling or 1),
            Int8() if self.int8 else None,
            ComputesIn(self.dtype),
            TinyAutoencoder(self.tiny_vae) if self.tiny_vae else None,
            Int8("vae") if self.int8_vae else None,
            Distilled(self.distilled) if self.distilled else None,
        )
        return Stack(each for each in speed_ups if each is not None)

    def job_fields(self) -> dict[str, object]:
        """All fields of a job with these settings, so that none is left to the model."""
        fields = self.model_dump()
        distilled = fields.pop("distilled")
        return {**fields, "model": distilled, "variant": None, "gguf": None} if distilled else fields


class Evidence(Fields):
    """The measurements of a profile's settings, on the machine that the profile names."""

    predicted_seconds: float
    measured_seconds: float | None = None
    baseline_seconds: float
    """Seconds of 25 DPM++ steps in half precision."""
    speed_up: float
    psnr: float | None = None
    """PSNR in decibels over all prompts' images, against the reference; None if quality was not measured."""
    psnr_error: float | None = None
    """The standard error of the mean over prompts; None for a single prompt."""
    ssim: float | None = None
    peak_memory: int | None = None
    """Bytes."""
    prompts: int = 0
    reference: str = ""


class Profile(Fields):
    """Settings for one checkpoint at one size, with the machine, the versions and the evidence behind them."""

    format: int = FORMAT
    checkpoint: str
    """The tuned checkpoint's id or folder."""
    variant: Variant = None
    fingerprint: str
    """Of the checkpoint's weights, see `applied.fingerprint`."""
    height: Annotated[int, Field(ge=1, le=MOST_PIXELS)]
    width: Annotated[int, Field(ge=1, le=MOST_PIXELS)]
    settings: Settings
    machine: dict[str, object] = Field(default_factory=dict)
    instruction_sets: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    evidence: Evidence | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON, without a variant if there is none, which earlier versions do not read."""
        write_json(path, self.model_dump(mode="json", exclude={"variant"} if self.variant is None else None))

    def on(self, pipe: PublishedPipeline) -> PublishedPipeline:
        """A view of a pipeline with the profile applied; the pipeline stays unchanged. See `Pipeline.apply_profile`."""
        view = pipe.view()
        view.apply_profile(self)
        return view

    def job_fields(self) -> dict[str, object]:
        """The fields of a job with the profile, at its size."""
        where = {"model": self.checkpoint, "variant": self.variant, "height": self.height, "width": self.width}
        return {**where, **self.settings.job_fields()}

    def job_fields_with(self, given: Mapping[str, object]) -> dict[str, object]:
        """The fields of a job in which ``given`` takes precedence.

        A picture to start from brings its own size. Calibrated steps work only from noise and in full number; any other
        job gets DPM-Solver++ steps with the same last timestep.
        """
        own = self.job_fields()
        if given.get("model") not in (None, own["model"]):
            own["variant"] = None
        if "image" in given:
            del own["height"], own["width"]
        if self.settings.calibration and any(given.get(name) not in (None, own.get(name)) for name in _NOT_CALIBRATED):
            own["calibration"] = ()
            if given.get("scheduler") in (None, self.settings.scheduler):
                own["last_timestep"] = int(parse_rows(self.settings.calibration)[-1][0])
        return {**own, **given}


def load_profile(name_or_path: str | os.PathLike[str], model: str | None = None) -> Profile:
    """The profile in a file, or the one saved for a model under a name.

    Args:
        name_or_path: a path that ends in ``.json``, or a name.
        model: the model whose saved profile to look for; None for the bundled checkpoint.

    Raises:
        FileNotFoundError: there is none; the message lists the existing ones.
        ValueError: a broken file, an unknown field, or a later format version.
    """
    text = os.fspath(name_or_path)
    path = Path(text).expanduser() if text.endswith(SUFFIX) else saved_path(text, model or "icons")
    if not path.is_file():
        if text.endswith(SUFFIX):
            raise FileNotFoundError(f"no profile {text}; mindone-diffusers tune makes one")
        known = sorted(each.stem for each in path.parent.glob(f"*{SUFFIX}"))
        have = f"saved are {', '.join(known)}" if known else "there is none yet: mindone-diffusers tune --name NAME"
        raise FileNotFoundError(f"no profile {shown(text)} is saved for {model or 'icons'}; {have}")
    values = read_json(path)
    if not isinstance(values, dict) or not isinstance(values.get("settings"), dict):
        raise ValueError(f"{path} is no profile: it must be a JSON object with settings")
    version = values.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise ValueError(
            f"{path} is a profile of format {version} and this version reads up to {FORMAT}: update mindone-diffusers"
        )
    try:
        settings = Settings.of(values["settings"])
        return Profile.of({**values, "settings": settings})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def saved_profiles() -> dict[str, list[str]]:
    """The names of saved profiles, by model."""
    found: dict[str, list[str]] = {}
    for path in sorted(_root().glob(f"*/*{SUFFIX}")):
        found.setdefault(path.parent.name.replace("--", "/"), []).append(path.stem)
    return found


def _root() -> Path:
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(PROFILES.value or f"{data}/mindone-diffusers/profiles").expanduser()


def saved_path(name: str, model: str) -> Path:
    """The path of a model's saved profile of that name: in ``$MINDONE_PROFILES``, or else in the user's data folder.

    Raises:
        ValueError: the name could lead to another folder.
    """
    if not re.fullmatch(r"[\w.+×-]+", name) or name.startswith("."):
        raise ValueError(f"a profile's name may have only letters, digits, - and _, got {shown(name)}")
    folder = re.sub(r"[^\w.-]+", "--", model.strip("/")) or "model"
    return _root() / folder / f"{name}{SUFFIX}"


def save_under_name(profile: Profile, name: str, model: str) -> Path:
    """Save a profile for ``generate --profile NAME``. Returns the file."""
    path = saved_path(name, model)
    make_folder(path.parent)
    profile.save(path)
    return path
