"""The layout of the tables: which set-ups each has, after the protocol of the published guide.

A row is ``with_options(base, name, option=value)``. A further table is a function here, and a line in ``LAYOUTS``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..acceleration.speedup import RunFacts
from ..acceleration.stack import parse_caches
from ..jobs import Drawing, Job
from ..jobs.applied import another_machine
from ..jobs.profile import Profile, load_profile
from ..loading.hub import CHECKPOINTS
from ..models.base import Model
from ..pipelines.components import component_class
from ..schedulers import SHORT_NAMES, scheduler_class
from . import against, against_genai, shapes
from .checkpoints import Checkpoint, check_fit, read_checkpoint, read_tiny_autoencoder
from .options import Options, Peer
from .setups import GENAI, REFERENCE, Plan, Setup, Table

STACK_STEPS = 25
PROMPT = "a photo of an astronaut riding a horse on mars"
BUNDLED_PROMPT = "a rocket on a blue background"
BUNDLED = {"model": "icons", "distilled": "icons-distilled", "tiny_vae": "icons-tiny-vae"}
LAYERS: Mapping[str, Mapping[str, object]] = {
    "+ DeepCache 3": {"cache": ("deepcache:3",)},
    "+ TaylorSeer 2": {"cache": ("taylorseer:2",)},
    "+ half the steps guided": {"guidance_interval": (0.0, 0.5)},
    "+ token downsampling 2": {"token_downsampling": 2},
    "+ int8": {"int8": True},
}
"""The speed-ups of table 3 that need no other checkpoint, each on top of the previous ones; caches add up."""
CHECKS: Mapping[Peer, Callable[[str | None], None]] = {REFERENCE: against.check, GENAI: against_genai.check}
"""Functions that refuse a scheduler that a peer's rows cannot use."""
_CACHES = {name for name, fields in LAYERS.items() if "cache" in fields}
BOTH_CACHES = "baseline + both caches"
"""Table 3 also measures this on the baseline alone: the pictures stay nearly the same."""


@dataclass(frozen=True)
class Models:
    """The checkpoints of the rows: all start from the same noise."""

    original: Checkpoint
    distilled: Checkpoint | None
    tiny_vae: Checkpoint | None


def make_plan(options: Options, scratch: Path) -> Plan:
    """Find the checkpoints (downloading them if needed), check that they match, and lay out the tables.

    ``scratch`` is a folder for random weights, filled only with ``options.shape``.

    Raises:
        ValueError: the checkpoints do not match, the size is impossible, a table lacks its models, ``against`` names a
            library that is not installed, or ``only`` matches no row.
        FileNotFoundError: no such checkpoint.
    """
    for peer in options.against:
        CHECKS[peer](options.scheduler)
    profile = load_profile(options.profile, options.model) if options.profile else None
    if profile:
        size = {"height": options.height or profile.height, "width": options.width or profile.width}
        options = options.model_copy(update={"model": options.model or profile.checkpoint, **size})
    models = _find(options, scratch)
    others = [other for other in (models.distilled, models.tiny_vae) if other]
    check_fit(models.original, others, sized=bool(options.height and options.width))
    notes, numbers = [], [options.table] if options.table else [] if profile else ["1", "2"]
    if options.shape:
        notes.append(
            f"The weights are random, in the shapes of {shapes.SHAPES[options.shape].description}. Times and memory "
            "are those of trained weights; the images mean nothing; PSNR and SSIM appear only where set-ups share "
            "weights."
        )
    if not others and options.table == "2":
        raise ValueError("table 2 compares distilled models; give --distilled or --tiny-vae (or both)")
    if "3" in numbers:
        notes += [f"Table 3 goes without {name!r}: {why}." for name, why in obstacles(options, models).items()]
        if options.shape:
            notes.append("Table 3 goes without rivals: images of random weights say nothing about loss.")
    if not others and "2" in numbers and not options.table:
        numbers.remove("2")
        notes.append("No distilled model or tiny autoencoder was given, so there is no second table.")
    tables = [LAYOUTS[number](options, models) for number in numbers]
    if profile:
        notes += [text for text in (another_machine(profile),) if text]
        tables.insert(0, with_profile(options, models, profile))
    return Plan(tuple(chosen_rows(tables, options.only)), tuple(notes))


def chosen_rows(tables: list[Table], only: tuple[str, ...]) -> list[Table]:
    """The tables with their baselines and the rows whose names contain a word of ``only``; () for all.

    A rival stays if the row that it rivals and its base both stay.

    Raises:
        ValueError: no name contains a word.
    """
    if not only:
        return tables
    names = [setup.name for table in tables for setup in table.setups if setup.rival_of is None]
    if unknown := next((word for word in only if not any(word in name for name in names)), None):
        raise ValueError(f"only {unknown!r} matches no row; the rows are {', '.join(map(repr, names))}")
    found = []
    for table in tables:
        kept = [
            setup
            for setup in table.setups
            if setup.rival_of is None and (setup is table.setups[0] or any(word in setup.name for word in only))
        ]
        jobs, rivalled = [setup.job for setup in kept], [setup.name for setup in kept]
        rows = [s for s in table.setups if s in kept or (s.rival_of in rivalled and s.job in jobs)]
        found.append(replace(table, setups=tuple(rows)))
    return found


def half_precision(options: Options, models: Models) -> Table:
    """Table 1: half precision against float32, and against the reference library."""
    base = _baseline(options, models, "ddim", steps=50, num_images=1)
    setups = [with_options(base, "baseline (float32)", dtype="float32")]
    setups.append(with_options(base, f"half precision ({options.dtype})"))
    return _table("Table 1: Half precision", setups + _references(base, options), options)


def distilled_models(options: Options, models: Models) -> Table:
    """Table 2: a distilled model and a tiny autoencoder against the original."""
    setups = [_baseline(options, models, "pndm", steps=25, num_images=4)]
    if models.distilled:
        setups.append(with_options(setups[-1], "distilled", model=models.distilled))
    if models.tiny_vae:
        name = f"{setups[-1].name} + tiny autoencoder"
        setups.append(with_options(setups[-1], name, tiny_vae=models.tiny_vae))
    return _table(f"Table 2: Distilled models (half precision, {options.dtype})", setups, options)


def whole_stack(options: Options, models: Models) -> Table:
    """Table 3: every speed-up on top of the previous one, each with its rival: fewer steps in the same time."""
    stack = _baseline(options, models, "dpm++", steps=STACK_STEPS, num_images=1)
    layers: dict[str, Mapping[str, object]] = {
        "+ distilled": {"model": models.distilled},
        "+ tiny autoencoder": {"tiny_vae": models.tiny_vae},
        **{name: fields for name, fields in LAYERS.items() if name not in obstacles(options, models)},
    }
    setups, baseline = [stack], stack
    for name, fields in layers.items():
        if None not in fields.values():
            faster = with_options(stack, name, **_on_top(stack, fields))
            setups += [faster, rival(stack, faster)]
            stack = faster
    if not _CACHES & obstacles(options, models).keys():
        both = [text for name in LAYERS if name in _CACHES for text in _texts(LAYERS[name])]
        faster = with_options(baseline, BOTH_CACHES, cache=tuple(both))
        setups += [faster, rival(baseline, faster)]
    if options.shape:
        setups = [setup for setup in setups if setup.rival_of is None]
    setups += _references(baseline, options)
    return _table(f"Table 3: The whole stack (half precision, {options.dtype})", setups, options)


def _on_top(stack: Setup, fields: Mapping[str, object]) -> Mapping[str, object]:
    """A set-up's fields with a layer's on top; the set-up's caches stay."""
    return {**fields, "cache": (*stack.job.cache, *_texts(fields))} if "cache" in fields else fields


def _texts(fields: Mapping[str, object]) -> tuple[str, ...]:
    """The caches of a layer."""
    texts = fields.get("cache", ())
    assert isinstance(texts, tuple)
    return texts


def obstacles(options: Options, models: Models) -> dict[str, str]:
    """The ``LAYERS`` that table 3 cannot have with these options and networks, and why."""
    found, model = {}, models.original
    kind: type[Model] = component_class(model.denoiser)
    for name, fields in LAYERS.items():
        if given := next((field for field in fields if getattr(options, field, None)), None):
            found[name] = f"{given} was given and applies to all rows"
        elif why := _cannot_cache(_texts(fields), options, model, kind):
            found[name] = why
        elif "token_downsampling" in fields and not kind.has_self_attentions():
            found[name] = f"{model.denoiser} has no self-attention over pixels to downsample"
        elif "guidance_interval" in fields and not model.is_guided:
            found[name] = f"{model.name} has its guidance built in"
        elif "guidance_interval" in fields and options.guidance_scale is not None and options.guidance_scale <= 1:
            found[name] = f"guidance_scale {options.guidance_scale:g} means no guidance"
        elif "int8" in fields and options.engine == "mindspore":
            found[name] = "int8 needs the OpenVINO engine"
    return found


def _cannot_cache(texts: tuple[str, ...], options: Options, model: Checkpoint, kind: type[Model]) -> str | None:
    scheduler = options.scheduler or model.defaults.scheduler
    draws_anew = scheduler and scheduler_class(SHORT_NAMES[scheduler].class_name).distilled
    branches = RunFacts.branches if kind.can_be_cut() else 0
    blocks = RunFacts.blocks if kind.row_of_blocks else 0
    steps = options.steps or model.defaults.steps or STACK_STEPS
    try:
        for cache in parse_caches(texts):
            new_noise = str(scheduler) if draws_anew else ""
            cache.check(RunFacts(steps, branches, blocks, model.is_guided, new_noise=new_noise))
    except ValueError as error:
        return str(error)
    return None


def with_profile(options: Options, models: Models, profile: Profile) -> Table:
    """A profile's settings against 25 DPM++ steps in half precision."""
    base, fields = _baseline(options, models, "dpm++", steps=STACK_STEPS, num_images=1), profile.settings.job_fields()
    if profile.settings.distilled:
        fields["model"] = read_checkpoint(profile.settings.distilled, profile.settings.distilled)
    if profile.settings.tiny_vae:
        fields["tiny_vae"] = read_tiny_autoencoder(profile.settings.tiny_vae, profile.settings.tiny_vae)
    row = with_options(base, f"profile {Path(str(options.profile)).stem}", **fields)
    return _table("Profile: found by tune", [base, row], options)


LAYOUTS: Mapping[str, Callable[[Options, Models], Table]] = {
    "1": half_precision,
    "2": distilled_models,
    "3": whole_stack,
}
"""The tables by their numbers, as in ``--table``."""


def with_options(base: Setup, name: str, **fields: object) -> Setup:
    """A set-up with options other than the base's: any fields of a job, with models as checkpoints."""
    folders = {field: value.folder for field, value in fields.items() if isinstance(value, Checkpoint)}
    model, tiny_vae = fields.get("model", base.model), fields.get("tiny_vae", base.tiny_vae)
    assert isinstance(model, Checkpoint) and isinstance(tiny_vae, Checkpoint | None)
    return replace(base, name=name, job=base.job.changed(**{**fields, **folders}), model=model, tiny_vae=tiny_vae)


def rival(base: Setup, faster: Setup) -> Setup:
    """The rival that a lossy speed-up must beat: the set-up without it, at the steps that make it as fast."""
    return replace(base, name=f"instead: {base.name}, fewer steps", rival_of=faster.name)


def _references(base: Setup, options: Options) -> list[Setup]:
    """The rows of the requested other libraries; GenAI chooses its own precision."""
    dtypes = ("float32", "bfloat16") if REFERENCE in options.against else ()
    rows = [replace(with_options(base, f"diffusers, {dtype}", dtype=dtype), library=REFERENCE) for dtype in dtypes]
    return [*rows, *([replace(base, name="OpenVINO GenAI", library=GENAI)] if GENAI in options.against else [])]


def _baseline(options: Options, models: Models, scheduler: str, *, steps: int, num_images: int) -> Setup:
    """The set-up on which the others build: the user's options, else the table's protocol."""
    model = models.original
    height, width = model.image_size(options.height, options.width)
    fields = {
        **{name: getattr(options, name) for name in (*Drawing.model_fields, "dtype", "engine", "seed")},
        "model": model.folder,
        "prompt": options.prompt or (BUNDLED_PROMPT if model.name == BUNDLED["model"] else PROMPT),
        "num_images": options.num_images or num_images,
        "height": height,
        "width": width,
        "steps": options.steps or model.defaults.steps or steps,
        "guidance_scale": model.guidance_scale if options.guidance_scale is None else options.guidance_scale,
        "scheduler": options.scheduler or model.defaults.scheduler or scheduler,
    }
    return Setup("baseline", Job.of(fields), model)


def _table(title: str, setups: list[Setup], options: Options) -> Table:
    return Table(title, tuple(setups), options.repeats, random_weights=options.shape is not None)


def _find(options: Options, scratch: Path) -> Models:
    """The checkpoints, each with its name for the report: from its folder, or its hub id."""
    found: dict[str, tuple[str, str | Path]] = {}
    if options.shape:
        found.update(shapes.write(options.shape, scratch))
    elif not options.model:  # by folder: a user's folder of the same name is something else
        found = {role: (name, CHECKPOINTS / name) for role, name in BUNDLED.items()}
    found |= {role: (name, name) for role in BUNDLED if (name := getattr(options, role))}
    return Models(
        read_checkpoint(*found["model"]),
        read_checkpoint(*found["distilled"]) if "distilled" in found else None,
        read_tiny_autoencoder(*found["tiny_vae"]) if "tiny_vae" in found else None,
    )
