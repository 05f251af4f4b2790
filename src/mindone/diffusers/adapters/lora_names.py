"""The names in LoRA files, of every trainer whose files are in the wild, and the parameters of ours that they mean.

- diffusers and peft: ``unet.down_blocks.….to_q.lora_A.weight``, ``….lora.down.weight``, ``….lora_linear_layer.up.…``;
- the same with the original layout's block numbers, ``unet.`` or ``diffusion_model.`` before them;
- old attention processors: ``down_blocks.….attn1.processor.to_out_lora.down.weight``;
- kohya and LyCORIS: ``lora_unet_down_blocks_…_to_q.lora_down.weight`` with underscores for dots, in our numbering of
  blocks or in the original layout's (``lora_unet_input_blocks_1_1_…``), and ``lora_te_…``, ``lora_te1_…``,
  ``lora_te2_…`` for the text encoders.
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..loading.original.unet_names import Stages, unet_key_map

Part = Literal["down", "up", "mid", "alpha"]
Shapes = Mapping[str, tuple[int, ...]]
"""A network's parameters: their shapes by name."""

UNET = "unet"
_PART = re.compile(r"^(.+?)[._]lora(?:_linear_layer)?[._](down|up|mid|A|B)(?:\.[A-Za-z]\w*)?\.weight$")
_ALPHA = re.compile(r"^(.+?)(?:[._]lora)?\.alpha$")
_PARTS: dict[str, Part] = {"A": "down", "B": "up", "down": "down", "up": "up", "mid": "mid"}
_FLAT = {
    "lora_unet_": UNET,
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}
_DOTTED = {
    "unet.": UNET,
    "diffusion_model.": UNET,
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
}
_TEXT_ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}

_REFUSED = (
    (("dora_scale", "lora_magnitude_vector"), "DoRA (weights renormalised by a learned magnitude)"),
    (("hada_w", "hada_t"), "LoHa (Hadamard products)"),
    (("lokr_w", "lokr_t"), "LoKr (Kronecker products)"),
    (("oft_blocks", "oft_diag", "oft_R"), "OFT (orthogonal rotations)"),
    (("on_input",), "(IA)³ (scales of activations)"),
    ((".a1.weight", ".b1.weight"), "GLoRA"),
    ((".diff", ".diff_b", ".w_norm", ".b_norm"), "whole differences of weights beside LoRA"),
    (("lora_B.bias", "lora_up.bias", "lora.up.bias"), "LoRA with biases"),
    (("bundle_emb.",), "a LoRA bundled with textual inversions"),
)


class LoraKey(NamedTuple):
    """A key of a LoRA file, taken apart."""

    component: str
    module: str
    """The layer's name, dotted or flat."""
    flat: bool
    """Whether underscores stand for dots in ``module``."""
    part: Part


def refused_kind(name: str) -> str | None:
    """The method of a tensor that is part of something else than plain LoRA, in words."""
    for marks, kind in _REFUSED:
        if any(name.endswith(mark) or (not mark.startswith(".") and mark in name) for mark in marks):
            return kind
    return None


def parse_key(name: str) -> LoraKey | None:
    """Take a key apart; None when it is none of a LoRA file."""
    match = _PART.match(name)
    if match is not None:
        module, part = match[1], _PARTS[match[2]]
    else:
        match = _ALPHA.match(name)
        if match is None:
            return None
        module, part = match[1], "alpha"
    for prefix, component in _FLAT.items():
        if module.startswith(prefix):
            return LoraKey(component, module.removeprefix(prefix), True, part)
    module = module.replace(".processor.", ".")
    for prefix, component in _DOTTED.items():
        if module.startswith(prefix):
            return LoraKey(component, module.removeprefix(prefix).removeprefix("base_model.model."), False, part)
    return LoraKey(UNET, module.removeprefix("base_model.model."), False, part)


class Resolver:
    """Finds the parameter of a network that a LoRA file's layer name means.

    Args:
        component: ``unet``, ``text_encoder`` or ``text_encoder_2``.
        parameters: the network's.
    """

    def __init__(self, component: str, parameters: Shapes):
        self.component = component
        self.modules = {
            name.removesuffix(".weight"): name
            for name, shape in parameters.items()
            if name.endswith(".weight") and len(shape) >= 2
        }
        self.flat = {module.replace(".", "_"): name for module, name in self.modules.items()}
        self.original: dict[str, str] = {}
        if component == UNET:
            keys = unet_key_map(Stages.of_ours(parameters))
            for name in self.modules.values():
                original = keys.original(name)
                if original is not None:
                    self.original[original.removesuffix(".weight").replace(".", "_")] = name

    def parameter(self, key: LoraKey) -> str | None:
        """The parameter's name, or None when the network has none such."""
        if key.flat:
            return self.flat.get(key.module) or self.original.get(key.module)
        for module in self._spellings(key.module):
            if module in self.modules:
                return self.modules[module]
        return self.original.get(key.module.replace(".", "_"))

    def in_original_numbering(self, key: LoraKey) -> bool:
        """Whether the layer is called by its number in the original layout."""
        return key.module.replace(".", "_") in self.original

    def _spellings(self, module: str) -> list[str]:
        head, _, last = module.rpartition(".")
        spellings = [module, f"{module}.0"]  # attention's way out is a list of one layer: to_out.0
        if self.component != UNET:
            spellings.append(f"{head}.{_TEXT_ATTENTION.get(last, last)}")
            spellings += [f"text_model.{spelling}" for spelling in spellings]
        return spellings
