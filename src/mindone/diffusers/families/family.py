"""A family of models: one frozen value, from which all higher layers derive how to treat such a model."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from ..utils.printable import shown
from .capability import Capability

TEXT: Final = "text-to-image"
IMAGE: Final = "image-to-image"
MASK: Final = "inpainting"
EDIT: Final = "edit"
DEPTH: Final = "depth"
CONTROLLED: Final = {task: f"controlled {task}" for task in (TEXT, IMAGE, MASK)}
"""The same tasks with a ControlNet."""


@dataclass(frozen=True)
class Latents:
    """The latents that a family denoises."""

    channels: int = 4
    pixels: int = 8
    """Pixels per latent, along each side."""
    side: int = 512
    """The side in pixels of the family's square training images, if a denoiser's config gives none."""
    patch: int = 1
    """Latents per token of the denoiser, along each side; a dynamic shift grows with the tokens."""
    packed: bool = False
    """Whether published calls take and give latents as such tokens, (images, tokens, channels · patch²), which is what
    the denoiser's ``in_channels`` counts; runs have them as pictures."""
    places: str = ""
    """The entry in the denoiser's config for the most tokens along a side; empty if there is no limit."""

    def trained(self, config: Mapping[str, object]) -> tuple[int, int]:
        """The training size, height and width in latents, of a denoiser with this config.

        Raises:
            ValueError: the config's ``sample_size`` is neither one side nor two.
        """
        size = config.get("sample_size")
        match self.side // self.pixels if size is None else size:
            case int(side):
                return side, side
            case [int(height), int(width)]:
                return height, width
        raise ValueError(f"the denoiser's sample_size must be one side or two, in latents, got {shown(size)}")

    def channels_read(self, config: Mapping[str, object]) -> int:
        """How many channels of a latent the denoiser of this config reads."""
        return int(str(config["in_channels"])) // (self.patch**2 if self.packed else 1)

    def tokens(self, height: int, width: int) -> int:
        """The number of tokens of an image, given its sides in pixels."""
        side = self.pixels * self.patch
        return (height // side) * (width // side)


@dataclass(frozen=True)
class Defaults:
    """The defaults of a call if neither the user nor the checkpoint sets them."""

    steps: int | None = None
    """None for the default in each published call's signature."""
    guidance_scale: float = 7.5
    scheduler: str | None = None
    """Its short name; None for the usual ones for discrete noise levels."""


@dataclass(frozen=True)
class Int8Plan:
    """What to convert to int8, and how."""

    products: Mapping[str, str]
    """The components whose products may be in int8, and the method of each to observe during runs."""
    weights_only: tuple[str, ...] = ()
    """The components with int8 weights in addition to the denoiser, since they run once per image; their products are
    not in int8 unless requested."""
    kept: tuple[str, ...] = ()
    """Name parts of weights that keep their dtype; a leading ``^`` ties a part to the beginning of the name."""
    weights_alone: tuple[str, ...] = ()
    """Name parts of weights in int8 whose layers' products are not, because they multiply few rows."""
    between_products: tuple[str, ...] = ()
    """Name parts of weights whose layers' results are also rounded, for a product of two results."""
    drawn: Mapping[str, int] = field(default_factory=dict)
    """Arguments of the calls that calibrate, where the defaults take longer and find no wider ranges. Sides are at most
    what the denoiser was trained on."""

    def keeps(self, weight: str, more: Collection[str] = ()) -> bool:
        """Whether the weight of that name keeps its dtype; ``more`` gives further name parts that do."""
        return any(part in f"^{weight}" for part in (*self.kept, *more))

    def rounds_input(self, weight: str) -> bool:
        """Whether the input of the weight of that name is rounded, so that the product is in int8."""
        return not any(part in weight for part in self.weights_alone)

    def rounds_result(self, weight: str) -> bool:
        """Whether the result of that weight's layer is rounded as well."""
        return any(part in weight for part in self.between_products)


class Shape(Protocol):
    """A published size of a family's checkpoints, for measuring time and memory with random weights."""

    @property
    def description(self) -> str:
        """The models with these sizes."""

    @property
    def nbytes(self) -> int:
        """The most bytes of the float16 files on disk."""

    def held_bytes(self) -> int:
        """The fewest bytes that the weights of a pipeline take in memory, in half precision or in the files' bits."""

    def write(self, name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
        """Write the checkpoints of a shape called ``name``, float16, into an empty folder.

        Returns:
            Name and folder by role: ``model`` and, if available, ``tiny_vae`` and ``distilled``.
        """


@dataclass(frozen=True)
class Family:
    """A family of models, by the names that its checkpoints use.

    Values that need heavy imports are given as a path, ``module:NAME``, in which a leading dot means this package;
    `registry.load` reads them. So help lists families and their shapes without NumPy.
    """

    name: str
    """Such as ``stable-diffusion-xl``."""
    title: str
    """Such as ``Stable Diffusion XL``."""
    denoiser: str
    """The denoising component, by its name in ``model_index.json``."""
    required: tuple[str, ...]
    """The components that a text-to-image pipeline requires."""
    optional: tuple[str, ...]
    """The components that ``model_index.json`` may omit."""
    text_encoders: tuple[str, ...]
    """Those that read prompts, in the order in which they run."""
    inputs: Mapping[str, str]
    """What callbacks call a tensor that the denoiser is conditioned on, and what the denoiser calls it; first the one
    whose rows count the images."""
    tasks: Mapping[str, str]
    """The published pipeline of each task, as ``module:Class``."""
    pipelines: str
    """What the class names of the published pipelines begin with, for checkpoints of tasks that are not here."""
    noise_levels: tuple[str, ...]
    """The kinds of noise levels of its networks' training (`schedulers.levels`): schedulers for others are refused."""
    int8: Int8Plan
    classes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The classes of components that only this family has: each one's module, and its library in
    ``model_index.json``."""
    capabilities: Mapping[str, Capability] = field(default_factory=dict)
    """The family's own requirements for components, by name."""
    padded: Mapping[str, str] = field(default_factory=dict)
    """The denoiser's inputs that end with padding, each with the input that masks it (1 and 0)."""
    repeated: Mapping[str, str] = field(default_factory=dict)
    """The denoiser's inputs that may end with equal tokens, each with the option for their number: it then takes only
    the first of them."""
    read_once: Mapping[str, str] = field(default_factory=dict)
    """The denoiser's inputs that it can read once for all steps: for each the method that reads it; the denoiser then
    takes the resulting arrays instead."""
    latents: Latents = Latents()
    defaults: Defaults = Defaults()
    fingerprint: tuple[str, ...] = ()
    """The denoiser's weights that identify a checkpoint, together with its config."""
    original: str | None = None
    """The layout of its models as one file, as published by their authors: an `OriginalLayout`, as ``module:NAME``;
    None if there are no such files."""
    shapes: Mapping[str, str] = field(default_factory=dict)
    """Published sizes by their names for ``bench --shape``: a `Shape` each, as ``module:NAME``."""
    lora: str | None = None
    """The names in LoRA files: `LoraNames`, as ``module:NAME``; None if it takes no LoRAs."""
    controlnets: str | None = None
    """The class that runs several ControlNets, as ``module:Class``, with a single one's class as its ``network``; None
    if it takes none."""
    skipped_layers: int = 0
    """How many of the text encoders' last layers the denoiser's training skipped."""
    image_prompts: str | None = None
    """The places of IP-Adapters: `ImagePromptNames`, as ``module:NAME``; None if it takes none."""
    built_in_guidance: str | bool = "time_cond_proj_dim"
    """Whether its networks have built-in guidance: always, never, or if the denoiser's config has this entry."""
    true_guidance: bool = False
    """Whether calls have a ``true_cfg_scale`` of guidance with two rows an image, beside a scale that is built in."""
    even_levels: bool = False
    """Whether a run of N steps has the noise levels 1, 1 - 1/N … 1/N before its shift, unless a call names its own."""
    parameterization: str | None = None
    """The translation between schedulers and the denoiser: a `Parameterization`, as ``module:Class``; None for none."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The components that LoRAs change."""
        return (self.denoiser, *self.text_encoders)

    def has_built_in_guidance(self, config: Mapping[str, object]) -> bool:
        """Whether a denoiser with this config reads a guidance scale, so that one row per image is enough."""
        entry = self.built_in_guidance
        return entry if isinstance(entry, bool) else config.get(entry) not in (None, False)
