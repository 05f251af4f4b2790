"""A whole pipeline, or one component, from one safetensors file in the original layout, without any other file.

The tensors' names show what the file holds, their shapes give the configs (see `original`). The weights are views of
the memory-mapped file under our names: opening only reads the header and transposes one matrix of XL.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from ..utils.files import check_file
from ..utils.printable import shown
from .config import CONFIG_NAME, read_config
from .fields import naming
from .gguf import MAGIC, GGUFFile
from .hub import MODEL_INDEX
from .original.carried import ENTRY, unpack
from .original.key_map import sides
from .original.layout import OriginalLayout, Release, Section, Tensors, layout_of
from .original.training import PREDICTION_TYPES, ZERO_SNR, Training, read_training, training_of
from .original.training_config import TrainingConfig, read_training_config
from .safetensors import SafetensorsFile
from .tokenizer_base import TokenizerBase
from .weights import Weights


@dataclass(frozen=True)
class Component:
    """A network in a single file."""

    class_name: str
    """The network's class, such as ``UNet2DConditionModel``."""
    config: Mapping[str, object]
    weights: Weights
    """Under our names, as stored."""


@dataclass(frozen=True)
class SingleFile:
    """The contents of a single file."""

    path: Path
    layout: OriginalLayout
    release: Release
    components: Mapping[str, Component]
    """By their names in pipelines: ``vae``, ``text_encoder``, ``controlnet`` and so on."""
    scheduler: Mapping[str, object]
    """The scheduler's config with its ``_class_name``."""
    config_folder: Path | None
    """Its configs and tokenizers override those from shapes: the given folder, or the one that the file carries."""
    carried: "tempfile.TemporaryDirectory[str] | None" = None
    """Keeps that folder alive if it came from the file."""
    unread: str | None = None
    """The prefix of text encoders in the file that are not read, and why."""

    @property
    def pipeline(self) -> str | None:
        """The pipeline class for all of it; None if the file is not a whole pipeline."""
        lacks = set(self.absent) - set(self.release.dispensable)
        return self.pipeline_of_denoiser if self.has_denoiser and not lacks else None

    @property
    def has_denoiser(self) -> bool:
        """Whether it holds a denoiser."""
        return self.layout.denoiser in self.components

    @property
    def pipeline_of_denoiser(self) -> str:
        """The pipeline class for its denoiser.

        Raises:
            ValueError: no pipeline here does.
        """
        with naming(self.path):
            return self.release.pipeline(self.components[self.layout.denoiser].weights)

    @property
    def absent(self) -> list[str]:
        """The other components that its denoiser's pipeline needs: some files lack the autoencoder or text encoders."""
        return [name for name in ("vae", *self.release.text_encoders) if name not in self.components]

    @property
    def options(self) -> dict[str, object]:
        """The pipeline's own entries of ``model_index.json``."""
        options = dict(self.release.options)
        if self.config_folder is None or not (self.config_folder / MODEL_INDEX).is_file():
            return options
        index = read_config(self.config_folder, MODEL_INDEX)
        return options | {name: value for name, value in index.items() if isinstance(value, bool)}

    def tokenizers(self) -> dict[str, TokenizerBase]:
        """``tokenizer`` for ``text_encoder``, ``tokenizer_2`` for ``text_encoder_2``, and so on.

        Raises:
            ValueError: see `tokenizer`.
        """
        encoders = [name for name in self.components if name.startswith("text_encoder")]
        return {name.replace("text_encoder", "tokenizer"): self.tokenizer(name) for name in encoders}

    def tokenizer(self, text_encoder: str, size: object = None) -> TokenizerBase:
        """A text encoder's tokenizer: the one in the ``config`` folder, or the published one.

        Args:
            text_encoder: ``text_encoder``, ``text_encoder_2`` and so on.
            size: the number of tokens of a text encoder that is not in the file.

        Raises:
            ValueError: the size differs from the published vocabulary's, or the package has no such vocabulary, and
                there is no ``config`` folder.
        """
        name = text_encoder.replace("text_encoder", "tokenizer")
        vocabulary = self.layout.vocabulary(text_encoder)
        if self.config_folder is not None and (self.config_folder / name).is_dir():
            with naming(self.path) if self.carried is not None else nullcontext():
                return vocabulary.read(self.config_folder / name)
        if vocabulary.usual is None:
            raise ValueError(
                f"{self.path}: no such file has the vocabulary of its {text_encoder}; pass {name}= with a "
                f"{vocabulary.tokenizer}, or config= with a folder that has {name}/"
            )
        if text_encoder in self.components:
            size = sides(self.components[text_encoder].weights, vocabulary.embeddings, 2)[0]
        if size != vocabulary.size:
            raise ValueError(
                f"{self.path}: its text encoder knows {size} tokens, CLIP's vocabulary has {vocabulary.size}; pass "
                f"config= with a folder that has {name}/"
            )
        return vocabulary.usual(self.release.text_encoders.get(text_encoder, "!"))


def open_single_file(
    path: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    original_config: str | os.PathLike[str] | None = None,
    prediction_type: str | None = None,
    scaling_factor: float | None = None,
    extract_ema: bool = False,
) -> SingleFile:
    """Open a file of a whole pipeline, or of one of its networks, in the original layout of a family.

    It also opens a network under our names, as some published files are.

    Args:
        path: the ``.safetensors`` or ``.gguf`` file.
        config: a folder in the published layout whose configs (and tokenizers) override those from shapes; for networks
            that differ only in what the layout does not show, such as the number of heads. None takes those that
            `convert` has put into the file, if any.
        original_config: the ``.yaml`` file that configured the training; None takes the one of the same name beside the
            file, if any. See `original.training_config`.
        prediction_type: ``"epsilon"`` or ``"v_prediction"``; None follows `original.training.read_training`.
        scaling_factor: the autoencoder's; None takes the model's, or Stable Diffusion 1's for an autoencoder alone.
        extract_ema: take the averaged weights (``model_ema.…``) from a file that has both, not the last ones.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a pickle or damaged file, another architecture (the message names its tell-tale tensors), or
            ``extract_ema`` without averaged weights.
    """
    path = Path(path)
    if prediction_type is not None and prediction_type not in PREDICTION_TYPES:
        raise ValueError(f"prediction_type must be {' or '.join(map(repr, PREDICTION_TYPES))}, got {prediction_type!r}")
    file = open_tensors(path)
    original = _original_config(path, original_config)
    with naming(path):
        layout = _layout(file)
        sections = layout.sections(file, extract_ema=extract_ema)
        parts = {}
        for name, section in sections.items():
            with naming(f"its {name}"):
                parts[name] = section.network.ours(section.tensors)
        release = layout.release(parts, {name: section.network for name, section in sections.items()})
        if layout.is_flow and prediction_type is not None:
            raise ValueError(f"prediction_type must be None for {release.title}, which predicts a flow's velocity")
        training = (
            Training()
            if layout.is_flow
            else _training(file, parts.get(layout.denoiser, {}), release, original, prediction_type)
        )
        release = layout.trained(release, training, parts)
        carried = None if config is not None or ENTRY not in file.metadata else unpack(file.metadata[ENTRY])
    folder = Path(carried.name) if carried is not None else None if config is None else Path(config)
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; config= is a folder in the published layout")
    scaling_factor = original.number("scale_factor") if scaling_factor is None else scaling_factor
    if scaling_factor is not None:
        release = replace(release, scaling_factor=scaling_factor)
    schedule = {} if training.sigmas or layout.is_flow else original.schedule
    scheduler: Mapping[str, object] = {**release.scheduler, **schedule}
    components = {}
    with naming(path) if carried is not None else nullcontext():
        for name, section in sections.items():
            weights = Weights(parts[name], path=path, files=[file])
            carried_config = _carried_config(folder, name)
            read = _config(path, name, section, weights, release, original, carried_config)
            components[name] = Component(_class_name(read), read if carried_config is None else carried_config, weights)
        if folder is not None and (folder / "scheduler").is_dir():
            carried_config = read_config(folder / "scheduler", "scheduler_config.json")
            # The file's own config counts unless someone has since added a marker that contradicts it.
            if carried is None or layout.is_flow or training_of(carried_config) == training:
                scheduler = carried_config
    lost = (each for each in layout.unread.items() if any(name.startswith(each[0]) for name in file))
    unread = next((f"not {prefix}…: {why}" for prefix, why in lost), None)
    return SingleFile(path, layout, release, components, scheduler, folder, carried, unread)


def open_tensors(path: Path) -> SafetensorsFile | GGUFFile:
    """The tensors of a file in the format of its first bytes, or of its name if they show none."""
    check_file(path)
    with path.open("rb") as file:
        is_gguf = file.read(len(MAGIC)) == MAGIC or path.suffix == ".gguf"
    return GGUFFile(path) if is_gguf else SafetensorsFile(path)


def _layout(file: SafetensorsFile | GGUFFile) -> OriginalLayout:
    architecture = file.architecture if isinstance(file, GGUFFile) else None
    try:
        return layout_of(file.keys())
    except ValueError as error:
        if architecture is None:
            raise
        raise ValueError(f"its general.architecture is {shown(architecture)}; {error}") from None


def _original_config(path: Path, given: str | os.PathLike[str] | None) -> TrainingConfig:
    beside = path.with_suffix(".yaml")
    if given is not None or beside.is_file():
        return read_training_config(beside if given is None else given)
    return TrainingConfig()


def _training(
    file: SafetensorsFile | GGUFFile,
    denoiser: Tensors,
    release: Release,
    original: TrainingConfig,
    prediction_type: str | None,
) -> Training:
    """The training you asked for, or the file's."""
    if prediction_type is not None:
        marked = read_training(file, {}, prediction_type, lambda: "epsilon")
        return marked if marked.prediction_type == prediction_type else Training(prediction_type, ZERO_SNR in file)
    return read_training(file, file.metadata, original.prediction_type, lambda: release.predicts(file, denoiser))


def _config(
    path: Path,
    name: str,
    section: Section,
    weights: Weights,
    release: Release,
    original: TrainingConfig,
    carried_config: Mapping[str, object] | None,
) -> Mapping[str, object]:
    """The config by shapes or, if they do not suffice, ``carried_config`` from a folder."""
    try:
        return section.network.config(weights, release, original)
    except KeyError as error:
        raise ValueError(f"{path} lacks the tensor {error.args[0]!r} of its {name}; fetch it again") from None
    except ValueError as error:
        if carried_config is not None:
            return carried_config
        raise ValueError(f"{path}: {error}") from None


def _class_name(config: Mapping[str, object]) -> str:
    architectures = config.get("architectures")
    return str(architectures[0]) if isinstance(architectures, list) else str(config["_class_name"])


def _carried_config(folder: Path | None, name: str) -> Mapping[str, object] | None:
    """The component's config from a folder, if any: a whole pipeline's, or that of this component alone."""
    if folder is None:
        return None
    if (folder / name / CONFIG_NAME).is_file():
        return read_config(folder / name)
    return read_config(folder) if (folder / CONFIG_NAME).is_file() else None
