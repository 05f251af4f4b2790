"""What a checkpoint's configs say about its latents, and which checkpoints can share a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..families.family import Defaults
from ..families.registry import family_of
from ..loading.config import read_config, read_generation_config
from ..loading.hub import MODEL_INDEX, Source, component_folder, component_names
from ..utils.decoder_memory import stage_channels
from ..utils.sizes import check_sides

LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that no row loads: blackened images cannot be compared."""


@dataclass(frozen=True)
class Checkpoint:
    """The folder of a pipeline or a tiny autoencoder, and what its configs say."""

    name: str
    """Its name in the report."""
    folder: Path
    channels: int
    vae_scale_factor: int
    """Pixels per latent, along each side."""
    sample_size: tuple[int, int] | None = None
    """A pipeline's latents: height and width."""
    guidance_scale: float | None = None
    """The defaults of a pipeline's checkpoint."""
    without: tuple[str, ...] = ()
    """Components to load a pipeline without."""
    defaults: Defaults = field(default_factory=Defaults)
    """The defaults of a pipeline's family."""
    denoiser: str = ""
    """The class of a pipeline's denoiser, as ``model_index.json`` names it."""
    is_guided: bool = True
    """Whether guidance can be computed: false if the network has it built in."""
    patch: int = 1
    """Latents per token of the denoiser, along each side."""

    def image_size(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """Height and width of the images in pixels: the user's, or the size of training.

        Raises:
            ValueError: a side is no positive multiple of a token's size.
        """
        pixels, (rows, columns) = self.vae_scale_factor, self.sample_size or (64, 64)
        size, factor = (height or rows * pixels, width or columns * pixels), pixels * self.patch
        check_sides(dict(zip(("height", "width"), size)), factor)
        return size


def read_checkpoint(name: str, at: str | Path) -> Checkpoint:
    """Find a pipeline's checkpoint in a folder or on the hub, download it if needed, and read its configs.

    Raises:
        FileNotFoundError: there is no such checkpoint, or a part is missing.
        ValueError: a config is broken, or the denoiser is not text-to-image.
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
    nulls = [name for name, entry in index.items() if entry == [None, None]]  # the reference wants these by name
    without = (*nulls, "safety_checker") if "safety_checker" in components else tuple(nulls)
    scale, is_guided = _scale(vae, family.latents.pixels), not family.has_built_in_guidance(denoiser)
    own = family.defaults, components[family.denoiser], is_guided, family.latents.patch
    return Checkpoint(name, folder, channels, scale, size, guidance_scale, without, *own)


def read_tiny_autoencoder(name: str, at: str | Path) -> Checkpoint:
    """Find a tiny autoencoder, download it if needed, and read its configs."""
    folder = Source(at).component("model")
    config = read_config(folder)
    kind = config.get("_class_name")
    if kind != "AutoencoderTiny":
        raise ValueError(f"--tiny-vae must be an AutoencoderTiny such as madebyollin/taesd; {name} is {kind or 'none'}")
    return Checkpoint(name, folder, int(config.get("latent_channels", 4)), _scale(config, 8))


def check_fit(model: Checkpoint, others: list[Checkpoint], *, sized: bool) -> None:
    """Check that all rows of a table can start from the same noise; ``sized``: the user chose the image size."""
    for other in others:
        if other.channels != model.channels:
            raise ValueError(
                f"{other.name} has {other.channels} latent channels and {model.name} has {model.channels}: they cannot "
                "start from the same noise; give checkpoints of one family"
            )
        if other.vae_scale_factor != model.vae_scale_factor:
            raise ValueError(
                f"a latent of {other.name} covers {other.vae_scale_factor} pixels a side, one of {model.name} "
                f"{model.vae_scale_factor}: their images would differ in size; give checkpoints of one family"
            )
        if other.sample_size not in (None, model.sample_size) and not sized:
            ours, theirs = ("×".join(map(str, each.image_size()[::-1])) for each in (model, other))
            raise ValueError(
                f"{model.name} makes {ours} pixels and {other.name} {theirs}; choose one size with --height and --width"
            )


def _scale(vae: Mapping[str, object], usual: int) -> int:
    """Pixels per latent of an autoencoder, along each side; ``usual`` if its config does not say."""
    blocks = stage_channels(vae)
    return int(str(vae.get("upsampling_scaling_factor", 2))) ** (len(blocks) - 1) if blocks else usual
