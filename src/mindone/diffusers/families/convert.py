"""Converts checkpoints: a single file in the original layout to a folder in the published one, and back.

Both ways go tensor by tensor from memory map to file, so neither ever holds a second copy.
"""

import os
from functools import partial
from pathlib import Path

from ..loading.config import GENERATION_CONFIG_NAME, read_config, write_config
from ..loading.deferred import Deferred
from ..loading.fields import naming
from ..loading.hub import MODEL_INDEX, Source, component_folder, component_names, component_variants
from ..loading.original.carried import ENTRY, carry
from ..loading.original.layout import Tensors
from ..loading.original.training import Training, training_of
from ..loading.safetensors import StoredTensor, save_file
from ..loading.tokenizer_base import TokenizerBase
from ..loading.weights import Weights, open_weights
from ..utils.files import check_folder, folder_to_write, make_folder, whole_folder, write_json
from .files import SingleFile, open_single_file
from .registry import layouts

_LIBRARIES = dict.fromkeys(("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"), "transformers")


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
    """Write a single file as a folder in the published layout: a whole pipeline or one component.

    Args:
        path: the file.
        folder: the target, created if missing.
        config, original_config, prediction_type, scaling_factor, extract_ema: see `open_single_file`.
        dtype: "float32", "float16" or "bfloat16"; None keeps the stored types.

    Returns:
        The file's contents.

    Raises:
        ValueError: see `open_single_file`; also if the file holds only parts of a pipeline, which make no folder.
        FileExistsError: the folder already has a checkpoint.
    """
    single = open_single_file(
        path,
        config=config,
        original_config=original_config,
        prediction_type=prediction_type,
        scaling_factor=scaling_factor,
        extract_ema=extract_ema,
    )
    folder = folder_to_write(folder)
    check_folder(folder)
    if (folder / MODEL_INDEX).exists() or (folder / "config.json").exists():
        raise FileExistsError(f"{folder} already has a checkpoint; give another folder")
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
    """Write a checkpoint in the published layout, a pipeline or one component, as one file in the original layout.

    Marks for other programs say how it was trained (`original.training`). Configs and vocabularies other than CLIP's go
    into the file's metadata (`original.carried`). Such a file has no place for the safety checker; Stable Diffusion 2's
    text encoder is written without the last layer, which it never had here and nothing uses.

    Args:
        source: the folder, a bundled checkpoint's name, or a hub id.
        path: the file to write; it appears complete or not at all.
        variant: such as "fp16", for the weights ``….fp16.safetensors``.
        dtype: "float32", "float16" or "bfloat16"; None keeps the stored types.

    Raises:
        FileNotFoundError: a folder or its weights are missing.
        ValueError: the original layout has no place for some components or tensors.
    """
    if Path(source).is_dir() and not (Path(source) / MODEL_INDEX).is_file():
        _write_alone(Path(source), path, variant, dtype)
        return
    if Path(source).resolve() in Path(path).resolve().parents:
        raise ValueError(f"{path} lies in the checkpoint itself; give another place")
    checkpoint = Source(source)
    networks = {part.component for layout in layouts() for part in layout.parts}
    names = {*networks, *(name.replace("text_encoder", "tokenizer") for name in networks), "scheduler"}
    classes = {name: kind for name, kind in component_names(checkpoint.index()).items() if name in names}
    root = checkpoint.pipeline(classes, variant)
    folders = {name: component_folder(root, name) for name in classes}
    variants = component_variants(folders, variant)
    weights = {
        name: _weights(folders[name], name, classes[name], variants[name]) for name in classes if name in networks
    }
    layout = next((each for each in layouts() if each.claims(weights.get(each.denoiser, {}))), None)
    if layout is None:
        known = " and ".join(each.known for each in layouts())
        raise ValueError(f"{source} has no denoising network with an original layout; supported: {known}")
    makers: dict[str, partial[StoredTensor]] = {}
    kinds = {}
    own: dict[str, TokenizerBase] = {}
    for name in dict.fromkeys(part.component for part in layout.parts):
        if name in weights:
            with naming(folders[name]):
                part = layout.place(name, classes[name], classes, read_config(folders[name]))
            kinds[name] = part.network
            makers |= _cast(part.prefix, part.network.original(weights[name]), dtype)
            vocabulary, tokenizer = part.network.vocabulary, name.replace("text_encoder", "tokenizer")
            if vocabulary is not None and tokenizer in folders:
                embedding = weights[name].get(vocabulary.embeddings)
                if vocabulary.size is None or embedding is None or embedding.shape[0] != vocabulary.size:
                    own[tokenizer] = vocabulary.read(folders[tokenizer])
    scheduler = read_config(folders.get("scheduler", root / "scheduler"), "scheduler_config.json")
    training = Training() if layout.is_flow else training_of(scheduler)
    makers |= _cast("", training.tensors(), None)
    metadata = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": layout.trained(layout.release(weights, kinds), training, weights).modelspec,
        **({} if layout.is_flow else {"modelspec.prediction_type": training.modelspec}),
    }
    configs = {name: folder for name, folder in folders.items() if not name.startswith("tokenizer")}
    save_file(Deferred(makers), path, {**metadata, ENTRY: carry(configs, root, own)})


def _write_alone(folder: Path, path: str | os.PathLike[str], variant: str | None, dtype: str | None) -> None:
    """Write the folder of one component as a file."""
    class_name = str(read_config(folder).get("_class_name"))
    placed = [(layout, part) for layout in layouts() for part in layout.parts]
    parts = [(layout, part) for layout, part in placed if not part.component.startswith("text_encoder")]
    layout, part = next((pair for pair in parts if class_name in pair[1].network.classes), (None, None))
    if layout is None or part is None:
        known = dict.fromkeys(name for _, part in parts for name in part.network.classes)
        raise ValueError(f"{folder} holds a {class_name}; the original layout exists only for {', '.join(known)}")
    weights = _weights(folder, part.component, class_name, variant)
    metadata = {"format": "pt", ENTRY: carry({part.component: folder}, folder, {})}
    prefix = "" if layout.is_bare and part.component == layout.denoiser else part.prefix
    save_file(Deferred(_cast(prefix, part.network.original(weights), dtype)), path, metadata)


def _weights(folder: Path, component: str, class_name: str, variant: str | None) -> Weights:
    weights = open_weights(folder, _basename(component), variant).normalized(class_name)
    if any(name.endswith(".weight_scale") for name in weights):
        raise ValueError(
            f"{folder} is quantised, which the original layout has no names for; convert what it was made from"
        )
    return weights


def _basename(component: str) -> str:
    return "model" if component.startswith("text_encoder") else "diffusion_pytorch_model"


def _write_pipeline(single: SingleFile, folder: Path, dtype: str | None) -> None:
    tokenizers = single.tokenizers()
    index: dict[str, object] = {"_class_name": single.pipeline, **single.options}
    for name, component in single.components.items():
        _write_component(single, name, folder / name, dtype)
        if name == "controlnet":  # a pipeline takes it as an argument; load it from its folder
            continue
        index[name] = [_LIBRARIES.get(component.class_name, "diffusers"), component.class_name]
    for name, tokenizer in tokenizers.items():
        tokenizer.save_pretrained(folder / name)
        vocabulary = single.layout.vocabulary(name.replace("tokenizer", "text_encoder"))
        index[name] = ["transformers", vocabulary.tokenizer]
    write_config(folder / "scheduler", single.scheduler, "scheduler_config.json")
    index["scheduler"] = ["diffusers", single.scheduler["_class_name"]]
    index |= {name: [None, None] for name in single.release.absent if name not in index}
    if single.config_folder is not None and (single.config_folder / GENERATION_CONFIG_NAME).is_file():
        write_config(folder, read_config(single.config_folder, GENERATION_CONFIG_NAME), GENERATION_CONFIG_NAME)
    write_json(folder / MODEL_INDEX, index)


def _write_only_component(single: SingleFile, folder: Path, dtype: str | None) -> None:
    if len(single.components) > 1:
        raise ValueError(
            f"{single.path} holds {', '.join(single.components)}, which is neither a whole pipeline nor one component; "
            "use a file with a denoising network, an autoencoder and text encoders"
        )
    (name,) = single.components
    _write_component(single, name, folder, dtype)


def _write_component(single: SingleFile, name: str, folder: Path, dtype: str | None) -> None:
    component = single.components[name]
    make_folder(folder)
    save_file(Deferred(_cast("", component.weights, dtype)), folder / f"{_basename(name)}.safetensors")
    write_config(folder, component.config)


def _cast(prefix: str, tensors: Tensors, dtype: str | None) -> dict[str, partial[StoredTensor]]:
    """Tensors under a prefix in another dtype, converted one at a time; integers stay unchanged."""

    def converted(name: str) -> StoredTensor:
        tensor = tensors[name]
        is_float = tensor.dtype in ("F64", "F32", "F16", "BF16")
        return tensor.cast(dtype) if dtype is not None and is_float else tensor

    return {prefix + name: partial(converted, name) for name in tensors}
