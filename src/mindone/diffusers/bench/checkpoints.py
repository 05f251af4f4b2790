"""What a checkpoint's small files say of its latents, and which checkpoints can stand in one table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..families.family import Defaults
from ..families.registry import family_of
from ..loading.config import read_config, read_generation_config
from ..loading.hub import MODEL_INDEX, Source, component_folder, component_names, resolve
from ..utils.decoder_memory import stage_channels

LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that no row loads: blackened images could not be compared."""


@dataclass(frozen=True)
class Checkpoint:
    """The folder of a pipeline or of a tiny autoencoder, and what its configs say."""

    name: str
    """What the report calls it."""
    folder: Path
    channels: int
    vae_scale_factor: int
    """Pixels that a latent stands for, along each side."""
    sample_size: tuple[int, int] | None = None
    """A pipeline's latents: height and width."""
    guidance_scale: float | None = None
    """What a pipeline's checkpoint suggests."""
    without: tuple[str, ...] = ()
    """Components to load a pipeline without."""
    defaults: Defaults = field(default_factory=Defaults)
    """What a pipeline's family takes where nobody says anything."""
    denoiser: str = ""
    """The class of a pipeline's denoiser, as ``model_index.json`` names it."""
    is_guided: bool = True
    """Whether guidance can be computed: a pipeline's network does not have it built in."""
    patch: int = 1
    """How many latents the denoiser reads as one token, along each side."""

    def image_size(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """Height and width of the images in pixels: as asked for, or what the network was trained on.

        Raises:
            ValueError: a side is no positive multiple of what a token stands for.
        """
        pixels, (rows, columns) = self.vae_scale_factor, self.sample_size or (64, 64)
        size, factor = (height or rows * pixels, width or columns * pixels), pixels * self.patch
        for name, value in zip(("height", "width"), size):
            if value < 1 or value % factor:
                below = max(value // factor, 1) * factor
                raise ValueError(
                    f"{name} must be a multiple of {factor}, got {value}; the nearest are {below} and {below + factor}"
                )
        return size


def read_checkpoint(name: str, at: str | Path) -> Checkpoint:
    """Find a pipeline's checkpoint in a folder or on the hub, fetching it if needed, and read what it is like.

    Raises:
        FileNotFoundError: there is none of that name, or a part is missing.
        ValueError: a config is broken, or the denoiser does not go from text to image.
    """
    source = Source(at)
    index = source.index()
    components, family = component_names(index), family_of(str(index.get("_class_name")))
    folder = source.pipeline({name: cls for name, cls in components.items() if name not in LEFT_OUT})
    if family is None:
        raise ValueError(
            f"{name} is no checkpoint of a known family: its {MODEL_INDEX} names {index.get('_class_name')!r}"
        )
    parts = (family.denoiser, "vae")
    if not components.keys() >= set(parts):
        raise ValueError(f"{name} is no {family.title} checkpoint: its {MODEL_INDEX} names no {' and '.join(parts)}")
    denoiser, vae = (read_config(component_folder(folder, component)) for component in parts)
    default = family.latents.channels
    channels = default if "in_channels" not in denoiser else family.latents.channels_read(denoiser)
    latent_channels = int(vae.get("latent_channels", default))
    if channels != latent_channels:
        raise ValueError(
            f"{name}: its denoiser takes {channels} channels and its autoencoder has {latent_channels}; text-to-image "
            "needs equal numbers (9 is an inpainting model)"
        )
    size = family.latents.trained(denoiser)
    guidance_scale = read_generation_config(folder).get("guidance_scale")
    without = ("safety_checker",) if "safety_checker" in components else ()
    scale, is_guided = _scale(vae, family.latents.pixels), not family.has_built_in_guidance(denoiser)
    own = family.defaults, components[family.denoiser], is_guided, family.latents.patch
    return Checkpoint(name, folder, channels, scale, size, guidance_scale, without, *own)


def read_tiny_autoencoder(name: str, at: str | Path) -> Checkpoint:
    """Find a tiny autoencoder, fetching it if needed, and read what its latents are like."""
    folder = resolve(at)
    config = read_config(folder)
    kind = config.get("_class_name")
    if kind != "AutoencoderTiny":
        raise ValueError(f"--tiny-vae must be an AutoencoderTiny such as madebyollin/taesd; {name} is {kind or 'none'}")
    return Checkpoint(name, folder, int(config.get("latent_channels", 4)), _scale(config, 8))


def check_fit(model: Checkpoint, others: list[Checkpoint], *, sized: bool) -> None:
    """All rows of a table must draw from the same noise; ``sized``: the user has chosen the size of the images."""
    for other in others:
        if other.channels != model.channels:
            raise ValueError(
                f"{other.name} has {other.channels} latent channels and {model.name} has {model.channels}: they cannot "
                "draw from the same noise; give checkpoints of one family"
            )
        if other.vae_scale_factor != model.vae_scale_factor:
            raise ValueError(
                f"a latent of {other.name} stands for {other.vae_scale_factor} pixels a side, one of {model.name} for "
                f"{model.vae_scale_factor}: their images would differ in size; give checkpoints of one family"
            )
        if other.sample_size not in (None, model.sample_size) and not sized:
            ours, theirs = ("×".join(map(str, each.image_size()[::-1])) for each in (model, other))
            raise ValueError(
                f"{model.name} draws {ours} pixels and {other.name} {theirs}; choose one size with --height and --width"
            )


def _scale(vae: Mapping[str, object], usual: int) -> int:
    """Pixels that a latent of an autoencoder stands for, along each side; ``usual`` where its config does not say."""
    blocks = stage_channels(vae)
    return int(str(vae.get("upsampling_scaling_factor", 2))) ** (len(blocks) - 1) if blocks else usual
