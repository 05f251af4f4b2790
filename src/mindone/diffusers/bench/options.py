"""The options of a bench."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from ..jobs import Drawing, Option
from ..jobs.job import EngineName, PathOrId, SchedulerName
from .shapes import ShapeName

Peer: TypeAlias = Literal["diffusers", "openvino-genai"]
"""Another library to compare with."""
_PATH = Option(metavar="PATH_OR_ID")


class Options(Drawing):
    """The user's choices; the tables' protocol decides what is unset."""

    model: Annotated[
        PathOrId | None,
        Field(description="The baseline."),
        Option(metavar="PATH_OR_ID", unset="icons, bundled with the package, and its variants"),
    ] = None
    distilled: Annotated[
        PathOrId | None, Field(description="A model distilled from --model, such as nota-ai/bk-sdm-small."), _PATH
    ] = None
    tiny_vae: Annotated[
        PathOrId | None, Field(description="A tiny autoencoder for --model, such as madebyollin/taesd."), _PATH
    ] = None
    prompt: Annotated[
        str | None,
        Field(description="What to generate."),
        Option(metavar="TEXT", unset="the guide's astronaut; for icons a rocket"),
    ] = None
    steps: Annotated[
        int | None, Field(ge=1, description="Denoising steps."), Option(unset="50 in table 1, 25 in the others")
    ] = None
    scheduler: Annotated[
        SchedulerName | None,
        Field(description="The scheduler (sampler)."),
        Option(metavar="NAME", unset="ddim in table 1, pndm in table 2, dpm++ in table 3"),
    ] = None
    num_images: Annotated[
        int | None, Field(ge=1, description="Images per run."), Option(unset="4 in table 2, 1 in the others")
    ] = None
    repeats: Annotated[int, Field(ge=1, description="Timed runs of each row.")] = 3
    seed: Annotated[int, Field(ge=0, description="Image i has seed + i.")] = 0
    dtype: Annotated[Literal["float16", "bfloat16"], Field(description="Which half precision.")] = "float16"
    engine: EngineName = None
    table: Annotated[
        Literal["1", "2", "3"] | None, Field(description="Measure only this table."), Option(unset="1 and 2")
    ] = None
    against: Annotated[
        tuple[Peer, ...],
        Field(description="Add the rows of another library to tables 1 and 3; repeat for several."),
    ] = ()
    only: Annotated[
        tuple[str, ...],
        Field(description="Measure only rows whose names contain this, and the baseline; repeat for several."),
        Option(metavar="TEXT"),
    ] = ()
    shape: Annotated[
        ShapeName | None,
        Field(description="Random weights in the shapes of published models: times without a download."),
    ] = None
    profile: Annotated[
        str | None,
        Field(description="Measure a profile from `tune` next to the baseline: a file, or a saved profile's name."),
        Option(metavar="FILE.json or NAME"),
    ] = None
    output: Annotated[Path, Field(description="Folder for the report; it replaces an earlier one.")] = Path(
        "mindone-bench"
    )

    @model_validator(mode="after")
    def _weights_come_from_one_place(self) -> "Options":
        given = [name for name in ("model", "distilled", "tiny_vae") if getattr(self, name)]
        if self.shape and given:
            raise ValueError(
                f"--shape makes random weights of its own; leave it out, or leave out --{given[0].replace('_', '-')}"
            )
        if self.shape and self.profile:
            raise ValueError("--profile fits only the checkpoint that it was made for; leave out --shape")
        return self
