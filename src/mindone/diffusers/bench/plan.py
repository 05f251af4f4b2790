"""What is measured: two tables of set-ups, after the protocol of the published guide."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..loading.hub import CHECKPOINTS
from ..schedulers.short_names import SHORT_NAMES
from . import checks, shapes
from .checks import Checkpoint, TinyAutoencoder
from .options import Options

OURS, REFERENCE = "mindone.diffusers", "diffusers"
PROMPT = "a photo of an astronaut riding a horse on mars"
BUNDLED_PROMPT = "a rocket on a blue background"
BUNDLED = {"model": "icons", "distilled": "icons-distilled", "tiny_vae": "icons-tiny-vae"}


@dataclass(frozen=True)
class Sampler:
    """A scheduler's class, and options besides those of the checkpoint's own scheduler."""

    name: str
    class_name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def draws_noise(self) -> bool:
        """Whether steps add noise, which each library draws in its own way."""
        return self.class_name in NOISY or "sde" in str(self.settings.get("algorithm_type", ""))


# Samples are latents, not pixels in [-1, 1]; DDIM's default of clipping them is for pixels.
DDIM = Sampler("ddim", "DDIMScheduler", {"clip_sample": False})
PNDM = Sampler("pndm", "PNDMScheduler")
NOISY = ("DDPMScheduler", "EulerAncestralDiscreteScheduler", "LCMScheduler", "TCDScheduler")


@dataclass(frozen=True)
class Setup:
    """A row: what draws, from which weights, in which precision."""

    name: str
    library: str
    dtype: str
    model: Checkpoint
    tiny_vae: TinyAutoencoder | None = None
    engine: str | None = None


@dataclass(frozen=True)
class Table:
    """Set-ups that are run in turn, the baseline first."""

    title: str
    setups: tuple[Setup, ...]
    sampler: Sampler
    prompt: str
    steps: int
    num_images: int
    repeats: int
    seed: int
    height: int
    width: int
    guidance_scale: float | None = None
    """None is the pipeline's default."""
    random_weights: bool = False

    @property
    def chosen_guidance(self) -> dict[str, float]:
        """What a pipeline is called with on top of the rest."""
        return {} if self.guidance_scale is None else {"guidance_scale": self.guidance_scale}

    @property
    def seeds(self) -> list[int]:
        """One an image, the same for every set-up and every run."""
        return [self.seed + i for i in range(self.num_images)]

    def compares_images(self, setup: Setup) -> bool:
        """Whether this set-up's images say anything beside the baseline's: those of other random weights do not."""
        return not self.random_weights or (setup.model == self.setups[0].model and setup.tiny_vae is None)


@dataclass(frozen=True)
class Plan:
    """All tables, and what a reader of the report should know about the choice of them."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


def make_plan(options: Options, scratch: Path) -> Plan:
    """Find the checkpoints (fetching them where needed), hold them against each other, and lay out the tables.

    Args:
        options: what the user chose.
        scratch: a folder for random weights, which is filled with ``options.shape`` only.

    Raises:
        ValueError: options that exclude each other, checkpoints that do not fit together, a size that is impossible, or
            ``against`` names a library that is not installed.
        FileNotFoundError: no such checkpoint.
    """
    chosen = Sampler(options.scheduler, *SHORT_NAMES[options.scheduler]) if options.scheduler else None
    if options.against:
        checks.check_reference(chosen)
    found = _checkpoints(options, scratch)
    model = checks.read_checkpoint(*found["model"])
    distilled = checks.read_checkpoint(*found["distilled"]) if "distilled" in found else None
    tiny_vae = checks.read_tiny_autoencoder(*found["tiny_vae"]) if "tiny_vae" in found else None
    checks.check_fit(model, distilled, tiny_vae, sized=bool(options.height and options.width))
    height, width = model.image_size(options.height, options.width)

    half = _words(options.dtype)
    pruned = Setup("distilled", OURS, options.dtype, distilled, engine=options.engine) if distilled else None
    first = [
        Setup("baseline (float32)", OURS, "float32", model, engine=options.engine),
        Setup(f"half precision ({options.dtype})", OURS, options.dtype, model, engine=options.engine),
    ]
    if options.against:
        first += [Setup(f"diffusers, {dtype}", REFERENCE, dtype, model) for dtype in ("float32", "bfloat16")]
    second = [Setup("baseline", OURS, options.dtype, model, engine=options.engine)]
    if pruned:
        second.append(pruned)
    if tiny_vae:
        name = f"{'distilled' if distilled else 'baseline'} + tiny autoencoder"
        second.append(Setup(name, OURS, options.dtype, distilled or model, tiny_vae, options.engine))

    common: dict[str, Any] = {
        "prompt": options.prompt or (BUNDLED_PROMPT if model.name == BUNDLED["model"] else PROMPT),
        "repeats": options.repeats,
        "seed": options.seed,
        "height": height,
        "width": width,
        "guidance_scale": model.guidance_scale if options.guidance_scale is None else options.guidance_scale,
        "random_weights": options.shape is not None,
    }
    layouts = {
        1: ("Half precision", first, chosen or DDIM, options.steps or 50, options.num_images or 1),
        2: (
            f"Distilled models ({half})",
            second,
            chosen or PNDM,
            options.steps or 25,
            options.num_images or 4,
        ),
    }
    notes, wanted = _notes(options), [int(options.table)] if options.table else [1, 2]
    if len(second) == 1 and 2 in wanted:
        if wanted == [2]:
            raise ValueError("table 2 compares distilled models; give --distilled or --tiny-vae (or both)")
        wanted.remove(2)
        notes.append("No distilled model and no tiny autoencoder were given, so there is no second table.")
    tables = []
    for number in sorted(set(wanted)):
        subject, setups, sampler, steps, images = layouts[number]
        title = f"Table {number}: {subject}"
        tables.append(Table(title, tuple(setups), sampler, steps=steps, num_images=images, **common))
    return Plan(tuple(tables), tuple(notes))


def _checkpoints(options: Options, scratch: Path) -> Mapping[str, tuple[str, str | Path]]:
    """Of each checkpoint its name for the report, and where it is or what it is called on the hub."""
    if options.shape:
        return shapes.write(options.shape, scratch)
    given: dict[str, tuple[str, str | Path]] = {
        role: (name, name) for role in BUNDLED if (name := getattr(options, role))
    }
    # By folder: a user's folder that happens to be called the same is not meant.
    bundled = {role: (name, CHECKPOINTS / name) for role, name in BUNDLED.items()}
    return given if options.model else {**bundled, **given}


def _notes(options: Options) -> list[str]:
    if not options.shape:
        return []
    return [
        f"The weights are random, in the shapes of {shapes.SHAPES[options.shape].description}. Times and memory are "
        "those of trained weights; the images mean nothing; PSNR and SSIM stand only where set-ups share weights."
    ]


def _words(dtype: str) -> str:
    return f"half precision, {dtype}" if dtype != "float32" else dtype
