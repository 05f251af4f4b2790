"""The layout of the tables: which set-ups stand in which, after the protocol of the published guide.

A row is ``_with(base, name, option=value)``: the base's job with other options. A further table is a function here that
returns a `Table`, and a line in ``LAYOUTS``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ..jobs import Drawing, Job
from ..loading.hub import CHECKPOINTS
from . import against, shapes
from .checkpoints import Checkpoint, check_fit, read_checkpoint, read_tiny_autoencoder
from .options import Options
from .setups import REFERENCE, Plan, Setup, Table

PROMPT = "a photo of an astronaut riding a horse on mars"
BUNDLED_PROMPT = "a rocket on a blue background"
BUNDLED = {"model": "icons", "distilled": "icons-distilled", "tiny_vae": "icons-tiny-vae"}


def make_plan(options: Options, scratch: Path) -> Plan:
    """Find the checkpoints (fetching them where needed), hold them against each other, and lay out the tables.

    Args:
        options: what the user chose.
        scratch: a folder for random weights, which is filled with ``options.shape`` only.

    Raises:
        ValueError: checkpoints that do not fit together, a size that is impossible, a table that lacks its models, or
            ``against`` names a library that is not installed.
        FileNotFoundError: no such checkpoint.
    """
    if options.against:
        against.check(options.scheduler)
    found = _checkpoints(options, scratch)
    model = read_checkpoint(*found["model"])
    distilled = read_checkpoint(*found["distilled"]) if "distilled" in found else None
    tiny_vae = read_tiny_autoencoder(*found["tiny_vae"]) if "tiny_vae" in found else None
    others = [other for other in (distilled, tiny_vae) if other]
    check_fit(model, others, sized=bool(options.height and options.width))
    notes = []
    if options.shape:
        described = shapes.SHAPES[options.shape].description
        notes.append(
            f"The weights are random, in the shapes of {described}. Times and memory are "
            "those of trained weights; the images mean nothing; PSNR and SSIM stand only where set-ups share weights."
        )
    numbers = [options.table] if options.table else ["1", "2"]
    if not others and options.table not in (None, "1"):
        raise ValueError(f"table {options.table} compares distilled models; give --distilled or --tiny-vae (or both)")
    if not others and not options.table:
        numbers.remove("2")
        notes.append("No distilled model and no tiny autoencoder were given, so there is no second table.")
    tables = [LAYOUTS[number](options, model, distilled, tiny_vae) for number in numbers]
    return Plan(tuple(tables), tuple(notes))


def half_precision(options: Options, model: Checkpoint, *_: Checkpoint | None) -> Table:
    """Table 1: half precision against float32, and against the reference library."""
    base = _baseline(options, model, "baseline (float32)", "ddim", steps=50, num_images=1)
    setups = [_with(base, dtype="float32"), _with(base, f"half precision ({options.dtype})")]
    if options.against:
        setups += [
            replace(_with(base, f"diffusers, {dtype}", dtype=dtype), library=REFERENCE)
            for dtype in ("float32", "bfloat16")
        ]
    return _table("Table 1: Half precision", setups, options)


def distilled_models(
    options: Options, model: Checkpoint, distilled: Checkpoint | None, tiny_vae: Checkpoint | None
) -> Table:
    """Table 2: a distilled model and a tiny autoencoder against the original."""
    setups = [_baseline(options, model, "baseline", "pndm", steps=25, num_images=4)]
    if distilled:
        setups.append(_drawn_by(setups[-1], distilled, "distilled"))
    if tiny_vae:
        setups.append(_decoded_by(setups[-1], tiny_vae, f"{setups[-1].name} + tiny autoencoder"))
    return _table(f"Table 2: Distilled models (half precision, {options.dtype})", setups, options)


def whole_stack(
    options: Options, model: Checkpoint, distilled: Checkpoint | None, tiny_vae: Checkpoint | None
) -> Table:
    """Table 3: every speed-up on top of the one before, each with its rival: fewer steps for the same time."""
    setups = [_baseline(options, model, "baseline", "dpm++", steps=25, num_images=1)]
    stack = setups[0]
    for layer in (
        lambda base: distilled and _drawn_by(base, distilled, "+ distilled"),
        lambda base: tiny_vae and _decoded_by(base, tiny_vae, "+ tiny autoencoder"),
    ):
        if faster := layer(stack):
            setups += [faster, rival(stack, faster)]
            stack = faster
    return _table(f"Table 3: The whole stack (half precision, {options.dtype})", setups, options)


LAYOUTS: Mapping[str, Callable[[Options, Checkpoint, Checkpoint | None, Checkpoint | None], Table]] = {
    "1": half_precision,
    "2": distilled_models,
    "3": whole_stack,
}
"""The tables by their numbers, as ``--table`` gives them."""


def rival(base: Setup, faster: Setup) -> Setup:
    """What a lossy speed-up must beat: the set-up without it, with as many fewer steps as make it as fast."""
    return replace(base, name=f"instead: {base.name}, fewer steps", rival_of=faster.name)


def _baseline(options: Options, model: Checkpoint, name: str, scheduler: str, *, steps: int, num_images: int) -> Setup:
    """The set-up that the others are made from: the user's options, else those of the table's protocol."""
    chosen = {name: getattr(options, name) for name in (*Drawing.model_fields, "dtype", "engine", "seed")}
    height, width = model.image_size(options.height, options.width)
    fields = {
        **chosen,
        "model": model.folder,
        "prompt": options.prompt or (BUNDLED_PROMPT if model.name == BUNDLED["model"] else PROMPT),
        "num_images": options.num_images or num_images,
        "height": height,
        "width": width,
        "steps": options.steps or steps,
        "guidance_scale": model.guidance_scale if options.guidance_scale is None else options.guidance_scale,
        "scheduler": options.scheduler or scheduler,
    }
    return Setup(name, Job.of(fields), model)


def _with(base: Setup, name: str | None = None, **fields: object) -> Setup:
    """A set-up with other options than the base's."""
    return replace(base, name=name or base.name, job=base.job.changed(**fields))


def _drawn_by(base: Setup, model: Checkpoint, name: str) -> Setup:
    return replace(_with(base, name, model=str(model.folder)), model=model)


def _decoded_by(base: Setup, tiny_vae: Checkpoint, name: str) -> Setup:
    return replace(_with(base, name, tiny_vae=str(tiny_vae.folder)), tiny_vae=tiny_vae)


def _table(title: str, setups: list[Setup], options: Options) -> Table:
    return Table(title, tuple(setups), options.repeats, random_weights=options.shape is not None)


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
