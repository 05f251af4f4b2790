"""What an operator decides: what may be drawn, how much of it, and who may ask. The command has an option for each."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..jobs import Fields, Option
from ..jobs.job import Dtype, EngineName, PathOrId, TinyVae


class Settings(Fields):
    """Options of the server; frozen, so that a request can change none."""

    model: Annotated[
        tuple[str, ...],
        Field(
            description="A model that requests may name, the first one by default: a folder, a hub id, a bundled "
            "checkpoint or one FILE.safetensors or FILE.gguf, and before it the name to offer it under; again for each "
            "further one."
        ),
        Option(metavar="[NAME=]PATH_OR_ID"),
    ] = ("icons",)
    gguf: Annotated[
        tuple[str, ...],
        Field(
            description="A GGUF file with the weights of a model's denoiser, and before it the model's name, else the "
            "first one's; again for each further model."
        ),
        Option(metavar="[NAME=]FILE.gguf"),
    ] = ()
    lora: Annotated[
        tuple[str, ...],
        Field(description="A LoRA that prompts may name as <lora:NAME:WEIGHT>; again for each further one."),
        Option(metavar="[NAME=]PATH_OR_ID"),
    ] = ()
    profile: Annotated[
        tuple[str, ...],
        Field(
            description="A speed that requests may choose: what `tune` found for one of the models, as a file or as "
            "the name that it was saved under; again for each further one."
        ),
        Option(metavar="[NAME=]FILE.json or NAME"),
    ] = ()
    controlnet: Annotated[
        tuple[str, ...],
        Field(description="A ControlNet that requests may name; again for each further one."),
        Option(metavar="[NAME=]PATH_OR_ID"),
    ] = ()
    tiny_vae: TinyVae = None
    dtype: Dtype = "float16"
    engine: EngineName = None

    host: Annotated[
        str,
        Field(description="The address to listen on. One that other machines reach needs --api-key."),
        Option(metavar="ADDRESS"),
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="The port; 0 takes a free one.")] = 7860
    api_key: Annotated[
        PathOrId | None,
        Field(description="A file with a key per line; every request must carry one of them."),
        Option(metavar="FILE", unset="no key"),
    ] = None

    forwarded_allow_ips: Annotated[
        str | None,
        Field(
            description="The addresses or networks of proxies, separated by commas, whose X-Forwarded-For names the "
            "client; * trusts everybody."
        ),
        Option(metavar="ADDRESS,…", unset="nobody's"),
    ] = None

    max_queue: Annotated[int, Field(ge=1, description="Requests that may wait; the next one gets 429.")] = 64
    max_images: Annotated[int, Field(ge=1, description="Images of one request.")] = 4
    max_steps: Annotated[
        int, Field(ge=1, description="Denoising steps of one image, also of a model that takes more by default.")
    ] = 100
    max_side: Annotated[int, Field(ge=8, description="Height and width of an image, in pixels.")] = 1024
    max_prompt: Annotated[int, Field(ge=1, description="Characters of a prompt.")] = 2000
    max_upload: Annotated[float, Field(gt=0, description="Megabytes of a request, pictures included.")] = 16.0
    max_held: Annotated[
        float,
        Field(gt=0, description="Megabytes of all requests at once, waiting ones included."),
    ] = 64.0
    max_upload_side: Annotated[int, Field(ge=8, description="Height and width of an uploaded picture.")] = 4096
    log: Annotated[
        Literal["nothing", "requests", "prompts"],
        Field(
            description="What to log of each request: nothing, a line with the image's settings, or the prompt as well."
        ),
    ] = "requests"
    memory: Annotated[
        float | None,
        Field(
            gt=0, description="Gigabytes of weights and compiled graphs to keep; the models used longest ago go first."
        ),
        Option(unset="half of the machine's"),
    ] = None
    ray: Annotated[
        str | None,
        Field(
            description="Draw on replicas under Ray Serve: auto is the cluster that this machine belongs to, local "
            "starts one here, and an address is that of its head."
        ),
        Option(metavar="ADDRESS", unset="in this process, without Ray"),
    ] = None
    replicas: Annotated[
        int | None,
        Field(ge=1, description="How many replicas draw, each with models of its own; with --ray."),
        Option(unset="one per node of the cluster"),
    ] = None

    @model_validator(mode="after")
    def _others_need_a_key(self) -> Settings:
        if not self.model:
            raise ValueError("model must name at least one model")
        if not self.is_loopback and self.api_key is None:
            raise ValueError(
                f"host {self.host} can be reached from other machines: give --api-key FILE, or keep to 127.0.0.1"
            )
        for proxy in (self.forwarded_allow_ips or "*").split(","):
            _check_network(proxy.strip())
        if self.max_held < self.max_upload:
            raise ValueError(f"max_held must be at least max_upload, {self.max_upload:g}, got {self.max_held:g}")
        if self.replicas is not None and self.ray is None:
            raise ValueError("replicas are for a cluster: give --ray auto or --ray local as well")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone reaches the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def upload_bytes(self) -> int:
        """``max_upload`` in bytes."""
        return int(self.max_upload * 1e6)

    @property
    def held_bytes(self) -> int:
        """``max_held`` in bytes."""
        return int(self.max_held * 1e6)


def _check_network(text: str) -> None:
    """Raise ValueError for what is neither an address nor a network nor *."""
    try:
        if text != "*":
            ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"forwarded_allow_ips must be addresses such as 127.0.0.1 or networks such as 10.0.0.0/8, got {text!r}"
        ) from None
