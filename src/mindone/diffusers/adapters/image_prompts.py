"""Pictures that a network attends to alongside the text: what ``pipe.image_prompts`` offers (Ye et al. 2023).

`adapters.ip_adapter` puts IP-Adapters on a network; this module loads and scales them and turns pictures into
embeddings.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..engines import Array, Engine, several, single
from ..families.adapters import ImagePromptNames, Shapes
from ..families.components import Denoiser
from ..loading.clip_image_processor import CLIPImageProcessor, pixel_values_of
from ..loading.hub_files import FileSource
from ..loading.safetensors import StoredTensor
from ..models.base import Model
from ..models.clip_vision import CLIPVisionModelWithProjection
from ..utils import logging
from .ip_adapter import NetworkIPAdapters
from .ip_adapter_files import IPAdapter, open_ip_adapter, read_ip_adapter

logger = logging.get_logger(__name__)

Tensors: TypeAlias = Mapping[str, Mapping[str, NDArray[np.generic]]]
"""``{"image_proj": {…}, "ip_adapter": {…}}``."""
FileOrTensors: TypeAlias = str | os.PathLike[str] | Tensors
Scale: TypeAlias = float | Mapping[str, object]
"""A number, or numbers by block in the published form."""
ImagePrompts: TypeAlias = Image.Image | Sequence[Image.Image | Sequence[Image.Image]] | None
"""A picture, or a list with one entry for each IP-Adapter: a picture or a list of pictures."""
ImageEmbeds: TypeAlias = Sequence[Array] | None
"""For each IP-Adapter its image encoder's output: (1, pictures, channels) for a plain one, (1, pictures, vectors,
channels) for plus. Under guidance two rows, the first for the negative prompt."""


class IPAdapters:
    """The IP-Adapters of a denoiser, and the components that turn their pictures into embeddings.

    Args:
        network: the denoiser that gets them.
        names: the family's names.
        engine: runs the image encoder.
        image_encoder: turns pixel values into vectors; None if there is none yet.
        feature_extractor: turns pictures into pixel values, such as a `CLIPImageProcessor`; None if there is none yet.
        keep: called with name and value whenever `load` or `unload` replaces one of these two.
        shares_extractor: whether another component needs the feature extractor, so that `unload` keeps it.
    """

    def __init__(
        self,
        network: Denoiser,
        names: ImagePromptNames,
        engine: Engine,
        image_encoder: Any,
        feature_extractor: Any,
        keep: Callable[[str, object], None],
        shares_extractor: bool,
    ):
        self._network, self._names, self._engine = network, names, engine
        self._encoder, self._extractor = image_encoder, feature_extractor
        self._keep, self._shares_extractor = keep, shares_extractor

    @property
    def loaded(self) -> tuple[IPAdapter, ...]:
        """The adapters on the network."""
        return self._on.loaded

    @property
    def _on(self) -> NetworkIPAdapters:
        return self._network.put_on.of(NetworkIPAdapters)

    def load(
        self,
        path_or_id_or_dict: FileOrTensors | list[FileOrTensors],
        subfolder: str | list[str | None] | None = None,
        weight_name: str | list[str | None] | None = None,
        image_encoder_folder: str | None = "image_encoder",
        *,
        low_cpu_mem_usage: bool = True,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> None:
        """Load one IP-Adapter, or several (lists), in place of those loaded before.

        Each has scale 1. A pipeline without an ``image_encoder`` also gets that, with the processor that prepares its
        pictures.

        Args:
            path_or_id_or_dict: a folder, a hub id such as ``h94/IP-Adapter``, a ``.safetensors`` file, or its tensors.
            subfolder: the folder inside it that holds the file: ``models``, or ``sdxl_models``.
            weight_name: the file, such as ``ip-adapter_sd15.safetensors`` or ``ip-adapter-plus_sd15.safetensors``.
            image_encoder_folder: the image encoder's folder in ``subfolder``, or a whole path if it has a slash; with
                None nothing is loaded, and calls take ``ip_adapter_image_embeds``.
            low_cpu_mem_usage: changes nothing: tensors stay in the file until they are needed.
            revision, cache_dir, local_files_only, token: as in huggingface_hub.

        Raises:
            ValueError: the file is no IP-Adapter, is of an unknown kind or for another network, or the image encoder
                does not match.
            FileNotFoundError: no such file or folder.
        """
        where = {"revision": revision, "cache_dir": cache_dir, "local_files_only": local_files_only, "token": token}
        sources = _one_each(path_or_id_or_dict, subfolder, weight_name)
        shapes = self._network.published_shapes()
        attentions = self._names.attentions(shapes)
        read = [_read(*source, shapes, attentions, where) for source in sources]
        encoder = self._encoder
        if encoder is None and image_encoder_folder is not None:
            encoder = _load_encoder(*sources[0][:2], image_encoder_folder, self._network.dtype, where)
        if encoder is None:
            logger.warning("the pipeline has no image encoder: pass ip_adapter_image_embeds, not ip_adapter_image")
        else:
            check_encoder(encoder, read)
        self._on.load(read, attentions)
        extractor = self._extractor
        if extractor is None and encoder is not None:
            size = encoder.config["image_size"]
            extractor = CLIPImageProcessor(size=size, crop_size=size)
        self._replace(encoder, extractor)

    def set_scale(self, scale: Scale | Sequence[Scale]) -> None:
        """Set how much the pictures count from now on; nothing is compiled again.

        Args:
            scale: a number; or numbers by block, ``{"up": {"block_0": [0.0, 1.0, 0.0]}}``, where unnamed blocks count
                0; or a list with one of these for each adapter. Without a list it applies to all adapters.

        Raises:
            ValueError: no adapter is loaded, the number of scales is wrong, or a block does not exist.
        """
        count = len(self.loaded)
        if not count:
            raise ValueError("no IP-Adapter is loaded, so there is no scale to set; call load_ip_adapter first")
        several = isinstance(scale, (list, tuple))
        scales: list[Scale] = list(scale) if several else [scale] * count  # type: ignore
        if len(scales) != count:
            raise ValueError(f"scale must be a list with one entry for each of {count} IP-Adapters, got {len(scales)}")
        for each in scales:
            if isinstance(each, bool) or not isinstance(each, (int, float, Mapping)):
                raise ValueError(f"an IP-Adapter's scale must be a number or a dict of blocks, got {each!r}")
        shapes = self._network.published_shapes()
        layers = self._names.attentions(shapes)
        by_layer = [
            self._names.by_block(each, shapes, 0.0) if isinstance(each, Mapping) else dict.fromkeys(shapes, each)
            for each in scales
        ]
        rows = [[weights[f"{layer}.to_k.weight"] for layer in layers] for weights in by_layer]
        self._on.scales = np.array(rows, np.float32)

    def unload(self) -> None:
        """Take off all adapters and remove the image encoder from the pipeline.

        The feature extractor goes too, unless this kind of pipeline has a safety checker, which needs it.
        """
        self._on.unload()
        self._replace(None, self._extractor if self._shares_extractor else None)

    def encode_image(
        self,
        image: Image.Image | Sequence[Image.Image],
        device: object = None,
        num_images_per_prompt: int = 1,
        output_hidden_states: bool | None = None,
    ) -> tuple[Array, Array]:
        """The image encoder's output for pictures and for no picture, each row ``num_images_per_prompt`` times.

        Vectors (pictures, projection_dim) and zeros; with ``output_hidden_states`` the input of the encoder's last
        layer, (pictures, vectors, hidden_size), and the same for pixel values of 0. ``device`` is ignored.
        """
        pictures: list[Any] = list(image) if isinstance(image, (list, tuple)) else [image]
        pixels = pixel_values_of(self._extractor, pictures)
        if output_hidden_states:
            seen, unseen = (self._vectors(x, "penultimate") for x in (pixels, np.zeros_like(pixels)))
        else:
            seen = self._vectors(pixels)
            unseen = np.zeros_like(seen)
        seen, unseen = (np.repeat(x, num_images_per_prompt, axis=0) for x in (seen, unseen))
        return self._engine.asarray(seen), self._engine.asarray(unseen)

    def embeds(
        self,
        ip_adapter_image: ImagePrompts,
        ip_adapter_image_embeds: ImageEmbeds,
        device: object = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
    ) -> list[Array]:
        """The ``ip_adapter_image_embeds`` of a call, from pictures; given embeddings are only repeated.

        For each adapter (rows, pictures, …), under guidance the rows for the negative prompt come first. ``device`` is
        ignored.
        """
        engine, adapters = self._engine, self.loaded
        if ip_adapter_image_embeds is None:
            embeds = []
            for pictures, adapter in zip(pictures_of(ip_adapter_image, len(adapters)), adapters):
                seen, unseen = self.encode_image(pictures, output_hidden_states=adapter.kind == "plus")
                halves = [unseen, seen] if do_classifier_free_guidance else [seen]
                embeds.append(np.stack([engine.numpy(half) for half in halves]))
        else:
            embeds = [engine.numpy(engine.asarray(each)) for each in ip_adapter_image_embeds]
        return [engine.asarray(np.repeat(each, num_images_per_prompt, axis=0)) for each in embeds]

    def _replace(self, image_encoder: Any, feature_extractor: Any) -> None:
        self._encoder, self._extractor = image_encoder, feature_extractor
        self._keep("image_encoder", image_encoder)
        self._keep("feature_extractor", feature_extractor)

    def _vectors(self, pixels: NDArray[np.float32], method: str = "construct") -> NDArray[np.float32]:
        vectors = self._engine.run(self._encoder, pixels, method=method)
        return self._engine.numpy(several(vectors)[0] if method == "construct" else single(vectors))


def _one_each(
    paths: FileOrTensors | list[FileOrTensors],
    subfolders: str | list[str | None] | None,
    names: str | list[str | None] | None,
) -> list[tuple[FileOrTensors, str | None, str | None]]:
    """Where each adapter is; a value given once applies to all."""
    columns: list[list[Any]] = [x if isinstance(x, list) else [x] for x in (paths, subfolders, names)]
    count = max(map(len, columns))
    if not all(column and len(column) in (1, count) for column in columns):
        numbers = ", ".join(str(len(column)) for column in columns)
        raise ValueError(f"the IP-Adapters' paths, subfolders and weight_names must agree in number, got {numbers}")
    return [(a, b, c) for a, b, c in zip(*(column * (count // len(column)) for column in columns))]


def _read(
    source: FileOrTensors,
    subfolder: str | None,
    name: str | None,
    network: Shapes,
    attentions: Sequence[str],
    where: Mapping[str, Any],
) -> IPAdapter:
    """One adapter, checked against the shapes of the network."""
    if isinstance(source, Mapping):
        flat = {f"{part}.{name}": x for part, tensors in source.items() for name, x in tensors.items()}
        tensors = {name: StoredTensor.from_numpy(np.asarray(x)) for name, x in flat.items()}
        return read_ip_adapter(tensors, network, attentions)
    file = FileSource(source, **where)
    if name is None and subfolder is not None and not Path(source).is_file():
        raise ValueError(f"weight_name must name the IP-Adapter's file in {subfolder}")
    return open_ip_adapter(file.file(name if subfolder is None else f"{subfolder}/{name}"), network, attentions)


def _load_encoder(
    source: FileOrTensors, subfolder: str | None, folder: str, dtype: str, where: Mapping[str, Any]
) -> CLIPVisionModelWithProjection:
    """The image encoder stored next to an adapter."""
    if isinstance(source, Mapping):
        raise ValueError(
            "tensors bring no image encoder: set pipe.image_encoder first, or pass image_encoder_folder=None"
        )
    if Path(source).is_file():
        source, subfolder = Path(source).parent, None
    path = folder if "/" in folder or not subfolder else f"{subfolder}/{folder}"
    try:
        return CLIPVisionModelWithProjection.from_pretrained(source, subfolder=path, mindspore_dtype=dtype, **where)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"the IP-Adapter's image encoder is missing: {error}; image_encoder_folder= names its folder, None goes "
            "without"
        ) from None


def tokens_of(engine: Engine, projection: Model, embeds: Array, images: int) -> Array:
    """``embeds`` (rows, pictures, …) as tokens (rows · images, pictures · tokens, channels): each row repeated."""
    rows, pictures, *vectors = embeds.shape
    flat = engine.numpy(embeds).reshape(rows * pictures, *vectors)
    tokens = engine.numpy(single(engine.run(projection, flat)))
    tokens = tokens.reshape(rows, pictures * tokens.shape[1], tokens.shape[2])
    return engine.asarray(np.repeat(tokens, images, axis=0))


def pictures_of(image: ImagePrompts, adapters: int) -> list[list[Image.Image]]:
    """The pictures for each IP-Adapter.

    Raises:
        ValueError: they are no PIL images, or the number of adapters differs.
    """
    each: list[Any] = list(image) if isinstance(image, (list, tuple)) else [image]
    if len(each) != adapters:
        raise ValueError(
            f"ip_adapter_image must be a picture (or a list of them) for each of {adapters} IP-Adapters, got "
            f"{len(each)}; for several pictures per adapter put a list in the list"
        )
    pictures: list[list[Any]] = [list(one) if isinstance(one, (list, tuple)) else [one] for one in each]
    for one in [picture for row in pictures for picture in row or [None]]:
        if not isinstance(one, Image.Image):
            raise ValueError(f"ip_adapter_image must be PIL images, got {type(one).__name__}")
    return pictures


def check_encoder(image_encoder: Any, adapters: Sequence[IPAdapter]) -> None:
    """Check that there is an image encoder, the one that the adapters were trained with.

    Raises:
        ValueError: there is none, or its vectors have another number of channels.
    """
    if image_encoder is None:
        raise ValueError(
            "ip_adapter_image needs an image_encoder and the pipeline has None: pass image_encoder_folder= to "
            "load_ip_adapter, or ip_adapter_image_embeds to the call"
        )
    for adapter in adapters:
        field = "projection_dim" if adapter.kind == "plain" else "hidden_size"
        given = image_encoder.config[field]
        if given != adapter.image_channels:
            raise ValueError(
                f"the IP-Adapter was trained with another image encoder: it takes vectors of {adapter.image_channels} "
                f"channels, this one gives {given} ({field}); name the right one "
                "with image_encoder_folder= of load_ip_adapter"
            )


def check_embeds(embeds: ImageEmbeds, adapters: Sequence[IPAdapter], guided: bool) -> None:
    """Check that embeddings have the shapes that `ImageEmbeds` describes.

    Raises:
        ValueError: a shape differs, or there is not one for each adapter.
    """
    if not isinstance(embeds, (list, tuple)) or len(embeds) != len(adapters):
        count = f"{len(embeds)}" if isinstance(embeds, (list, tuple)) else type(embeds).__name__
        raise ValueError(
            f"ip_adapter_image_embeds must be a list with an array for each of {len(adapters)} IP-Adapters, got {count}"
        )
    for i, (each, adapter) in enumerate(zip(embeds, adapters)):
        shape, rows, channels = tuple(each.shape), 1 + guided, adapter.image_channels
        sizes = (rows, "pictures", channels) if adapter.kind == "plain" else (rows, "pictures", "vectors", channels)
        if len(shape) != len(sizes) or shape[0] != rows or shape[-1] != channels or 0 in shape:
            half = ", the first row for the negative prompt" * guided
            wanted = ", ".join(map(str, sizes))
            raise ValueError(f"ip_adapter_image_embeds[{i}] must have the shape ({wanted}){half}, got {shape}")
