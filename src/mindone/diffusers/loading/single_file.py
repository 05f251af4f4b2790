"""A whole pipeline, or one component, from one safetensors file in the original layout; nothing else is needed.

The names of its tensors show what the file holds, their shapes give the configs (see `original`). The weights are
views of the memory-mapped file under our names: opening reads the header and turns one matrix of XL, no more.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from ..utils.printable import shown
from .clip_vocabulary import SIZE, clip_tokenizer
from .config import CONFIG_NAME, read_config
from .fields import listed, naming
from .hub import MODEL_INDEX
from .key_maps import clip_text_key
from .original import families
from .original.autoencoder_names import autoencoder_key_map, is_attention_matrix
from .original.carried import ENTRY, unpack
from .original.component_configs import autoencoder_config, text_config
from .original.families import Family
from .original.key_map import KeyMap, sides
from .original.open_clip import from_open_clip
from .original.sections import Section, sections_of
from .original.training import PREDICTION_TYPES, ZERO_SNR, Training, read_training, training_of
from .original.training_config import TrainingConfig, read_training_config
from .original.unet_config import controlnet_config, cross_attention_dim, unet_config
from .original.unet_names import Stages, controlnet_key_map, hint_layers_of, unet_key_map
from .original.unknown import nothing_known, unknown_architecture
from .safetensors import SafetensorsFile, StoredTensor
from .tokenizer import CLIPTokenizer
from .weights import PICKLE_SUFFIXES, Weights

Tensors = Mapping[str, StoredTensor]


@dataclass(frozen=True)
class Component:
    """A network of a single file."""

    class_name: str
    """The network's class, such as ``UNet2DConditionModel``."""
    config: Mapping[str, object]
    weights: Weights
    """Under our names, as they are stored."""

    @property
    def channels(self) -> int:
        """What a UNet takes, by its first kernel."""
        return sides(self.weights, "conv_in.weight", 4)[1]


@dataclass(frozen=True)
class SingleFile:
    """What a single file holds."""

    path: Path
    family: Family
    components: Mapping[str, Component]
    """By the names of pipelines: ``unet``, ``vae``, ``text_encoder``, ``text_encoder_2``; ``controlnet``."""
    scheduler: Mapping[str, object]
    """The scheduler's config with its ``_class_name``."""
    config_folder: Path | None
    """Whose configs and tokenizers replace what shapes tell: the one that was given, or what the file carries."""
    carried: "tempfile.TemporaryDirectory[str] | None" = None
    """Keeps that folder where it is the file's own."""

    @property
    def pipeline(self) -> str | None:
        """The class that draws with all of it; None when the file is no whole pipeline."""
        return None if "unet" not in self.components or self.absent else self.pipeline_of_unet

    @property
    def pipeline_of_unet(self) -> str:
        """The class that draws with its UNet.

        Raises:
            ValueError: the UNet takes channels that no pipeline here gives it.
        """
        channels = self.components["unet"].channels
        if channels not in self.family.pipelines:
            raise ValueError(
                f"{self.path}: a UNet of {channels} input channels (tensor 'conv_in.weight') is of no pipeline known "
                f"here for {self.family.title}; known are {', '.join(map(str, self.family.pipelines))} channels"
            )
        return self.family.pipelines[channels]

    @property
    def absent(self) -> list[str]:
        """What else a pipeline of its UNet needs: files without autoencoder or text encoders are published, too."""
        return [name for name in ("vae", *self.family.text_encoders) if name not in self.components]

    @property
    def options(self) -> dict[str, object]:
        """The pipeline's own entries of ``model_index.json``."""
        options = dict(self.family.options or {})
        if "unet" in self.components and self.pipeline_of_unet == "StableDiffusionXLInstructPix2PixPipeline":
            options["is_cosxl_edit"] = self.scheduler.get("timestep_type") == "continuous"
        if self.config_folder is None or not (self.config_folder / MODEL_INDEX).is_file():
            return options
        index = read_config(self.config_folder, MODEL_INDEX)
        return options | {name: value for name, value in index.items() if isinstance(value, bool)}

    def tokenizers(self) -> dict[str, CLIPTokenizer]:
        """``tokenizer`` for ``text_encoder``, ``tokenizer_2`` for the second; the ``config`` folder's or CLIP's.

        Raises:
            ValueError: a text encoder has another vocabulary than CLIP's, and no ``config`` folder was given.
        """
        sizes = {
            name: sides(component.weights, "text_model.embeddings.token_embedding.weight", 2)[0]
            for name, component in self.components.items()
            if name.startswith("text_encoder")
        }
        return {name.replace("text_encoder", "tokenizer"): self.tokenizer(name, size) for name, size in sizes.items()}

    def tokenizer(self, text_encoder: str, size: object) -> CLIPTokenizer:
        """The tokenizer of ``text_encoder`` or ``text_encoder_2``, which knows ``size`` tokens.

        Raises:
            ValueError: the size is not that of CLIP's vocabulary, and no ``config`` folder was given.
        """
        name = text_encoder.replace("text_encoder", "tokenizer")
        if self.config_folder is not None and (self.config_folder / name).is_dir():
            with naming(self.path) if self.carried is not None else nullcontext():
                return CLIPTokenizer.from_pretrained(self.config_folder / name)
        if size != SIZE:
            raise ValueError(
                f"{self.path}: its text encoder knows {size} tokens, CLIP's vocabulary has {SIZE}; pass config= with a "
                f"folder that has {name}/"
            )
        # OpenCLIP's towers are padded with another token than OpenAI's.
        openai = self.family.text_encoders[0] == text_encoder and not self.family.is_open_clip
        return clip_tokenizer() if openai else clip_tokenizer("!")


def open_single_file(
    path: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    original_config: str | os.PathLike[str] | None = None,
    prediction_type: str | None = None,
    scaling_factor: float | None = None,
    extract_ema: bool = False,
) -> SingleFile:
    """Open a ``.safetensors`` file of a whole pipeline, a UNet, a ControlNet or an autoencoder in the original layout.

    A UNet, ControlNet or autoencoder under our names, as some are published in one file, is taken as well.

    Args:
        path: the file.
        config: a folder in the published layout whose configs (and tokenizers) replace what shapes tell; for networks
            that share a layout but not what it leaves open, such as the number of heads. None takes those that
            `convert` has put into the file, if any.
        original_config: the ``.yaml`` file that the training was configured with; None takes the one beside the file
            under the same name, if any. See `original.training_config`.
        prediction_type: ``"epsilon"`` or ``"v_prediction"``; None follows `original.training.read_training`.
        scaling_factor: of the autoencoder; None takes the family's, and Stable Diffusion 1's for an autoencoder alone.
        extract_ema: take the averaged weights (``model_ema.…``) of a file that has both, not the last ones.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a pickle or damaged file, another architecture (its tell-tale tensors are named), or no averaged
            weights where they were asked for.
    """
    path = Path(path)
    if path.suffix in PICKLE_SUFFIXES:
        raise ValueError(
            f"{path} is a pickle checkpoint, which can run code and is not read; take the model's .safetensors file or "
            "convert it"
        )
    if prediction_type is not None and prediction_type not in PREDICTION_TYPES:
        raise ValueError(f"prediction_type must be {' or '.join(map(repr, PREDICTION_TYPES))}, got {prediction_type!r}")
    file = SafetensorsFile(path)
    strange = unknown_architecture(file.keys())
    if strange is not None:
        raise ValueError(f"{path}: {strange}")
    sections = sections_of(file, extract_ema=extract_ema, source=str(path))
    if not sections:
        raise ValueError(f"{path} is {nothing_known(file.keys())}")
    original = _original_config(path, original_config)
    with naming(path):
        tensors = {name: _renamed(section) for name, section in sections.items()}
        family = _family(sections, tensors)
        training = _training(file, tensors.get("unet", {}), family, original, prediction_type)
        carried = None if config is not None or ENTRY not in file.metadata else unpack(file.metadata[ENTRY])
    if family is families.SD2 and training.prediction_type == "v_prediction":
        family = families.SD2_V
    folder = Path(carried.name) if carried is not None else None if config is None else Path(config)
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; config= is a folder in the published layout")
    scaling_factor = original.number("scale_factor") if scaling_factor is None else scaling_factor
    scheduler = _scheduler(family, training, original)
    components = {}
    with naming(path) if carried is not None else nullcontext():
        for name in tensors:
            weights = Weights(tensors[name], path=path, files=[file])
            read = _config(name, sections[name], weights, family, scaling_factor, original)
            components[name] = Component(_class_name(read), _override(read, folder, name), weights)
        if folder is not None and (folder / "scheduler").is_dir():
            told = read_config(folder / "scheduler", "scheduler_config.json")
            # What a file carries counts as long as nobody has marked it otherwise since.
            if carried is None or training_of(told) == training:
                scheduler = told
    return SingleFile(path, family, components, scheduler, folder, carried)


def _original_config(path: Path, given: str | os.PathLike[str] | None) -> TrainingConfig:
    beside = path.with_suffix(".yaml")
    if given is not None or beside.is_file():
        return read_training_config(beside if given is None else given)
    return TrainingConfig()


def _training(
    file: SafetensorsFile, unet: Tensors, family: Family, original: TrainingConfig, prediction_type: str | None
) -> Training:
    """What was asked for, or what the file says."""
    if prediction_type is not None:
        training = Training(prediction_type, ZERO_SNR in file)
        marked = read_training(file, {}, prediction_type, unet, is_sd2=False)
        return marked if marked.prediction_type == prediction_type else training
    return read_training(file, file.metadata, original.prediction_type, unet, is_sd2=family is families.SD2)


def _scheduler(family: Family, training: Training, original: TrainingConfig) -> dict[str, object]:
    if training.sigmas is not None:
        return families.edm_scheduler_config(*training.sigmas)
    scheduler = families.scheduler_config(
        family, training.prediction_type, zero_terminal_snr=training.zero_terminal_snr
    )
    return {**scheduler, **original.schedule}


def _renamed(section: Section) -> dict[str, StoredTensor]:
    """A section's tensors under our names and in our shapes."""
    tensors = section.tensors
    if section.kind == "open_clip":
        return from_open_clip(tensors, penultimate=section.component == "text_encoder")
    if section.kind == "clip":
        return {
            ours: tensor
            for name, tensor in tensors.items()
            if (ours := clip_text_key(name)) is not None and ours.startswith("text_model.")
        }
    if section.kind == "ours":
        model = "AutoencoderKL" if section.component == "vae" else section.component
        return dict(Weights(tensors).normalized(model))
    keys = _key_map(section)
    renamed = {}
    strange = []
    for name, tensor in tensors.items():
        ours = keys.ours(name)
        if ours is None:
            strange.append(name)
        elif section.component == "vae" and is_attention_matrix(ours):
            if tensor.shape[2:] not in ((), (1, 1)):
                raise ValueError(
                    f"the tensor {shown(name)} must be a matrix or a 1×1 kernel, got the shape {shown(tensor.shape)}"
                )
            renamed[ours] = tensor.reshape(tensor.shape[:2])
        else:
            renamed[ours] = tensor
    if strange:
        raise ValueError(
            f"{len(strange)} tensors of the {section.component} are of no architecture known here: "
            f"{listed(map(repr, sorted(strange)))}"
        )
    return renamed


def _key_map(section: Section) -> KeyMap:
    if section.component == "vae":
        return autoencoder_key_map(section.tensors)
    stages = Stages.of_original(section.tensors)
    if section.component == "controlnet":
        return controlnet_key_map(stages, hint_layers_of(section.tensors))
    return unet_key_map(stages)


def _family(sections: Mapping[str, Section], tensors: Mapping[str, Tensors]) -> Family:
    """Told by the UNet where there is one, or a ControlNet; an autoencoder alone counts as Stable Diffusion 1's."""
    unet = tensors.get("unet") or tensors.get("controlnet") or {}
    if "add_embedding.linear_1.weight" in unet:
        alone = "text_encoder_2" in sections and "text_encoder" not in sections
        return families.XL_REFINER if alone or cross_attention_dim(unet) == 1280 else families.XL
    text = sections.get("text_encoder")
    if text is not None:
        return families.SD2 if text.kind == "open_clip" else families.SD1
    linear = any(name.endswith(".proj_in.weight") and len(tensor.shape) == 2 for name, tensor in unet.items())
    return families.SD2 if linear else families.SD1


def _config(
    name: str,
    section: Section,
    weights: Weights,
    family: Family,
    scaling_factor: float | None,
    original: TrainingConfig,
) -> dict[str, object]:
    try:
        if name in ("unet", "controlnet"):
            config = unet_config(weights, family.sample_size) if name == "unet" else controlnet_config(weights)
            widths = config["block_out_channels"]
            heads = original.heads(widths) if isinstance(widths, list) else None
            return config if heads is None else {**config, "attention_head_dim": heads}
        if name == "vae":
            scale = family.scaling_factor if scaling_factor is None else scaling_factor
            return autoencoder_config(weights, scaling_factor=scale, sample_size=8 * family.sample_size)
        return text_config(weights, open_clip=section.kind == "open_clip")
    except KeyError as error:
        raise ValueError(f"{section.source} lacks the tensor {error.args[0]!r} of its {name}; fetch it again") from None
    except ValueError as error:
        raise ValueError(f"{section.source}: {error}") from None


def _class_name(config: Mapping[str, object]) -> str:
    architectures = config.get("architectures")
    return str(architectures[0]) if isinstance(architectures, list) else str(config["_class_name"])


def _override(config: dict[str, object], folder: Path | None, name: str) -> Mapping[str, object]:
    """The config of a folder where there is one: of a whole pipeline, or of this component alone."""
    if folder is None:
        return config
    if (folder / name / CONFIG_NAME).is_file():
        return read_config(folder / name)
    return read_config(folder) if (folder / CONFIG_NAME).is_file() else config
