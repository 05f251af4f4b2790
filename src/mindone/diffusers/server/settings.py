"""The operator's settings: the models, the limits and the clients' access. `serve` has an option for each."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..jobs import Fields, Option
from ..jobs.job import Dtype, EngineName, PathOrId, TinyVae


class Settings(Fields):
    """Options of the server; frozen, so requests cannot change them."""

    model: Annotated[
        tuple[str, ...],
        Field(
            description="A model to offer: a folder, a hub id, a bundled checkpoint, or one FILE.safetensors or "
            "FILE.gguf, optionally with a name. Repeat for more models; the first one is the default."
        ),
        Option(metavar="[NAME=]PATH_OR_ID", unset="icons"),
    ] = ("icons",)
    gguf: Annotated[
        tuple[str, ...],
        Field(
            description="A GGUF file with the weights of a model's denoiser: the named model's, or the first one's. "
            "Repeat for more models."
        ),
        Option(metavar="[NAME=]FILE.gguf"),
    ] = ()
    variant: Annotated[
        tuple[str, ...],
        Field(
            description='The variant of a model\'s weight files, such as "fp16" for ….fp16.safetensors: the named '
            "model's, or the first one's. Repeat for more models."
        ),
        Option(metavar="[NAME=]VARIANT"),
    ] = ()
    lora: Annotated[
        tuple[str, ...],
        Field(description="A LoRA that prompts may name as <lora:NAME:WEIGHT>. Repeat for more LoRAs."),
        Option(metavar="[NAME=]PATH_OR_ID"),
    ] = ()
    profile: Annotated[
        tuple[str, ...],
        Field(
            description="A speed that requests may choose: a profile from `tune` for one of the models, as a file or "
            "by its saved name. Repeat for more profiles."
        ),
        Option(metavar="[NAME=]FILE.json or NAME"),
    ] = ()
    controlnet: Annotated[
        tuple[str, ...],
        Field(description="A ControlNet that requests may name. Repeat for more ControlNets."),
        Option(metavar="[NAME=]PATH_OR_ID"),
    ] = ()
    tiny_vae: TinyVae = None
    dtype: Dtype = "float16"
    engine: EngineName = None

    host: Annotated[
        str,
        Field(description="The address to listen on. An address that other machines can reach needs --api-key."),
        Option(metavar="ADDRESS"),
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="The port; 0 picks a free one.")] = 7860
    api_key: Annotated[
        PathOrId | None,
        Field(description="A file with one key per line; every request must send one of them."),
        Option(metavar="FILE", unset="no key"),
    ] = None

    forwarded_allow_ips: Annotated[
        str | None,
        Field(
            description="The addresses or networks of trusted proxies, separated by commas: their X-Forwarded-For "
            "names the client. * trusts everybody."
        ),
        Option(metavar="ADDRESS,…", unset="nobody's"),
    ] = None

    max_queue: Annotated[int, Field(ge=1, description="Maximum waiting requests; further ones get status 429.")] = 64
    max_images: Annotated[int, Field(ge=1, description="Maximum images per request.")] = 4
    max_steps: Annotated[
        int, Field(ge=1, description="Maximum denoising steps per image, even if the model's default is higher.")
    ] = 100
    max_side: Annotated[int, Field(ge=8, description="Maximum height and width of an image, in pixels.")] = 1024
    max_prompt: Annotated[int, Field(ge=1, description="Maximum characters of a prompt.")] = 2000
    max_upload: Annotated[
        float, Field(gt=0, description="Maximum size of a request in megabytes, pictures included.")
    ] = 16.0
    max_held: Annotated[
        float,
        Field(gt=0, description="Maximum megabytes of all requests together, waiting ones included."),
    ] = 64.0
    max_upload_side: Annotated[int, Field(ge=8, description="Maximum height and width of an uploaded picture.")] = 4096
    log: Annotated[
        Literal["nothing", "requests", "prompts"],
        Field(description="What to log per request: nothing, a line with the image's settings, or the prompt as well."),
    ] = "requests"
    memory: Annotated[
        float | None,
        Field(
            gt=0,
            description="Gigabytes of weights and compiled graphs to keep; the least recently used models go first.",
        ),
        Option(unset="half of the machine's"),
    ] = None
    ray: Annotated[
        str | None,
        Field(
            description="Generate on replicas under Ray Serve: auto uses this machine's cluster, local starts one "
            "here, and an address names a cluster's head."
        ),
        Option(metavar="ADDRESS", unset="in this process, without Ray"),
    ] = None
    replicas: Annotated[
        int | None,
        Field(ge=1, description="With --ray: the number of replicas, each with its own models."),
        Option(unset="one per node of the cluster"),
    ] = None

    @model_validator(mode="after")
    def _others_need_a_key(self) -> Settings:
        if not self.model:
            raise ValueError("model must name at least one model")
        if not self.is_loopback and self.api_key is None:
            raise ValueError(
                f"host {self.host} can be reached from other machines: give --api-key FILE, or use 127.0.0.1"
            )
        for proxy in (self.forwarded_allow_ips or "*").split(","):
            _check_network(proxy.strip())
        if self.max_held < self.max_upload:
            raise ValueError(f"max_held must be at least max_upload, {self.max_upload:g}, got {self.max_held:g}")
        if self.replicas is not None and self.ray is None:
            raise ValueError("replicas need a cluster: give --ray auto or --ray local as well")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
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
    """Raise ValueError unless the text is an address, a network or *."""
    try:
        if text != "*":
            ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"forwarded_allow_ips must be addresses such as 127.0.0.1 or networks such as 10.0.0.0/8, got {text!r}"
        ) from None
