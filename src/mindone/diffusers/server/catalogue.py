"""The models, LoRAs, ControlNets and profiles that requests may name; requests cannot give paths or URLs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TypeVar

from ..jobs import Job, PipelineKey
from ..jobs.infotext import LoraTag, split_lora_tags
from ..jobs.loras import LARGEST_WEIGHT, WeighedLora, merged
from ..jobs.own_values import OwnValues, own_values
from ..jobs.profile import SUFFIX
from .profiles import Offer, offers
from .refusals import Refusal
from .settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """The names in a request; None means the first model, the profile's model, or none."""

    model: str | None = None
    profile: str | None = None
    controlnet: str | None = None


class Catalogue:
    """Models, LoRAs, ControlNets and profiles by the names that clients use.

    Raises:
        ValueError, OSError: two of them share a name, or a profile is unreadable or for a model that is not offered.
    """

    def __init__(self, settings: Settings):
        self._common = {"dtype": settings.dtype, "engine": settings.engine, "tiny_vae": settings.tiny_vae}
        self._models = _named(settings.model, "model")
        self._denoisers = _by_model(settings.gguf, "gguf", "FILE.gguf", self._models)
        self._variants = _by_model(settings.variant, "variant", "VARIANT", self._models)
        self._loras = _named(settings.lora, "lora")
        self._controlnets = _named(settings.controlnet, "controlnet")
        self.profiles: Mapping[str, Offer] = offers(_named(settings.profile, "profile"), self._models)
        self.models = list(self._models)
        """The names of the models; the first one is the default."""
        self.loras, self.controlnets = list(self._loras), list(self._controlnets)
        self._own_values: dict[str, OwnValues] = {}

    def key(self, choice: Choice = Choice(), loras: Iterable[LoraTag] = ()) -> PipelineKey:
        """The pipeline of a choice, with these LoRAs and their weights.

        Raises:
            Refusal: a name is not allowed, or the profile is for another model.
        """
        offer = self.profile(choice)
        name = choice.model or (self.models[0] if offer is None else offer.model)
        values: dict[str, object] = {**self._common, "model": self._known(self._models, name, "model")}
        values |= {"gguf": self._denoisers.get(name), "variant": self._variants.get(name)}
        if offer is not None:
            own = offer.profile.settings.job_fields()
            values |= {field: value for field, value in own.items() if field in PipelineKey.model_fields}
        named = [
            WeighedLora(self._known(self._loras, tag.name, "lora"), tag.text_encoder, tag.denoiser) for tag in loras
        ]
        weighed = merged(named)
        if any(lora.largest > LARGEST_WEIGHT for lora in weighed):  # the weights of several tags add up
            raise Refusal(422, f"the weights of a LoRA's tags may add up to at most {LARGEST_WEIGHT:g}", "prompt")
        values["lora"] = tuple(map(str, weighed))
        if choice.controlnet is not None:
            values["controlnet"] = (self._known(self._controlnets, choice.controlnet, "controlnet"),)
        return PipelineKey.of(values)

    def own_values(self, name: str) -> OwnValues | None:
        """A model's defaults for open fields; None until this machine has its files. Raises like `key`."""
        if name not in self._own_values:
            found = own_values(self.key(Choice(name)))
            if found is None:
                return None
            self._own_values[name] = found
        return self._own_values[name]

    def profile(self, choice: Choice) -> Offer | None:
        """The chosen profile; raises like `key`."""
        if choice.profile is None:
            return None
        offer = self._known(self.profiles, choice.profile, "profile")
        if choice.model not in (None, offer.model):
            raise Refusal(422, f"profile {choice.profile} is for the model {offer.model}", "profile")
        return offer

    def key_for(self, choice: Choice, prompt: str) -> tuple[PipelineKey, str]:
        """The pipeline for a prompt that may name LoRAs, and the prompt without their tags; raises like `key`."""
        try:
            rest, loras = split_lora_tags(prompt)
        except ValueError as error:
            raise Refusal(422, str(error), "prompt") from None
        return self.key(choice, loras), rest

    def at_fault(self, key: PipelineKey, error: Exception) -> tuple[str, str] | None:
        """The field and name of the LoRA or ControlNet of a key that an error of loading it names; otherwise None."""
        used = {*(WeighedLora.parse(text).path for text in key.lora), *key.controlnet}
        for field, offered in (("lora", self._loras), ("controlnet", self._controlnets)):
            for name, path in offered.items():
                if path in used and path in str(error):
                    return field, name
        return None

    def name_of(self, key: PipelineKey) -> str:
        """The clients' name of a pipeline's model; for a profile's distilled model, the last part of its path."""
        for name, path in self._models.items():
            if (path, self._denoisers.get(name), self._variants.get(name)) == (key.model, key.gguf, key.variant):
                return name
        return PurePath(key.model).name

    def public(self, job: Job) -> Job:
        """A job as clients may see it: names replace the operator's paths."""
        loras = {path: name for name, path in self._loras.items()}
        controlnets = {path: name for name, path in self._controlnets.items()}
        weighed = [WeighedLora.parse(text) for text in job.lora]
        return job.model_copy(
            update={
                "model": self.name_of(job),
                "lora": tuple(str(replace(lora, path=loras[lora.path])) for lora in weighed),
                "controlnet": tuple(controlnets[path] for path in job.controlnet),
                "tiny_vae": None if job.tiny_vae is None else PurePath(job.tiny_vae).name,
                "gguf": None if job.gguf is None else PurePath(job.gguf).name,
            }
        )

    @staticmethod
    def _known(allowed: Mapping[str, T], name: str, field: str) -> T:
        if name not in allowed:
            known = f"choose from {', '.join(allowed)}" if allowed else "this server offers none"
            raise Refusal(404, f"unknown {field} {name[:80]!r}; {known}", field)
        return allowed[name]


def _by_model(given: Iterable[str], field: str, form: str, models: Mapping[str, str]) -> dict[str, str]:
    """What a field gives for each model, by the model's name; the first model's may come without."""
    found: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            name, value = next(iter(models)), text
        if name not in models or name in found or not value:
            known = ", ".join(models)
            raise ValueError(f"{field} must be {form} or NAME={form}, once per model ({known}); got {text!r}")
        found[name] = value
    return found


def _named(given: Iterable[str], field: str) -> dict[str, str]:
    """Paths by name, from ``NAME=PATH`` or from a path, which is named by its last part."""
    named: dict[str, str] = {}
    for text in given:
        name, sign, path = text.partition("=")
        if not sign:
            path = text
            name = PurePath(text).stem if text.endswith((".safetensors", ".gguf", SUFFIX)) else PurePath(text).name
        if not name or not path:
            raise ValueError(f"{field} must be PATH_OR_ID or NAME=PATH_OR_ID, got {text!r}")
        if name in named:
            raise ValueError(f"two of --{field} have the name {name!r}; name each one with NAME=PATH_OR_ID")
        named[name] = path
    return named
