"""What a family of models is: one frozen value, from which everything above derives what it does with such a model."""

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
    """The side in pixels of the square images that the family was trained on, where a denoiser's config says none."""
    patch: int = 1
    """How many latents the denoiser reads as one token, along each side; a dynamic shift grows with the tokens."""
    packed: bool = False
    """Whether published calls take and give latents as such tokens, (images, tokens, channels · patch²), which is what
    the denoiser's ``in_channels`` counts; runs have them as pictures."""
    places: str = ""
    """What the denoiser's config calls the most tokens that a side may have; empty where it may have any number."""

    def trained(self, config: Mapping[str, object]) -> tuple[int, int]:
        """Height and width, in latents, that the denoiser of this config was trained on.

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
        """How many tokens an image is, given its sides in pixels."""
        side = self.pixels * self.patch
        return (height // side) * (width // side)


@dataclass(frozen=True)
class Defaults:
    """What a call uses where neither the user nor the checkpoint says anything."""

    steps: int | None = None
    """None: what the signature of each published call says."""
    guidance_scale: float = 7.5
    scheduler: str | None = None
    """Its short name; None where the usual ones, for discrete noise levels, serve."""


@dataclass(frozen=True)
class Int8Plan:
    """What is brought to int8, and how."""

    products: Mapping[str, str]
    """The components whose products may be in int8, and the method of each that is observed while it runs."""
    weights_only: tuple[str, ...] = ()
    """The components whose weights are in int8 beside the denoiser's, as they run once per image; their products are
    not, unless that is asked for."""
    kept: tuple[str, ...] = ()
    """Parts of the names of the weights that stay as they are; a part that begins with ``^`` is what a name begins
    with."""
    weights_alone: tuple[str, ...] = ()
    """Parts of the names of the weights that are in int8 while their layers' products are not, as few rows are
    multiplied by them."""
    between_products: tuple[str, ...] = ()
    """Parts of the names of the weights whose layers' results are rounded too, for a product of two results."""

    def keeps(self, weight: str, more: Collection[str] = ()) -> bool:
        """Whether the weight of that name stays as it is; ``more`` are further parts of names that do."""
        return any(part in f"^{weight}" for part in (*self.kept, *more))

    def rounds_input(self, weight: str) -> bool:
        """Whether what is multiplied by the weight of that name is rounded, so that the product is in int8."""
        return not any(part in weight for part in self.weights_alone)

    def rounds_result(self, weight: str) -> bool:
        """Whether the result of the layer of that weight is rounded as well."""
        return any(part in weight for part in self.between_products)


class Shape(Protocol):
    """Published sizes of a family's checkpoints, for times and memory with random weights."""

    @property
    def description(self) -> str:
        """Which models have these sizes."""

    @property
    def nbytes(self) -> int:
        """What the float16 files take on disk, at most."""

    def write(self, name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
        """Write the checkpoints of a shape called ``name``, float16, into an empty folder.

        Returns:
            Name and folder by role: ``model`` and, where there are such, ``tiny_vae`` and ``distilled``.
        """


@dataclass(frozen=True)
class Family:
    """A family of models, by the names that its checkpoints use.

    What it takes libraries to import stands as a path, ``module:NAME``, where a module that begins with a dot is one of
    this package; `registry.load` reads it. So help lists families and their shapes without NumPy.
    """

    name: str
    """Such as ``stable-diffusion-xl``."""
    title: str
    """Such as ``Stable Diffusion XL``."""
    denoiser: str
    """The component that predicts, by its name in ``model_index.json``."""
    required: tuple[str, ...]
    """The components that a text-to-image pipeline cannot do without."""
    optional: tuple[str, ...]
    """Those that ``model_index.json`` may leave out."""
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
    """The kinds on which its networks are trained (`schedulers.levels`): schedulers of others are refused."""
    int8: Int8Plan
    classes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The classes of components that this family alone has: the module of each, and the library that
    ``model_index.json`` names for it."""
    capabilities: Mapping[str, Capability] = field(default_factory=dict)
    """What a component must be able to do, by its name, where that is the family's own affair."""
    padded: Mapping[str, str] = field(default_factory=dict)
    """Inputs that end with padding, by the denoiser's own names, and those that say where it is: a mask of 1 and 0."""
    read_once: Mapping[str, str] = field(default_factory=dict)
    """Inputs that the denoiser need not read again at every step, by its own names: the method that reads each, whose
    arrays it then gets in its place."""
    latents: Latents = Latents()
    defaults: Defaults = Defaults()
    fingerprint: tuple[str, ...] = ()
    """The denoiser's weights that tell one checkpoint from another, beside its config."""
    original: str | None = None
    """How its models stand in one file, as their authors published them: an `OriginalLayout`, as ``module:NAME``; None:
    no such files are known."""
    shapes: Mapping[str, str] = field(default_factory=dict)
    """Published sizes by the names that ``bench --shape`` takes: a `Shape` of each, as ``module:NAME``."""
    lora: str | None = None
    """The names in LoRA files: `LoraNames`, as ``module:NAME``; None: it takes no LoRAs."""
    controlnets: str | None = None
    """What runs several ControlNets, as ``module:Class``, with one's class as its ``network``; None: it takes none."""
    skipped_layers: int = 0
    """How many of the text encoders' last layers the denoiser was trained without."""
    image_prompts: str | None = None
    """Where IP-Adapters are put on: `ImagePromptNames`, as ``module:NAME``; None: it takes none."""
    built_in_guidance: str | bool = "time_cond_proj_dim"
    """Whether its networks have guidance built in: always, never, or where the denoiser's config has this entry."""
    true_guidance: bool = False
    """Whether calls have a ``true_cfg_scale`` of guidance with two rows an image, beside a scale that is built in."""
    even_levels: bool = False
    """Whether a run of N steps has the noise levels 1, 1 - 1/N … 1/N before its shift, unless a call names its own."""
    parameterization: str | None = None
    """What stands between schedulers and the denoiser: a `Parameterization`, as ``module:Class``; None: nothing."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The components that LoRAs change."""
        return (self.denoiser, *self.text_encoders)

    def has_built_in_guidance(self, config: Mapping[str, object]) -> bool:
        """Whether the denoiser of this config reads a guidance scale, so that one row an image is enough."""
        entry = self.built_in_guidance
        return entry if isinstance(entry, bool) else config.get(entry) not in (None, False)
