"""LoRAs and IP-Adapters of Stable Diffusion's UNets: names in files, weights by block, and cross-attentions.

Weights by block are published as ``{"down": 0.5, "mid": 1.0, "up": {"block_0": 0.4, "block_1": [0.1, 0.2, 0.3]}}``: one
number for a side, for a block, or for each transformer of a block.
"""

from collections.abc import Collection, Mapping

from ...loading.original.key_map import indices_after
from ..adapters import ImagePromptNames, LoraNames, Shapes
from .original_unet import unet_numbering

_SIDES = {"down": "down_blocks", "up": "up_blocks"}


def by_block(weights: Mapping[str, object], parameters: Collection[str], default: float = 1.0) -> dict[str, float]:
    """The weight of each parameter of a UNet.

    As published, a block's numbers also apply to the residual blocks (and samplers) at the place of its transformers;
    layers away from any transformer always have weight 1.

    Args:
        weights: in the published form.
        parameters: the names of the UNet's parameters.
        default: the weight of unnamed blocks: 1 for LoRA, 0 for ``set_ip_adapter_scale``.

    Raises:
        ValueError: a side or block does not exist or has no transformer, or a list has the wrong length.
    """
    strange = [name for name in weights if name not in ("mid", *_SIDES)]
    if strange:
        raise ValueError(f"block weights are for down, mid and up, got {', '.join(map(repr, strange))}")
    by_place = {"mid_block.attentions.0": _one(weights.get("mid", default), 1, "mid")[0]}
    for side, blocks in _SIDES.items():
        counts = _transformers(parameters, blocks)
        given = weights.get(side, default)
        if isinstance(given, Mapping):
            unknown = [name for name in given if name not in {f"block_{i}" for i in counts}]
            if unknown:
                there = ", ".join(f"block_{i}" for i in counts)
                raise ValueError(f"{side} has no transformers in {', '.join(map(repr, unknown))}, only in {there}")
        for i, count in counts.items():
            value = given.get(f"block_{i}", default) if isinstance(given, Mapping) else given
            for j, number in enumerate(_one(value, count, f"{side}.block_{i}")):
                by_place[f"{blocks}.{i}.attentions.{j}"] = number
    return {name: by_place.get(_place(name), 1.0) for name in parameters}


def _transformers(parameters: Collection[str], blocks: str) -> dict[int, int]:
    """The blocks of a side with transformers, and how many each has."""
    counts = {
        i: len(indices_after(parameters, f"{blocks}.{i}.attentions.")) for i in indices_after(parameters, f"{blocks}.")
    }
    return {i: count for i, count in sorted(counts.items()) if count}


def _place(parameter: str) -> str:
    """The transformer whose weight a parameter shares."""
    parts = parameter.split(".")
    if parts[0] in _SIDES.values() and len(parts) > 3:
        return f"{parts[0]}.{parts[1]}.attentions.{parts[3]}"
    return ".".join(parts[:3])


def _one(value: object, count: int, where: str) -> list[float]:
    """A number for each of ``count`` transformers."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [number for number in map(_number, values) if number is not None]
    if len(numbers) < len(values) or not values:
        raise ValueError(f"the weight of {where} must be a number or a list of numbers, got {value!r}")
    if len(numbers) == 1:
        numbers *= count
    if len(numbers) != count:
        raise ValueError(f"{where} has {count} transformers, got {len(numbers)} weights")
    return numbers


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def text_attentions(unet: Shapes) -> list[str]:
    """A UNet's cross-attentions in the order of the numbers in IP-Adapter files: down, up, middle."""
    key = ".attn2.to_k.weight"
    names = [name.removesuffix(".to_k.weight") for name in unet if name.endswith(key)]

    def place(name: str) -> tuple[int, list[int]]:
        side = ("down_blocks", "up_blocks", "mid_block").index(name.split(".", 1)[0])
        return side, [int(part) for part in name.split(".") if part.isdecimal()]

    return sorted(names, key=place)


LORA = LoraNames(
    denoiser="unet",
    prefixes={
        "lora_te_": "text_encoder",
        "lora_te1_": "text_encoder",
        "lora_te2_": "text_encoder_2",
        "text_encoders.clip_l.transformer.": "text_encoder",
        "text_encoders.clip_h.transformer.": "text_encoder",
        "text_encoders.clip_g.transformer.": "text_encoder_2",
        "clip_l.": "text_encoder",
        "clip_g.": "text_encoder_2",
    },
    classes={
        "UNet2DConditionModel": "unet",
        "CLIPTextModel": "text_encoder",
        "CLIPTextModelWithProjection": "text_encoder_2",
    },
    bases={
        768: "Stable Diffusion 1.x",
        1024: "Stable Diffusion 2.x",
        2048: "Stable Diffusion XL",
        1280: "the refiner of Stable Diffusion XL",
    },
    numbering=unet_numbering,
    by_block=by_block,
)
"""For all versions: a UNet does not know its own."""

IMAGE_PROMPTS = ImagePromptNames(text_attentions, by_block)
