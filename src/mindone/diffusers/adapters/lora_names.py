"""The names in LoRA files, from every trainer whose files are in use, and the parameters of ours that they mean.

- diffusers and peft: ``unet.down_blocks.….to_q.lora_A.weight``, ``….lora.down.weight``, ``….lora_linear_layer.up.…``;
- the same with the original layout's block numbers, the component's name or ``diffusion_model.`` before them;
- old attention processors: ``down_blocks.….attn1.processor.to_out_lora.down.weight``;
- kohya and LyCORIS: ``lora_unet_down_blocks_…_to_q.lora_down.weight`` with underscores for dots, in our numbering of
  blocks or in the original layout's (``lora_unet_input_blocks_1_1_…``), and ``lora_te_…``, ``lora_te1_…``,
  ``lora_te2_…`` for the text encoders;
- XLabs, for FLUX.1: ``double_blocks.0.processor.qkv_lora1.down.weight``, where 1 is the image's stream and 2 the
  text's, and ``single_blocks.0.processor.proj_lora.up.weight``;
- OneTrainer and ComfyUI: ``clip_l.…`` and ``clip_g.…``, or ``text_encoders.clip_l.transformer.…``, for these.
"""

import re
from typing import NamedTuple

from ..families.adapters import LoraNames, Shapes
from ..loading.original.fused_layers import Rows

_PART = re.compile(r"^(.+?)[._]lora(?:_linear_layer)?[._](down|up|mid|A|B)(?:\.[A-Za-z]\w*)?\.weight$")
_BESIDE = re.compile(r"^(.+?)(?:[._]lora)?\.(alpha)$")
_OTHER = re.compile(
    r"^(.+?)\.(hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)|diff|diff_b|w_norm|b_norm|dora_scale)$"
)
_MAGNITUDE = re.compile(r"^(.+?)\.(lora_magnitude_vector)(?:\.[A-Za-z]\w*){0,2}$")
_BIAS = re.compile(r"^(.+?)\.lora(?:_up|_B|\.up)(?:\.[A-Za-z]\w*)?\.(bias)$")
_PARTS = {"A": "down", "B": "up"}
_OF_STREAM = re.compile(r"^(.+_lora[12])\.(down|up)\.weight$")
_FORMS = (_PART, _BESIDE, _OTHER, _MAGNITUDE, _BIAS, _OF_STREAM)
BIAS_PARTS = ("bias", "diff_b", "b_norm")
"""Parts that change a layer's bias, not its weight."""
VECTOR_PARTS = ("diff", "w_norm", *BIAS_PARTS)
"""Parts of layers whose weight is a vector: norms."""
_OF_DENOISER = ("lora_unet_", "diffusion_model.")
"""The prefixes of a denoiser's layers in files from kohya's trainer and ComfyUI, whatever the architecture."""
_TEXT_ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}

_REFUSED = (
    (("oft_blocks", "oft_diag", "oft_R"), "OFT (orthogonal rotations)"),
    (("on_input",), "(IA)³ (scales of activations)"),
    ((".a1.weight", ".b1.weight"), "GLoRA"),
)


class LoraKey(NamedTuple):
    """A key of a LoRA file, parsed."""

    component: str
    module: str
    """The layer's name, dotted or flat."""
    flat: bool
    """Whether underscores stand for dots in ``module``."""
    part: str
    """``down``, ``up``, ``mid``, ``alpha``, ``bias``, or for kinds other than LoRA their own word: ``hada_w1_a``."""


def refused_kind(name: str) -> str | None:
    """The name of the unsupported method that a tensor is part of."""
    for marks, kind in _REFUSED:
        if any(name.endswith(mark) or (not mark.startswith(".") and mark in name) for mark in marks):
            return kind
    return None


def parse_key(name: str, names: LoraNames) -> LoraKey | None:
    """Parse a key; None if it is not from a LoRA file."""
    match = next((found for form in _FORMS if (found := form.match(name)) is not None), None)
    if match is None:
        return None
    module, part = match[1], _PARTS.get(match[2], match[2])
    own = {f"{component}.": component for component in names.networks}
    for prefix, component in {**dict.fromkeys(_OF_DENOISER, names.denoiser), **own, **names.prefixes}.items():
        is_flat = prefix.endswith("_")
        spelled = module if is_flat else module.replace(".processor.", ".")
        if spelled.startswith(prefix):
            return LoraKey(component, spelled.removeprefix(prefix).removeprefix("base_model.model."), is_flat, part)
    module = module.replace(".processor.", ".").removeprefix("base_model.model.")
    return LoraKey(names.denoiser, module, False, part)


class Resolver:
    """Finds the parameter of a network that a LoRA file's layer name means.

    Args:
        component: the network's name in a pipeline.
        parameters: the network's parameters.
        names: the family's names.
    """

    def __init__(self, component: str, parameters: Shapes, names: LoraNames):
        self.is_denoiser = component == names.denoiser
        self.vectors = {name for name, shape in parameters.items() if len(shape) < 2}
        self.modules = {name.removesuffix(".weight"): name for name in parameters if name.endswith(".weight")}
        self.flat = {module.replace(".", "_"): name for module, name in self.modules.items()}
        self.original: dict[str, str] = {}
        apart = names.apart(parameters) if self.is_denoiser and names.apart is not None else {}
        self.apart = {layer.replace(".", "_"): rows for layer, rows in apart.items()}
        if self.is_denoiser and names.numbering is not None:
            keys = names.numbering(parameters)
            for name in self.modules.values():
                original = keys.original(name)
                if original is not None and original.removesuffix(".weight") not in apart:
                    self.original[original.removesuffix(".weight").replace(".", "_")] = name

    def places(self, key: LoraKey) -> list[tuple[str, Rows | None]]:
        """The names of the weights that the layer means, and which of its outputs belong to each; None means all.

        None at all if the network has no such weight that could have this part.
        """
        name = self._weight(key)
        if name is None:
            layers = self.apart.get(key.module.replace(".", "_"), ())
            return [(self.modules[rows.layer], rows) for rows in layers if rows.layer in self.modules]
        return [] if name in self.vectors and key.part not in VECTOR_PARTS else [(name, None)]

    def in_original_numbering(self, key: LoraKey) -> bool:
        """Whether the layer is named by its number in the original layout."""
        module = key.module.replace(".", "_")
        return module in self.original or module in self.apart

    def _weight(self, key: LoraKey) -> str | None:
        if key.flat:
            return self.flat.get(key.module) or self.original.get(key.module)
        for module in self._spellings(key.module):
            if module in self.modules:
                return self.modules[module]
        return self.original.get(key.module.replace(".", "_"))

    def _spellings(self, module: str) -> list[str]:
        head, _, last = module.rpartition(".")
        spellings = [module, f"{module}.0"]  # attention's output projection is a list of one layer: to_out.0
        if not self.is_denoiser:
            spellings.append(f"{head}.{_TEXT_ATTENTION.get(last, last)}")
            spellings += [f"text_model.{spelling}" for spelling in spellings]
        return spellings
