"""Image prompts in a run: pictures that IP-Adapters let the network attend to beside the text (Ye et al. 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..acceleration.steps import last_rows
from ..adapters.ip_adapter import NetworkIPAdapters, context
from ..adapters.ip_adapter_files import IPAdapter
from ..engines import Array, Engine, Input
from ..models.base import Model
from .components import Component
from .run import Run, Step

ImagePrompts: TypeAlias = Image.Image | Sequence[Image.Image | Sequence[Image.Image]] | None
"""A picture, or a list with one for each IP-Adapter, or with a list of several for each."""
ImageEmbeds: TypeAlias = Sequence[Array] | None
"""For each IP-Adapter what its image encoder makes of pictures: (1, pictures, channels) for a plain one, (1, pictures,
vectors, channels) for plus; under guidance two rows, the first for what to stay away from."""


@dataclass(frozen=True)
class ImagePrompt:
    """`drawing.Guide`: the arguments ``ip_adapter_image`` and ``ip_adapter_image_embeds`` of a call."""

    image: ImagePrompts
    embeds: ImageEmbeds

    def check(self, run: Run, images: int, height: int, width: int) -> None:
        """See `drawing.Guide`. Pictures are of any size, and all images follow the same ones."""
        adapters = run.unet.put_on.of(NetworkIPAdapters).loaded
        if self.image is None and self.embeds is None:
            if adapters:
                raise ValueError(
                    "an IP-Adapter is loaded: pass ip_adapter_image (or ip_adapter_image_embeds), or call "
                    "unload_ip_adapter()"
                )
        elif not adapters:
            raise ValueError("ip_adapter_image needs an IP-Adapter: call load_ip_adapter first")
        elif self.embeds is None:
            pictures_of(self.image, len(adapters))
            check_encoder(run.pipe.image_encoder, adapters)
        elif self.image is None:
            check_embeds(self.embeds, adapters, run.do_classifier_free_guidance)
        else:
            raise ValueError("ip_adapter_image and ip_adapter_image_embeds were both given; pass one of them")

    def begin(self, run: Run) -> None:
        """See `drawing.Guide`. The pictures do not change in a run, so they become tokens once."""
        if self.image is None and self.embeds is None:
            return
        adapters, images = run.unet.put_on.of(NetworkIPAdapters), run.tensors["latents"].shape[0]
        guided = run.do_classifier_free_guidance
        embeds = run.pipe.prepare_ip_adapter_image_embeds(self.image, self.embeds, None, 1, guided)
        tokens = [tokens_of(run.engine, *each, images) for each in zip(adapters.projections, embeds)]
        run.controls.append(SeesPictures(run.engine, adapters, tokens))


@dataclass(frozen=True)
class SeesPictures:
    """`run.Control`: hands the pictures' tokens to the network together with the text.

    How much they count is looked up at each call, because published callbacks change it in the middle of a run.
    """

    engine: Engine
    adapters: NetworkIPAdapters
    tokens: Sequence[Array]

    def __call__(
        self, step: Step, sample: Array, timestep: NDArray[np.float32], inputs: Mapping[str, Input]
    ) -> Mapping[str, Input]:
        """The text with the tokens; at steps without guidance with those of the pictures alone."""
        text: Array = inputs["encoder_hidden_states"]
        tokens = [last_rows(each, text.shape[0]) for each in self.tokens]
        return {"encoder_hidden_states": context(text, self.engine.asarray(self.adapters.scales), tokens)}


def tokens_of(engine: Engine, projection: Model, embeds: Array, images: int) -> Array:
    """``embeds`` (rows, pictures, …) as tokens (rows · images, pictures · tokens, channels), each row so many times."""
    rows, pictures, *vectors = embeds.shape
    flat = engine.numpy(embeds).reshape(rows * pictures, *vectors)
    tokens = engine.numpy(engine.run(projection, flat))
    tokens = tokens.reshape(rows, pictures * tokens.shape[1], tokens.shape[2])
    return engine.asarray(np.repeat(tokens, images, axis=0))


def pictures_of(image: ImagePrompts, adapters: int) -> list[list[Image.Image]]:
    """The pictures for each IP-Adapter.

    Raises:
        ValueError: they are no PIL images, or not for as many adapters as there are.
    """
    each: list[Component] = list(image) if isinstance(image, (list, tuple)) else [image]
    if len(each) != adapters:
        raise ValueError(
            f"ip_adapter_image must be a picture (or a list of them) for each of {adapters} IP-Adapters, got "
            f"{len(each)}; several pictures for one adapter are a list in the list"
        )
    pictures: list[list[Component]] = [list(one) if isinstance(one, (list, tuple)) else [one] for one in each]
    for one in [picture for several in pictures for picture in several or [None]]:
        if not isinstance(one, Image.Image):
            raise ValueError(f"ip_adapter_image must be PIL images, got {type(one).__name__}")
    return pictures


def check_encoder(image_encoder: Component, adapters: Sequence[IPAdapter]) -> None:
    """There must be an image encoder, and one that the adapters were trained with.

    Raises:
        ValueError: there is none, or its vectors have another number of channels.
    """
    if image_encoder is None:
        raise ValueError(
            "ip_adapter_image needs an image_encoder, the pipeline has None: pass image_encoder_folder= to "
            "load_ip_adapter, or ip_adapter_image_embeds to the call"
        )
    for adapter in adapters:
        field = "projection_dim" if adapter.kind == "plain" else "hidden_size"
        given = image_encoder.config[field]
        if given != adapter.image_channels:
            raise ValueError(
                f"the IP-Adapter was trained with another image encoder: it takes vectors of {adapter.image_channels} "
                f"channels, this one gives {given} ({field}); image_encoder_folder= of load_ip_adapter names the right "
                "one"
            )


def check_embeds(embeds: ImageEmbeds, adapters: Sequence[IPAdapter], guided: bool) -> None:
    """What stands for pictures must have the shapes that `ImageEmbeds` says.

    Raises:
        ValueError: another shape, or not one for each adapter.
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
            half = ", the first row for what to stay away from" * guided
            wanted = ", ".join(map(str, sizes))
            raise ValueError(f"ip_adapter_image_embeds[{i}] must have the shape ({wanted}){half}, got {shape}")
