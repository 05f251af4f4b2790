"""Reads and writes the text chunk ``parameters`` of images from AUTOMATIC1111 and similar programs.

It is a prompt, perhaps a line ``Negative prompt: …``, and a last line ``Steps: 20, Sampler: Euler a, CFG scale: 7, …``.
Here it is a dictionary with the names of a job's fields; other entries are kept as text under ``extra``.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from ..schedulers.registry import SHORT_NAMES
from ..schedulers.short_names import name_of_sampler

_NEGATIVE = "Negative prompt:"
_NAME = re.compile(r"[A-Za-z][\w \-/]*")
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_LEAST_ENTRIES = 3
"""A last line with fewer entries counts as part of the prompt."""
_MOST_ENTRIES = 1000
"""The most entries to read; AUTOMATIC1111 and all its extensions together write about a hundred."""
_LONGEST_NUMBER = 40
"""The most characters of a number; the largest seed has 20."""
_OTHER_NETWORK = re.compile(r"<(?:hypernet|lyco):[^<>]*>")
_LORA = re.compile(r"<lora:([^:<>]+)((?::[^:<>]*)*)>")

_DISTILLED = "Distilled CFG Scale"
"""Forge's name of the scale that FLUX.1 has built in. Beside it, ``CFG scale`` is the true guidance."""
_NUMBERS: dict[str, tuple[str, type[int] | type[float]]] = {
    "Steps": ("steps", int),
    "CFG scale": ("guidance_scale", float),
    "Seed": ("seed", int),
    "Denoising strength": ("strength", float),
}
_TEXTS = {"Model": "model", "Model hash": "model_hash"}
_ORDER = {
    "steps": "Steps",
    "scheduler": "Sampler",
    "true_cfg_scale": "CFG scale",
    "guidance_scale": "CFG scale",
    "seed": "Seed",
    "size": "Size",
    "model_hash": "Model hash",
    "model": "Model",
    "strength": "Denoising strength",
    "clip_skip": "Clip skip",
}
"""Our names and AUTOMATIC1111's, in its order of writing. With ``true_cfg_scale``, ``guidance_scale`` has Forge's."""


def parse_infotext(text: str) -> dict[str, object]:
    """Read the text of a ``parameters`` chunk.

    Returns:
        ``prompt`` and, if given, ``negative_prompt``, ``steps``, ``scheduler`` (our short name),
        ``guidance_scale``, ``true_cfg_scale`` (only beside Forge's ``Distilled CFG Scale``, which is then the
        ``guidance_scale``), ``seed``, ``width``, ``height``, ``model``, ``model_hash``, ``clip_skip`` (skipped layers:
        one less than AUTOMATIC1111's number), ``strength``; and under ``extra`` all other entries by their own names,
        including unsupported samplers.
    """
    lines = text.strip().split("\n")
    found = list(islice(_entries(lines[-1]), _MOST_ENTRIES))
    entries: dict[str, str] = {}
    if len(found) >= _LEAST_ENTRIES:
        entries = dict(found)
        lines = lines[:-1]
    prompt, negative = lines, []
    for i, line in enumerate(lines):
        if line.strip().startswith(_NEGATIVE):
            prompt, negative = lines[:i], [line.strip().removeprefix(_NEGATIVE), *lines[i + 1 :]]
            break
    result: dict[str, object] = {"prompt": "\n".join(prompt).strip()}
    if negative:
        result["negative_prompt"] = "\n".join(negative).strip()
    return result | _known(entries)


def format_infotext(parameters: Mapping[str, object]) -> str:
    """Write parameters, named as by `parse_infotext`, in AUTOMATIC1111's form.

    None values are skipped; parameters without a name in AUTOMATIC1111 belong in ``extra``.

    Raises:
        ValueError: a parameter has no name there.
    """
    values = {name: value for name, value in parameters.items() if value is not None}
    strange = values.keys() - _ORDER.keys() - {"prompt", "negative_prompt", "width", "height", "extra"}
    if strange:
        raise ValueError(f"no name for {', '.join(sorted(strange))} in a parameters text; put them under extra")
    if "width" in values and "height" in values:
        values["size"] = f"{values['width']}x{values['height']}"
    entries: dict[str, object] = {}
    for ours, name in _ORDER.items():
        value = values.get(ours)
        if ours == "scheduler" and value is not None:
            setup = SHORT_NAMES.get(str(value))
            entries[name] = setup.sampler if setup else value
            entries |= {"Schedule type": setup.schedule} if setup and setup.schedule else {}
        elif ours == "clip_skip" and isinstance(value, int):
            entries[name] = value + 1
        elif value is not None:
            entries[_DISTILLED if ours == "guidance_scale" and "true_cfg_scale" in values else name] = value
    extra = values.get("extra")
    entries |= extra if isinstance(extra, Mapping) else {}
    lines = [str(values.get("prompt", ""))]
    if values.get("negative_prompt"):
        lines.append(f"{_NEGATIVE} {values['negative_prompt']}")
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in entries.items()))
    return "\n".join(lines)


class LoraTag(NamedTuple):
    """``<lora:NAME:TEXT_ENCODER:DENOISER>``."""

    name: str
    text_encoder: float
    denoiser: float


def lora_tag(prompt: str) -> str | None:
    """The first ``<lora:NAME:WEIGHT>`` in a prompt, as it stands there."""
    match = _LORA.search(prompt)
    return match[0] if match else None


def split_lora_tags(prompt: str) -> tuple[str, list[LoraTag]]:
    """Remove ``<lora:NAME:WEIGHT>`` from a prompt: returns the rest, and names with weights (1 by default).

    As in AUTOMATIC1111, a second weight is the denoiser's, and ``te=0.5`` and ``unet=0.5`` name them.

    Raises:
        ValueError: a weight is no finite number, there is an extra word, or a tag names another kind of network.
    """
    if other := _OTHER_NETWORK.search(prompt):
        raise ValueError(f"{other[0][:80]} is not supported; a prompt may name only LoRAs: <lora:NAME:WEIGHT>")
    tags = [_tag(match[1], match[2].split(":")[1:]) for match in _LORA.finditer(prompt)]
    return re.sub(r" {2,}", " ", _LORA.sub("", prompt)).strip(), tags


def _tag(name: str, words: list[str]) -> LoraTag:
    weights = dict(zip(("te", "unet"), (word for word in words if "=" not in word)))
    weights |= dict(word.split("=", 1) for word in words if "=" in word)
    if len(weights) < len(words) or not weights.keys() <= {"te", "unet"}:
        raise ValueError(f"<lora:{name[:80]}:…> takes one or two weights, of text encoders (te) and denoiser (unet)")
    numbers = {part: _weight(name, text) for part, text in weights.items()}
    text_encoder = numbers.get("te", 1.0)
    return LoraTag(name, text_encoder, numbers.get("unet", text_encoder))


def _weight(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"the weight of <lora:{name[:80]}:…> must be a finite number, got {text[:40]!r}")
    return number


def _entries(line: str) -> Iterator[tuple[str, str]]:
    """Names and values of a line ``Name: value, Name: "a, b"``; an item between two commas without a name is skipped.

    The line is untrusted, so every step looks no further than the next comma or closing quote: an expression that
    searches for entries anywhere would take quadratic time.
    """
    start = 0
    while start < len(line):
        end = line.find(",", start)
        end = len(line) if end < 0 else end
        colon = line.find(":", start, end)
        if colon >= 0 and _NAME.fullmatch(line[start:colon].strip()):
            value = colon + 1
            while line[value : value + 1].isspace():
                value += 1
            quoted = _QUOTED.match(line, value)
            if quoted is not None and line[quoted.end() : quoted.end() + 1] in ("", ","):
                end = quoted.end()
            yield line[start:colon].strip(), _unquoted(line[colon + 1 : end].strip())
        start = end + 1


def _known(entries: dict[str, str]) -> dict[str, object]:
    """Entries by our names, and the rest under ``extra``."""
    result: dict[str, object] = {}
    rest = dict(entries)
    for name, (ours, kind) in _NUMBERS.items():
        if name in rest and (number := _number(rest[name], kind)) is not None:
            result[ours] = number
            del rest[name]
    if (built_in := _number(rest.get(_DISTILLED, ""), float)) is not None:
        true = {"true_cfg_scale": result.pop("guidance_scale")} if "guidance_scale" in result else {}
        result |= {"guidance_scale": built_in, **true}
        del rest[_DISTILLED]
    for name, ours in _TEXTS.items():
        if name in rest:
            result[ours] = rest.pop(name)
    scheduler = name_of_sampler(rest.get("Sampler", ""), rest.get("Schedule type", ""))
    if scheduler is not None:
        result["scheduler"] = scheduler
        rest = {name: value for name, value in rest.items() if name not in ("Sampler", "Schedule type")}
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", rest.get("Size", ""))
    if size is not None:
        result["width"], result["height"] = int(size[1]), int(size[2])
        del rest["Size"]
    skip = _number(rest.get("Clip skip", ""), int)
    if skip is not None and skip >= 1:
        result["clip_skip"] = skip - 1
        del rest["Clip skip"]
    return result | ({"extra": rest} if rest else {})


def _number(text: str, kind: type[int] | type[float]) -> int | float | None:
    """A finite number; None for anything else, and for a number with too many digits."""
    if len(text) > _LONGEST_NUMBER:
        return None
    try:
        number = kind(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _quoted(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ',:\n"') else text


def _unquoted(text: str) -> str:
    if text[:1] == text[-1:] == '"':
        try:
            unquoted = str(json.loads(text))
            unquoted.encode()  # an escaped lone surrogate is no text
            return unquoted
        except (json.JSONDecodeError, UnicodeEncodeError):
            pass
    return text
