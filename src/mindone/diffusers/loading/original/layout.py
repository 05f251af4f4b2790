"""The original layout of a family: the form of its models in one file, as their authors published them.

A family declares one (`OriginalLayout`); `loading.single_file` and `families.convert` work with any of them and know
none by name.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...utils.printable import shown
from ..fields import listed
from ..safetensors import StoredTensor
from ..tokenizer_base import TokenizerBase
from .training import Training
from .training_config import TrainingConfig

Tensors = Mapping[str, StoredTensor]
Parts = Mapping[str, Tensors]
"""Tensors under our names by component."""


@dataclass(frozen=True)
class Release:
    """One model of a family, and the facts that its file does not hold: pipeline, scheduler, usual sizes."""

    title: str
    """The model's name, for messages."""
    pipeline: Callable[[Tensors], str]
    """The class of the pipeline for a denoiser's tensors; raises ValueError if there is none."""
    scheduler: Mapping[str, object]
    """The published scheduler's config with its ``_class_name``."""
    sample_size: int
    """The usual side of the latents."""
    text_encoders: Mapping[str, str]
    """The text encoders that its pipeline needs, with the padding token of each one's tokenizer."""
    scaling_factor: float = 0.18215
    options: Mapping[str, object] = field(default_factory=dict)
    """Additional entries of ``model_index.json``."""
    modelspec: str = ""
    """The architecture's name in the ModelSpec metadata that model-sharing sites read."""
    predicts: Callable[[Tensors, Tensors], str] = lambda file, denoiser: "epsilon"
    """Its default prediction type, from the file's tensors and the denoiser's under our names."""
    absent: tuple[str, ...] = ()
    """Components that are null in ``model_index.json``."""
    dispensable: tuple[str, ...] = ()
    """The text encoders that its pipeline does not need if you pass None for them."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer of a kind of text encoder, which single files lack."""

    tokenizer: str
    """Its class, by its published name."""
    embeddings: str
    """The text encoder's tensor with a row for each token, under our names."""
    read: Callable[[Path], TokenizerBase]
    """Reads it from a folder."""
    size: int | None = None
    """The number of tokens in all published ones; None if the package has no such vocabulary."""
    usual: Callable[[str], TokenizerBase] | None = None
    """The published one, by its padding token."""


@dataclass(frozen=True)
class NetworkLayout:
    """One kind of network in the original layout: its tensors both ways, and its config from their shapes."""

    ours: Callable[[Tensors], Tensors]
    """Converts tensors without a prefix to our names and shapes; views wherever possible."""
    original: Callable[[Tensors], Tensors]
    """The other way round; one at a time, on demand."""
    config: Callable[[Tensors, Release, TrainingConfig], dict[str, object]]
    """The published config, from tensors under our names; KeyError or ValueError if they are not of such a network."""
    classes: tuple[str, ...]
    """The network's classes."""
    fits: Callable[[Mapping[str, object]], bool] = lambda config: True
    """Whether a network with this config is of this kind."""
    vocabulary: Vocabulary | None = None
    """A text encoder's; None for other networks."""


@dataclass(frozen=True)
class Part:
    """The place of a component in a file."""

    prefix: str
    component: str
    network: NetworkLayout
    without: str = ""
    """A component whose presence gives the prefix another meaning."""


@dataclass(frozen=True)
class Alone:
    """A component published alone, without a prefix."""

    marks: Collection[str]
    """The names that identify it."""
    component: str
    network: NetworkLayout


@dataclass(frozen=True)
class Section:
    """A component's tensors in a file, without their prefix."""

    network: NetworkLayout
    tensors: Tensors


_EMA = "model_ema."
_TRAINING_ONLY = ("loss.", _EMA)


@dataclass(frozen=True)
class OriginalLayout:
    """The files of a family: tell-tale tensors, key maps both ways, and the model of the family in a file."""

    known: str
    """The models it knows, in words."""
    denoiser: str
    """The component that predicts."""
    parts: tuple[Part, ...]
    """In the order of searching and writing."""
    release: Callable[[Parts, Mapping[str, NetworkLayout]], Release]
    """Finds the model from the components and their kinds."""
    trained: Callable[[Release, Training, Parts], Release] = lambda release, training, parts: release
    """Adapts the model to its training: the scheduler, and everything else that follows."""
    alone: tuple[Alone, ...] = ()
    excludes: Callable[[Iterable[str]], bool] = lambda names: False
    """Whether names that look like its parts belong to another family."""
    is_bare: bool = False
    """Whether a file with only its denoiser has no prefix."""
    is_flow: bool = False
    """Whether its networks predict a flow's velocity: then nothing in a file says otherwise (`training`)."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Prefixes of text encoders that are not read, and why."""

    def claims(self, names: Collection[str]) -> bool:
        """Whether a file with these tensors belongs to the family."""
        prefixes = tuple(part.prefix for part in self.parts)
        found = any(name.startswith(prefixes) for name in names)
        return (found or self._alone(names) is not None) and not self.excludes(names)

    def sections(self, file: Tensors, *, extract_ema: bool) -> dict[str, Section]:
        """A file's components by their names in pipelines.

        It skips averages of an autoencoder, losses, buffers of the sampler and so on.

        Raises:
            ValueError: ``extract_ema`` is true and there are no averaged weights.
        """
        found: dict[str, Section] = {}
        for part in self.parts:
            tensors = {n.removeprefix(part.prefix): tensor for n, tensor in file.items() if n.startswith(part.prefix)}
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_TRAINING_ONLY)}
            if tensors and part.component not in found and part.without not in found:
                found[part.component] = Section(part.network, tensors)
        if extract_ema:
            if self.denoiser not in found:
                raise ValueError("it has no denoising network, so extract_ema=True means nothing")
            found[self.denoiser] = self._averaged(file, found[self.denoiser])
        alone = self._alone(file)
        if not found and alone is not None:
            tensors = {name: tensor for name, tensor in file.items() if not name.startswith(_TRAINING_ONLY)}
            return {alone.component: Section(alone.network, tensors)}
        return found

    def place(self, component: str, class_name: str, components: Collection[str], config: Mapping[str, object]) -> Part:
        """The place of a component in a file.

        Args:
            component: its name.
            class_name: its class.
            components: all components of the file.
            config: its config.

        Raises:
            ValueError: it has no place.
        """
        for part in self.parts:
            is_meant = part.component == component and part.without not in components
            if is_meant and class_name in part.network.classes and part.network.fits(config):
                return part
        raise ValueError(f"{component} is a {shown(class_name)}, for which the original layout has no place")

    def vocabulary(self, text_encoder: str) -> Vocabulary:
        """The vocabulary of the text encoder with that name.

        Raises:
            ValueError: there is no such text encoder.
        """
        for part in self.parts:
            if part.component == text_encoder and part.network.vocabulary is not None:
                return part.network.vocabulary
        raise ValueError(f"{self.known}: there is no text encoder called {shown(text_encoder)}")

    def _alone(self, names: Collection[str]) -> Alone | None:
        return next((each for each in self.alone if all(mark in names for mark in each.marks)), None)

    def _averaged(self, file: Tensors, denoiser: Section) -> Section:
        """The exponential moving averages that Latent Diffusion's code keeps under names without dots."""
        prefix = next(part.prefix for part in self.parts if part.component == self.denoiser)
        names = {n: _EMA + (prefix.removeprefix("model.") + n).replace(".", "") for n in denoiser.tensors}
        missing = [average for average in names.values() if average not in file]
        if missing:
            raise ValueError(f"it has no averaged weights such as {missing[0]!r}; leave extract_ema out")
        return Section(denoiser.network, {name: file[average] for name, average in names.items()})


# ---- unsupported files -----------------------------------------------------------------------------------------------


class Other(NamedTuple):
    """A model or file that single files are not, or not here."""

    mark: str
    """A part of a tensor's name that only it has."""
    what: str
    taken_by: str = ""
    """The pipelines' method that takes it; empty if none does."""


_OTHERS = (
    Other("double_stream_modulation_img.", "FLUX.2"),
    Other("distilled_guidance_layer.", "Chroma"),
    Other("clip_txt_mapper.", "Stable Cascade"),
    Other("double_layers.0.", "AuraFlow"),
    Other("double_stream_blocks.", "HiDream"),
    Other("txt_in.individual_token_refiner.", "HunyuanVideo"),
    Other("patchify_proj.", "LTX-Video"),
    Other("head.modulation", "Wan"),
    Other("cap_embedder.", "Lumina"),
    Other("motion_modules.", "AnimateDiff"),
    Other("time_mix_", "Stable Video Diffusion"),
    Other("time_stack.", "Stable Video Diffusion"),
    Other("edm_mean", "Playground 2.5"),
    Other("edm_std", "Playground 2.5"),
    Other("cc_projection.", "Zero-1-to-3"),
    Other("noise_augmentor.", "Stable unCLIP"),
    Other("embedder.model.visual.", "Stable unCLIP"),
    Other("label_emb.weight", "the ×4 upscaler"),
    Other("lora_controlnet", "a Control-LoRA"),
    Other("lora_unet_", "a LoRA", "load_lora_weights (--lora)"),
    Other(".lora_A.", "a LoRA", "load_lora_weights (--lora)"),
    Other(".lora.down.", "a LoRA", "load_lora_weights (--lora)"),
    Other("_lora.down.", "a LoRA", "load_lora_weights (--lora)"),
    Other("emb_params", "a textual inversion", "load_textual_inversion"),
    Other("image_proj.", "an IP-Adapter", "load_ip_adapter"),
    Other("adapter.body.", "a T2I-Adapter"),
)
"""In the order of searching."""


_KNOWN: list[Callable[[], Iterable[OriginalLayout]]] = []


def know(layouts: Callable[[], Iterable[OriginalLayout]]) -> None:
    """Read single files in these layouts from now on: `families.files` passes the families' layouts."""
    _KNOWN[:] = [layouts]


def known_layouts() -> list[OriginalLayout]:
    """The layouts of all families."""
    return [each for layouts in _KNOWN for each in layouts()]


def other_in(names: Collection[str]) -> tuple[str, Other] | None:
    """The tensor that shows that a file is not a model of a family here, and what it is; None if no tensor does."""
    ordered = sorted(names)
    return next(((name, other) for other in _OTHERS for name in ordered if other.mark in name), None)


def layout_of(names: Collection[str]) -> OriginalLayout:
    """The layout of a file with these tensors.

    Raises:
        ValueError: none fits; the message names the tensors that indicate another architecture.
    """
    layouts = known_layouts()
    known = f"supported: {' and '.join(each.known for each in layouts)}, whole or in parts"
    if (found := other_in(names)) is not None:
        name, other = found
        advice = f": give it to {other.taken_by}" if other.taken_by else ""
        raise ValueError(f"{shown(name)} says that it is {other.what}{advice}; {known}")
    layout = next((each for each in layouts if each.claims(names)), None)
    if layout is None:
        raise ValueError(
            f"it is of no architecture known here, by its tensors {listed(map(repr, sorted(names)))}; {known}"
        )
    return layout
