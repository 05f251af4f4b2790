"""An adapter's weight for each block of the UNet, as ``set_adapters`` takes it, spread out over its parameters.

The published form is ``{"down": 0.5, "mid": 1.0, "up": {"block_0": 0.4, "block_1": [0.1, 0.2, 0.3]}}``: one number for
a side, a block, or each transformer of a block. What is not named has the weight 1.
"""

from collections.abc import Collection, Mapping

from ..loading.original.key_map import indices_after

Number = float | int
BlockWeights = Number | Mapping[str, object]
"""One number for all, or the published form above."""

_SIDES = {"down": "down_blocks", "up": "up_blocks"}


def component_weight(weights: Number | Mapping[str, object] | None, component: str) -> BlockWeights:
    """A component's share of what ``set_adapters`` was given for one adapter; 1 where nothing is said.

    Args:
        weights: one number for all components, or ``{"unet": …, "text_encoder": …}``.
        component: ``unet``, ``text_encoder`` or ``text_encoder_2``.

    Raises:
        ValueError: a weight is neither a number nor a mapping of blocks.
    """
    value = weights.get(component) if isinstance(weights, Mapping) else weights
    if value is None:
        return 1.0
    if isinstance(value, Mapping):
        return value
    number = _number(value)
    if number is not None:
        return number
    raise ValueError(f"an adapter's weight must be a number or a dict of blocks, got {value!r} for {component}")


def expand_block_weights(weights: BlockWeights, parameters: Collection[str], default: float = 1.0) -> dict[str, float]:
    """The weight of each parameter of a UNet.

    As published, a block's numbers also hold for the residual blocks (and samplers) of the same place as its
    transformers; what stands nowhere near a transformer always has the weight 1.

    Args:
        weights: a number, or the published form.
        parameters: the names of the UNet's parameters.
        default: the weight of blocks that are not named: 1 for LoRA, 0 for ``set_ip_adapter_scale``.

    Raises:
        ValueError: a side or block that is not there or has no transformer, or a list of another length.
    """
    if not isinstance(weights, Mapping):
        return dict.fromkeys(parameters, float(weights))
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
                raise ValueError(f"{side} has no transformers in {', '.join(map(repr, unknown))}; it has in {there}")
        for i, count in counts.items():
            value = given.get(f"block_{i}", default) if isinstance(given, Mapping) else given
            for j, number in enumerate(_one(value, count, f"{side}.block_{i}")):
                by_place[f"{blocks}.{i}.attentions.{j}"] = number
    return {name: by_place.get(_place(name), 1.0) for name in parameters}


def _transformers(parameters: Collection[str], blocks: str) -> dict[int, int]:
    """The blocks of a side that have transformers, and how many."""
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
