"""Converting checkpoints: a single file in the original layout to a folder in the published one, and back.

Both ways go tensor by tensor from memory map to file, so neither ever holds a second copy.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..utils.files import whole_folder, write_json
from ..utils.printable import shown
from .clip_vocabulary import SIZE
from .config import GENERATION_CONFIG_NAME, read_config, write_config
from .hub import MODEL_INDEX, Source, component_folder, component_names
from .original import families
from .original.autoencoder_names import autoencoder_key_map, is_attention_matrix
from .original.carried import ENTRY, carry
from .original.key_map import KeyMap
from .original.open_clip import OpenClipView
from .original.training import Training, training_of
from .original.unet_names import Stages, controlnet_key_map, hint_layers_of, unet_key_map
from .safetensors import StoredTensor, save_file
from .single_file import SingleFile, open_single_file
from .tokenizer import CLIPTokenizer
from .weights import Weights, open_weights

Tensors = Mapping[str, StoredTensor]

_NETWORKS = ("unet", "controlnet", "vae", "text_encoder", "text_encoder_2")
_COMPONENTS = (*_NETWORKS, "tokenizer", "tokenizer_2", "scheduler")
"""What goes from a pipeline's folder into a file."""
_LIBRARIES = {"CLIPTextModel": "transformers", "CLIPTextModelWithProjection": "transformers"}


def file_to_folder(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    original_config: str | os.PathLike[str] | None = None,
    prediction_type: str | None = None,
    scaling_factor: float | None = None,
    extract_ema: bool = False,
    dtype: str | None = None,
) -> SingleFile:
    """Write a single file as a folder in the published layout: a whole pipeline's, or one component's.

    Args:
        path: the file.
        folder: where to; made when it is missing.
        config, original_config, prediction_type, scaling_factor, extract_ema: see `open_single_file`.
        dtype: "float32", "float16" or "bfloat16"; None keeps the stored types.

    Returns:
        What the file holds.

    Raises:
        ValueError: see `open_single_file`; or parts of a pipeline, which make no folder.
        FileExistsError: the folder has a checkpoint already.
    """
    single = open_single_file(
        path,
        config=config,
        original_config=original_config,
        prediction_type=prediction_type,
        scaling_factor=scaling_factor,
        extract_ema=extract_ema,
    )
    folder = Path(folder)
    if (folder / MODEL_INDEX).exists() or (folder / "config.json").exists():
        raise FileExistsError(f"{folder} has a checkpoint already; give another folder")
    with whole_folder(folder, MODEL_INDEX) as writing:
        if single.pipeline is None:
            _write_only_component(single, writing, dtype)
        else:
            _write_pipeline(single, writing, dtype)
    return single


def folder_to_file(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    variant: str | None = None,
    dtype: str | None = None,
) -> None:
    """Write a checkpoint in the published layout, a pipeline's or one component's, as one file in the original layout.

    How the UNet was trained is marked as other programs read it (`original.training`). Configs and a vocabulary other
    than CLIP's go into the file's metadata (`original.carried`). The safety checker has no place in such a file; Stable
    Diffusion 2's text encoder is written without the last layer, which it never had here and which nothing uses.

    Args:
        source: the folder, a bundled checkpoint's name, or a hub id.
        path: the file to write; it appears complete or not at all.
        variant: such as "fp16", for the weights ``….fp16.safetensors``.
        dtype: "float32", "float16" or "bfloat16"; None keeps the stored types.

    Raises:
        FileNotFoundError: a folder or its weights are not there.
        ValueError: the checkpoint has components or tensors that the original layout has no place for.
    """
    if Path(source).is_dir() and not (Path(source) / MODEL_INDEX).is_file():
        folder = Path(source)
        class_name = str(read_config(folder).get("_class_name"))
        if class_name not in _ALONE:
            raise ValueError(f"{folder} holds a {class_name}; the original layout is for {', '.join(_ALONE)} alone")
        weights = open_weights(folder, "diffusion_pytorch_model", variant).normalized(class_name)
        name, view = _ALONE[class_name]
        metadata = {"format": "pt", ENTRY: carry({name: folder}, folder, {})}
        save_file(_Cast(view(weights), dtype), path, metadata)
        return
    checkpoint = Source(source)
    index = checkpoint.index()
    classes = {name: kind for name, kind in component_names(index).items() if name in _COMPONENTS}
    root = checkpoint.pipeline(classes, variant)
    folders = {name: component_folder(root, name) for name in classes}
    parts: list[Tensors] = []
    sizes: dict[str, int] = {}
    unet: Weights | None = None
    refiner = "text_encoder_2" in classes and "text_encoder" not in classes
    for name in _NETWORKS:
        if name not in classes:
            continue
        basename = "model" if name.startswith("text_encoder") else "diffusion_pytorch_model"
        weights = open_weights(folders[name], basename, variant).normalized(classes[name])
        if name == "unet":
            unet = weights
            parts.append(_Prefixed("model.diffusion_model.", _unet_view(weights)))
        elif name == "controlnet":
            parts.append(_controlnet_view(weights))
        elif name == "vae":
            if classes[name] != "AutoencoderKL":
                raise ValueError(f"{folders[name]} holds a {classes[name]}, for which the original layout has no place")
            parts.append(_Prefixed("first_stage_model.", _autoencoder_view(weights)))
        else:
            embedding = weights.get("text_model.embeddings.token_embedding.weight")
            sizes[name.replace("text_encoder", "tokenizer")] = 0 if embedding is None else embedding.shape[0]
            open_clip = read_config(folders[name]).get("hidden_act") == "gelu"
            prefix = _text_prefix(name, xl="text_encoder_2" in classes, open_clip=open_clip, refiner=refiner)
            parts.append(_Prefixed(prefix, OpenClipView(weights) if open_clip else weights))
    if unet is None or "conv_in.weight" not in unet:
        raise ValueError(f"{source} has no UNet with weights; the original layout is for Stable Diffusion 1, 2 and XL")
    training = training_of(read_config(folders.get("scheduler", root / "scheduler"), "scheduler_config.json"))
    metadata = _metadata(unet, training, refiner=refiner)
    own = {name: CLIPTokenizer.from_pretrained(folders[name]) for name, size in sizes.items() if size != SIZE}
    metadata[ENTRY] = carry(
        {name: folder for name, folder in folders.items() if not name.startswith("tokenizer")}, root, own
    )
    save_file(_Joined([_Cast(_Joined(parts), dtype), training.tensors()]), path, metadata)


def _write_pipeline(single: SingleFile, folder: Path, dtype: str | None) -> None:
    tokenizers = single.tokenizers()
    index: dict[str, object] = {"_class_name": single.pipeline, **single.options}
    for name, component in single.components.items():
        _write_component(single, name, folder / name, dtype)
        if name == "controlnet":  # a pipeline takes it as an argument: load it from its folder
            continue
        index[name] = [_LIBRARIES.get(component.class_name, "diffusers"), component.class_name]
    for name, tokenizer in tokenizers.items():
        tokenizer.save_pretrained(folder / name)
        index[name] = ["transformers", "CLIPTokenizer"]
    write_config(folder / "scheduler", single.scheduler, "scheduler_config.json")
    index["scheduler"] = ["diffusers", single.scheduler["_class_name"]]
    absent = ["text_encoder", "tokenizer"] if single.family.is_xl else ["safety_checker", "feature_extractor"]
    index |= {name: [None, None] for name in absent if name not in index}
    if single.config_folder is not None and (single.config_folder / GENERATION_CONFIG_NAME).is_file():
        write_config(folder, read_config(single.config_folder, GENERATION_CONFIG_NAME), GENERATION_CONFIG_NAME)
    write_json(folder / MODEL_INDEX, index)


def _write_only_component(single: SingleFile, folder: Path, dtype: str | None) -> None:
    if len(single.components) > 1:
        raise ValueError(
            f"{single.path} holds {', '.join(single.components)}, which is neither a whole pipeline nor one component; "
            "take a file with a UNet, an autoencoder and its text encoders"
        )
    (name,) = single.components
    _write_component(single, name, folder, dtype)


def _write_component(single: SingleFile, name: str, folder: Path, dtype: str | None) -> None:
    component = single.components[name]
    basename = "model" if name.startswith("text_encoder") else "diffusion_pytorch_model"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_Cast(component.weights, dtype), folder / f"{basename}.safetensors")
    write_config(folder, component.config)


class _Renamed(Mapping[str, StoredTensor]):
    """Our tensors under the original layout's names."""

    def __init__(self, tensors: Tensors, keys: KeyMap):
        self.tensors = tensors
        self.names: dict[str, str] = {}
        for name in tensors:
            original = keys.original(name)
            if original is None:
                raise ValueError(f"the original layout has no place for the tensor {shown(name)}; keep the folder")
            self.names[original] = name

    def __getitem__(self, name: str) -> StoredTensor:
        return self.tensors[self.names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class _Convolutions(_Renamed):
    """An autoencoder's, whose attention matrices become 1×1 convolutions."""

    def __getitem__(self, name: str) -> StoredTensor:
        tensor = super().__getitem__(name)
        return tensor.reshape((*tensor.shape, 1, 1)) if is_attention_matrix(self.names[name]) else tensor


class _Prefixed(Mapping[str, StoredTensor]):
    def __init__(self, prefix: str, tensors: Tensors):
        self.prefix, self.tensors = prefix, tensors

    def __getitem__(self, name: str) -> StoredTensor:
        return self.tensors[name[len(self.prefix) :]]

    def __iter__(self) -> Iterator[str]:
        return (self.prefix + name for name in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


class _Joined(Mapping[str, StoredTensor]):
    """Several mappings without a name in common, as one."""

    def __init__(self, parts: list[Tensors]):
        self.part_of = {name: part for part in parts for name in part}

    def __getitem__(self, name: str) -> StoredTensor:
        return self.part_of[name][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.part_of)

    def __len__(self) -> int:
        return len(self.part_of)


class _Cast(Mapping[str, StoredTensor]):
    """The same in another type, converted one at a time; integers stay what they are."""

    def __init__(self, tensors: Tensors, dtype: str | None):
        self.tensors, self.dtype = tensors, dtype

    def __getitem__(self, name: str) -> StoredTensor:
        tensor = self.tensors[name]
        if self.dtype is None or tensor.dtype not in ("F64", "F32", "F16", "BF16"):
            return tensor
        return tensor.cast(self.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def _unet_view(weights: Weights) -> Tensors:
    return _Renamed(weights, unet_key_map(Stages.of_ours(weights)))


def _controlnet_view(weights: Weights) -> Tensors:
    keys = controlnet_key_map(Stages.of_ours(weights), hint_layers_of(weights))
    return _Prefixed("control_model.", _Renamed(weights, keys))


def _autoencoder_view(weights: Weights) -> Tensors:
    return _Convolutions(weights, autoencoder_key_map(weights))


_ALONE: dict[str, tuple[str, Callable[[Weights], Tensors]]] = {
    "UNet2DConditionModel": ("unet", lambda weights: _Prefixed("model.diffusion_model.", _unet_view(weights))),
    "ControlNetModel": ("controlnet", _controlnet_view),
    "AutoencoderKL": ("vae", _autoencoder_view),
}
"""The components that are published alone in the original layout by class: what pipelines call them, and how they are
named in it."""


def _text_prefix(name: str, *, xl: bool, open_clip: bool, refiner: bool) -> str:
    place = "cond_stage_model" if not xl else f"conditioner.embedders.{int(name == 'text_encoder_2' and not refiner)}"
    return f"{place}.model." if open_clip else f"{place}.transformer."


def _metadata(unet: Weights, training: Training, *, refiner: bool) -> dict[str, str]:
    """What the tensors do not say, in the ModelSpec entries that other programs read as well."""
    velocity = training.prediction_type == "v_prediction"
    if "add_embedding.linear_1.weight" in unet:
        family = families.XL_REFINER if refiner else families.XL
    elif any(name.endswith(".proj_in.weight") and len(unet[name].shape) == 2 for name in unet):
        family = families.SD2_V if velocity else families.SD2
    else:
        family = families.SD1
    inpaints = "-inpainting" if unet["conv_in.weight"].shape[1] == 9 else ""
    return {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": family.modelspec + inpaints,
        "modelspec.prediction_type": training.modelspec,
    }
