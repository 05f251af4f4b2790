"""IP-Adapters under the published names; `adapters.ip_adapter` puts them on a UNet."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..adapters.block_weights import BlockWeights
from ..adapters.ip_adapter import NetworkIPAdapters
from ..adapters.ip_adapter_files import IPAdapter, open_ip_adapter, read_ip_adapter
from ..adapters.lora_names import Shapes
from ..engines import Array, Engine
from ..loading.hub_files import FileSource
from ..loading.safetensors import StoredTensor
from ..models.clip_vision import CLIPVisionModelWithProjection
from ..utils import logging
from .components import Component
from .image_prompt import ImageEmbeds, ImagePrompts, check_encoder, pictures_of
from .safety import CLIPImageProcessor, pixel_values_of

logger = logging.get_logger(__name__)

Tensors: TypeAlias = Mapping[str, Mapping[str, NDArray[np.generic]]]
"""``{"image_proj": {…}, "ip_adapter": {…}}``."""
FileOrTensors: TypeAlias = str | os.PathLike[str] | Tensors


class IPAdapterPipeline:
    """The methods of a pipeline that follows pictures through IP-Adapters."""

    engine: Engine
    unet: Component
    image_encoder: Component
    feature_extractor: Component

    if TYPE_CHECKING:

        @property
        def components(self) -> dict[str, Component]: ...

    def load_ip_adapter(
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
        """Let the UNet attend to pictures with an adapter, or with several (lists), instead of those loaded before.

        Each has the scale 1. A pipeline without an ``image_encoder`` also gets that, and what prepares pictures for it.

        Args:
            path_or_id_or_dict: a folder, a hub id such as ``h94/IP-Adapter``, a ``.safetensors`` file, or its tensors.
            subfolder: where in it the file lies: ``models``, or ``sdxl_models``.
            weight_name: the file, such as ``ip-adapter_sd15.safetensors`` or ``ip-adapter-plus_sd15.safetensors``.
            image_encoder_folder: the image encoder's folder in ``subfolder``, or a whole path when it has a slash; None
                loads none, and calls take ``ip_adapter_image_embeds``.
            low_cpu_mem_usage: makes no difference: tensors stay in the file until they are wanted.
            revision, cache_dir, local_files_only, token: as in huggingface_hub.

        Raises:
            ValueError: no IP-Adapter, one of another kind or for another UNet, or the image encoder of another one.
            FileNotFoundError: no such file or folder.
        """
        where = {"revision": revision, "cache_dir": cache_dir, "local_files_only": local_files_only, "token": token}
        sources = _one_each(path_or_id_or_dict, subfolder, weight_name)
        adapters = self.unet.put_on.of(NetworkIPAdapters)
        read = [_read(*source, adapters.shapes(), where) for source in sources]
        encoder = self.image_encoder
        if encoder is None and image_encoder_folder is not None:
            encoder = _load_encoder(*sources[0][:2], image_encoder_folder, self.unet.dtype, where)
        if encoder is None:
            logger.warning("there is no image encoder: pass ip_adapter_image_embeds, not ip_adapter_image")
        else:
            check_encoder(encoder, read)
        adapters.load(read)
        self.image_encoder = encoder
        if self.feature_extractor is None and encoder is not None:
            size = encoder.config["image_size"]
            self.feature_extractor = CLIPImageProcessor(size=size, crop_size=size)

    def set_ip_adapter_scale(self, scale: BlockWeights | Sequence[BlockWeights]) -> None:
        """How much the pictures count from now on; nothing is compiled again.

        Args:
            scale: a number; or numbers by block, ``{"up": {"block_0": [0.0, 1.0, 0.0]}}``, where what is not named
                counts 0; or a list with one of these for each adapter. One that is no list is for all adapters.

        Raises:
            ValueError: no adapter, another number of scales, or a block that is not there.
        """
        adapters = self.unet.put_on.of(NetworkIPAdapters)
        count = len(adapters.loaded)
        if not count:
            raise ValueError("no IP-Adapter is loaded whose scale could be set; call load_ip_adapter first")
        several = isinstance(scale, (list, tuple))
        scales: list[BlockWeights] = list(scale) if several else [scale] * count  # type: ignore
        if len(scales) != count:
            raise ValueError(f"scale must be a list with one for each of {count} IP-Adapters, got {len(scales)}")
        for each in scales:
            if isinstance(each, bool) or not isinstance(each, (int, float, Mapping)):
                raise ValueError(f"an IP-Adapter's scale must be a number or a dict of blocks, got {each!r}")
        adapters.set_scales(scales)

    def unload_ip_adapter(self) -> None:
        """Take all adapters off the UNet, and the image encoder out of the pipeline.

        What prepares pictures goes too, unless the pipeline is of a kind that has a safety checker, which needs it.
        """
        self.unet.put_on.of(NetworkIPAdapters).unload()
        self.image_encoder = None
        if "safety_checker" not in self.components:
            self.feature_extractor = None

    def encode_image(
        self,
        image: Image.Image | Sequence[Image.Image],
        device: object = None,
        num_images_per_prompt: int = 1,
        output_hidden_states: bool | None = None,
    ) -> tuple[Array, Array]:
        """What the image encoder makes of pictures and of none, each row ``num_images_per_prompt`` times.

        Vectors (pictures, projection_dim) and zeros; with ``output_hidden_states`` what enters the encoder's last
        layer, (pictures, vectors, hidden_size), and the same of pixel values that are all 0. ``device`` is not needed.
        """
        pictures: list[Component] = list(image) if isinstance(image, (list, tuple)) else [image]
        pixels = pixel_values_of(self.feature_extractor, pictures)
        if output_hidden_states:
            seen, unseen = (self._vectors(x, "penultimate") for x in (pixels, np.zeros_like(pixels)))
        else:
            seen = self._vectors(pixels)
            unseen = np.zeros_like(seen)
        seen, unseen = (np.repeat(x, num_images_per_prompt, axis=0) for x in (seen, unseen))
        return self.engine.asarray(seen), self.engine.asarray(unseen)

    def prepare_ip_adapter_image_embeds(
        self,
        ip_adapter_image: ImagePrompts,
        ip_adapter_image_embeds: ImageEmbeds,
        device: object = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
    ) -> list[Array]:
        """What a call takes as ``ip_adapter_image_embeds``, of pictures; embeddings that are given are only repeated.

        For each adapter (rows, pictures, …), under guidance first the rows for what to stay away from. ``device`` is
        not needed.
        """
        engine, adapters = self.engine, self.unet.put_on.of(NetworkIPAdapters).loaded
        if ip_adapter_image_embeds is None:
            embeds = []
            for pictures, adapter in zip(pictures_of(ip_adapter_image, len(adapters)), adapters):
                seen, unseen = self.encode_image(pictures, output_hidden_states=adapter.kind == "plus")
                halves = [unseen, seen] if do_classifier_free_guidance else [seen]
                embeds.append(np.stack([engine.numpy(half) for half in halves]))
        else:
            embeds = [engine.numpy(engine.asarray(each)) for each in ip_adapter_image_embeds]
        return [engine.asarray(np.repeat(each, num_images_per_prompt, axis=0)) for each in embeds]

    def _vectors(self, pixels: NDArray[np.float32], method: str = "construct") -> NDArray[np.float32]:
        vectors = self.engine.run(self.image_encoder, pixels, method=method)
        return self.engine.numpy(vectors[0] if method == "construct" else vectors)


def _one_each(
    paths: FileOrTensors | list[FileOrTensors],
    subfolders: str | list[str | None] | None,
    names: str | list[str | None] | None,
) -> list[tuple[FileOrTensors, str | None, str | None]]:
    """Where each adapter is: what is given once holds for all."""
    columns: list[list[Component]] = [x if isinstance(x, list) else [x] for x in (paths, subfolders, names)]
    count = max(map(len, columns))
    if any(len(column) not in (1, count) for column in columns):
        numbers = ", ".join(str(len(column)) for column in columns)
        raise ValueError(f"the IP-Adapters' paths, subfolders and weight_names must be as many, got {numbers}")
    return [(a, b, c) for a, b, c in zip(*(column * (count // len(column)) for column in columns))]


def _read(
    source: FileOrTensors, subfolder: str | None, name: str | None, unet: Shapes, where: Mapping[str, Component]
) -> IPAdapter:
    """One adapter, checked against the shapes of the UNet."""
    if isinstance(source, Mapping):
        flat = {f"{part}.{name}": x for part, tensors in source.items() for name, x in tensors.items()}
        return read_ip_adapter({name: StoredTensor.from_numpy(np.asarray(x)) for name, x in flat.items()}, unet)
    file = FileSource(source, **where)
    if name is None and subfolder is not None and not Path(source).is_file():
        raise ValueError(f"weight_name must name the IP-Adapter's file in {subfolder}")
    return open_ip_adapter(file.file(name if subfolder is None else f"{subfolder}/{name}"), unet)


def _load_encoder(
    source: FileOrTensors, subfolder: str | None, folder: str, dtype: str, where: Mapping[str, Component]
) -> CLIPVisionModelWithProjection:
    """The image encoder that lies beside an adapter."""
    if isinstance(source, Mapping):
        raise ValueError(
            "tensors come without an image encoder: set pipe.image_encoder first, or pass image_encoder_folder=None"
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
