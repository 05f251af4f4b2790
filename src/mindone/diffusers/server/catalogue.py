"""What requests may name: what the operator has allowed. A path or an address is never taken from a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath

from ..jobs import Job, PipelineKey
from ..jobs.run import weighed
from ..utils.infotext import split_lora_tags
from .refusals import Refusal
from .settings import Settings


class Catalogue:
    """Models and LoRAs by the names that clients use.

    Raises:
        ValueError: two of them have one name.
    """

    def __init__(self, settings: Settings):
        self._common = {"dtype": settings.dtype, "engine": settings.engine, "tiny_vae": settings.tiny_vae}
        self._models = _named(settings.model, "model")
        self._loras = _named(settings.lora, "lora")

    @property
    def models(self) -> list[str]:
        """The names of the models; the first one is the default."""
        return list(self._models)

    @property
    def loras(self) -> list[str]:
        """The names of the LoRAs."""
        return list(self._loras)

    def key(self, model: str | None = None, loras: Iterable[tuple[str, float]] = ()) -> PipelineKey:
        """The pipeline that a name stands for, with these LoRAs and their weights.

        Raises:
            Refusal: a name that was not allowed.
        """
        name = self.models[0] if model is None else model
        weighed = tuple(f"{self._known(self._loras, each, 'lora')}:{weight:g}" for each, weight in loras)
        values = {**self._common, "model": self._known(self._models, name, "model"), "lora": weighed}
        return PipelineKey.of(values)

    def key_for(self, model: str | None, prompt: str) -> tuple[PipelineKey, str]:
        """The pipeline for a prompt that may name LoRAs, and the prompt without their names."""
        rest, loras = split_lora_tags(prompt)
        return self.key(model, loras), rest

    def name_of(self, key: PipelineKey) -> str:
        """What clients call a pipeline's model."""
        return next(name for name, path in self._models.items() if path == key.model)

    def public(self, job: Job) -> Job:
        """A job as clients may see it: with names where it has the operator's paths."""
        loras = {path: name for name, path in self._loras.items()}
        weighed_loras = [weighed(text) for text in job.lora]
        return job.model_copy(
            update={
                "model": self.name_of(job),
                "lora": tuple(f"{loras[path]}:{weight:g}" for path, weight in weighed_loras),
                "tiny_vae": None if job.tiny_vae is None else PurePath(job.tiny_vae).name,
            }
        )

    @staticmethod
    def _known(allowed: Mapping[str, str], name: str, field: str) -> str:
        if name not in allowed:
            known = f"known are {', '.join(allowed)}" if allowed else "there are none here"
            raise Refusal(404, f"unknown {field} {name[:80]!r}; {known}", field)
        return allowed[name]


def _named(given: Iterable[str], field: str) -> dict[str, str]:
    """``NAME=PATH`` or a path, whose last part is then the name."""
    named: dict[str, str] = {}
    for text in given:
        name, sign, path = text.partition("=")
        if not sign:
            path = text
            name = PurePath(text).stem if text.endswith(".safetensors") else PurePath(text).name
        if not name or not path:
            raise ValueError(f"{field} must be PATH_OR_ID or NAME=PATH_OR_ID, got {text!r}")
        if name in named:
            raise ValueError(f"two of --{field} have the name {name!r}; give each its own as NAME=PATH_OR_ID")
        named[name] = path
    return named
