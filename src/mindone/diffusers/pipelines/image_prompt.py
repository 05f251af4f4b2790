"""Image prompts in a run: pictures that the network attends to through IP-Adapters (Ye et al. 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..acceleration.steps import last_rows
from ..adapters.image_prompts import ImageEmbeds, ImagePrompts, check_embeds, check_encoder, pictures_of, tokens_of
from ..adapters.ip_adapter import NetworkIPAdapters, context
from ..engines import Array, Engine, Input, single
from .loop import Run, Step


@dataclass(frozen=True)
class ImagePrompt:
    """`starts.Guide`: a call's ``ip_adapter_image`` and ``ip_adapter_image_embeds``."""

    image: ImagePrompts
    embeds: ImageEmbeds

    def check(self, run: Run, images: int, height: int, width: int) -> None:
        """See `starts.Guide`. Pictures may have any size, and all images follow the same ones."""
        adapters = run.denoiser.put_on.of(NetworkIPAdapters).loaded
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
            check_encoder(getattr(run.pipe, "image_encoder", None), adapters)
        elif self.image is None:
            check_embeds(self.embeds, adapters, run.do_classifier_free_guidance)
        else:
            raise ValueError("ip_adapter_image and ip_adapter_image_embeds were both given; pass one of them")

    def begin(self, run: Run) -> None:
        """See `starts.Guide`. The pictures do not change during a run, so they become tokens once."""
        if self.image is None and self.embeds is None:
            return
        adapters, images = run.denoiser.put_on.of(NetworkIPAdapters), run.tensors["latents"].shape[0]
        guided = run.do_classifier_free_guidance
        embeds = run.pipe.image_prompts.embeds(self.image, self.embeds, None, 1, guided)
        tokens = [tokens_of(run.engine, *each, images) for each in zip(adapters.projections, embeds)]
        run.controls.append(SeesPictures(run.engine, adapters, tokens))


@dataclass(frozen=True)
class SeesPictures:
    """`loop.Control`: passes the pictures' tokens to the network together with the text.

    It reads their scales at each call, because published callbacks change them in the middle of a run.
    """

    engine: Engine
    adapters: NetworkIPAdapters
    tokens: Sequence[Array]

    def __call__(
        self, step: Step, sample: Array, timestep: NDArray[np.float32], inputs: Mapping[str, Input]
    ) -> Mapping[str, Input]:
        """The text with the tokens; at steps without guidance only with those of the pictures."""
        text = single(inputs["encoder_hidden_states"])
        tokens = [single(last_rows(each, text.shape[0])) for each in self.tokens]
        return {"encoder_hidden_states": context(text, self.engine.asarray(self.adapters.scales), tokens)}
