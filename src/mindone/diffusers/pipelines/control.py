"""ControlNets in a run: pictures that a run follows in addition to the text (Zhang et al. 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..engines import Array, Input, Taps, several, single
from ..families.components import SkippingDenoiser
from .image_processor import ImageInput, VaeImageProcessor
from .image_starts import FromImage, image_processor
from .inpainting import Inpainting, given
from .loop import Run, Step
from .parts import Parts
from .picture_calls import PictureArguments, Scales
from .pipeline import Pipeline
from .regions import Box
from .starts import FromNoise, Guide


class ControlPictures:
    """`starts.Guide`: a picture per ControlNet, with its weight and the fraction of the steps where it starts and ends.

    If the run generates a ``region`` of a picture, it uses the same region of the control pictures.
    """

    pixels: list[NDArray[np.float32]]
    intervals: list[tuple[float, float]]
    scales: list[float]

    def __init__(self, call: PictureArguments, pictures: ImageInput | None, region: Box | None = None):
        self.call, self.pictures, self.region = call, pictures, region

    def size(self, pipe: Pipeline) -> tuple[int, int]:
        """The requested size, or else that of the first picture."""
        first = self._per_net(pipe)[0]
        return control_image_processor(pipe).get_default_height_width(first, self.call.height, self.call.width)

    def check(self, run: Run, images: int, height: int, width: int) -> None:
        """See `starts.Guide`."""
        pipe = run.pipe
        nets = nets_of(pipe)
        _check_base(pipe, nets)
        self.scales = _one_each("controlnet_conditioning_scale", self.call.controlnet_conditioning_scale, len(nets))
        starts = _one_each("control_guidance_start", self.call.control_guidance_start, len(nets))
        ends = _one_each("control_guidance_end", self.call.control_guidance_end, len(nets))
        for start, end in zip(starts, ends):
            if not 0 <= start < end <= 1:
                raise ValueError(
                    "control_guidance_start and control_guidance_end are fractions of the steps from 0 to 1, the start "
                    f"before the end, got {start} and {end}"
                )
        self.intervals = list(zip(starts, ends))
        mode, processor = "fill" if self.region else "default", control_image_processor(pipe)
        self.pixels = [processor.preprocess(each, height, width, mode, self.region) for each in self._per_net(pipe)]
        for net, pixels in zip(nets, self.pixels):
            if pixels.shape[1] != net.config["conditioning_channels"] or images % len(pixels):
                raise ValueError(
                    f"a ControlNet takes pictures of {net.config['conditioning_channels']} channels, one for all "
                    f"images or one per prompt; got the shape {pixels.shape} for {images} images"
                )

    def begin(self, run: Run) -> None:
        """See `starts.Guide`. The pictures do not change during a run, so they are embedded once."""
        engine, images = run.engine, run.tensors["latents"].shape[0]
        nets = []
        for net, pixels, scale, interval in zip(nets_of(run.pipe), self.pixels, self.scales, self.intervals):
            condition = single(engine.run(net, engine.asarray(pixels), method="embed_condition"))
            if 1 < len(pixels) < images:
                rows = [row for row in range(len(pixels)) for _ in range(images // len(pixels))]
                condition = engine.concat([condition[row : row + 1] for row in rows])
            nets.append(ControlledBy(net, condition, np.full((1, 1, 1, 1), scale, np.float32), interval))
        run.controls.append(Controls(run, nets, self.call.guess_mode))

    def _per_net(self, pipe: Parts) -> list[ImageInput]:
        """The pictures for each ControlNet; lists by prompt with one picture per net are transposed."""
        pictures, nets = self.pictures, nets_of(pipe)
        if pictures is None:
            raise ValueError(f"{type(pipe).__name__} needs a picture to follow for each of its {len(nets)} ControlNets")
        if len(nets) == 1 and not hasattr(pipe.components["controlnet"], "nets"):
            return [pictures]
        if not isinstance(pictures, (list, tuple)):
            raise ValueError(f"{len(nets)} ControlNets need a list of pictures, got {type(pictures).__name__}")
        by_net: list[ImageInput] = list(pictures)
        if any(isinstance(each, (list, tuple)) for each in pictures):
            by_net = [list(each) for each in zip(*pictures)]
        if len(by_net) != len(nets):
            raise ValueError(f"there are {len(nets)} ControlNets, but {len(by_net)} pictures for them; give one each")
        return by_net


class ControlledNoise(FromNoise):
    """Noise of the size of the picture to follow."""

    call: PictureArguments

    def size(self, pipe: Pipeline) -> tuple[int, int]:
        """See `FromNoise`."""
        return ControlPictures(self.call, self.call.image).size(pipe)

    def guides(self, pipe: Pipeline) -> list[Guide]:
        """See `Start`."""
        return [*super().guides(pipe), ControlPictures(self.call, self.call.image)]


class ControlledImage(FromImage):
    """A picture to start from, and one to follow."""

    def guides(self, pipe: Pipeline) -> list[Guide]:
        """See `Start`."""
        return [*super().guides(pipe), ControlPictures(self.call, self.call.control_image)]


class ControlledInpainting(Inpainting):
    """A picture, which sets the size, a mask, and a picture to follow."""

    def size(self, pipe: Pipeline) -> tuple[int, int]:
        """See `Inpainting`."""
        picture, _ = given(self.image, self.mask_image)
        return image_processor(pipe).get_default_height_width(picture, self.call.height, self.call.width)

    def guides(self, pipe: Pipeline) -> list[Guide]:
        """See `Start`."""
        return [*super().guides(pipe), ControlPictures(self.call, self.call.control_image, self.region)]


@dataclass(frozen=True)
class ControlledBy:
    """A ControlNet in a run, with its embedded picture."""

    net: Any
    condition: Array
    scale: NDArray[np.float32]
    interval: tuple[float, float]

    def is_on(self, step: Step) -> bool:
        """Whether a step lies completely inside the interval."""
        start, end = self.interval
        return start <= step.index / step.count and (step.index + 1) / step.count <= end


@dataclass(frozen=True)
class Controls:
    """`loop.Control`: runs the ControlNets and passes the sum of their residuals to the network."""

    run: Run
    nets: Sequence[ControlledBy]
    guess_mode: bool

    def __call__(
        self, step: Step, sample: Array, timestep: NDArray[np.float32], inputs: Mapping[str, Input]
    ) -> Mapping[str, Input]:
        """The residuals for the skip connections that the call runs; nothing if no net is active."""
        active = [each for each in self.nets if each.is_on(step)]
        if not active:
            return {}
        engine, latents = self.run.engine, self.run.tensors["latents"]
        one_sided = self.guess_mode and self.run.guides(step)
        text = {
            name: _second_half(single(x)) if one_sided else x
            for name, x in inputs.items()
            if name in ("encoder_hidden_states", "text_embeds", "time_ids")
        }
        taps = cast(Taps, inputs.get("taps") or Taps())
        total: list[Array] = []
        for each in active:
            count, own = each.net.residuals_beside(taps)
            residuals = engine.run(
                each.net,
                sample[:, : latents.shape[1]],
                timestep,
                condition=each.condition,
                conditioning_scale=each.scale,
                guess_mode=self.guess_mode,
                count=count,
                method="residuals",
                taps=own,
                encoder_hidden_states=text["encoder_hidden_states"],
                text_embeds=text.get("text_embeds"),
                time_ids=text.get("time_ids"),
            )
            said = several(residuals)
            total = [a + b for a, b in zip(total, said)] if total else list(said)
        if one_sided:  # nothing is added to rows without the text
            total = [engine.concat([x * 0.0, x]) for x in total]
        if taps.left_out:
            return {"down_block_additional_residuals": tuple(total)}
        return {"down_block_additional_residuals": tuple(total[:-1]), "mid_block_additional_residual": total[-1]}


def nets_of(pipe: Parts) -> Sequence[Any]:
    """The pipeline's ControlNets."""
    controlnet = pipe.components["controlnet"]
    nets: Sequence[Any] = getattr(controlnet, "nets", [controlnet])
    return nets


def control_image_processor(pipe: Parts) -> VaeImageProcessor:
    """Prepares pictures for ControlNets: values in [0, 1]."""
    return VaeImageProcessor(vae_scale_factor=pipe.vae_scale_factor, do_convert_rgb=True, do_normalize=False)


def _check_base(pipe: Parts, nets: Sequence[Any]) -> None:
    """Check that the ControlNets' residuals fit the network."""
    denoiser: SkippingDenoiser = pipe.components[pipe.family.denoiser]
    for net in nets:
        ours, theirs = ((each.config["cross_attention_dim"], list(each.skip_channels)) for each in (denoiser, net))
        if ours != theirs:
            raise ValueError(
                f"the ControlNet is for another base: its text has {theirs[0]} channels and its skip connections "
                f"{theirs[1]}, the denoiser's {ours[0]} and {ours[1]}"
            )


def _one_each(name: str, values: Scales, count: int) -> list[float]:
    if isinstance(values, (int, float)):
        return [float(values)] * count
    if len(values) != count:
        raise ValueError(f"{name} must be one number or one for each of the {count} ControlNets, got {values!r}")
    return [float(value) for value in values]


def _second_half(x: Array) -> Array:
    return x[x.shape[0] // 2 :]
