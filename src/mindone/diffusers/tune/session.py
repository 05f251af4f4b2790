"""A search, from request to report."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from .. import jobs
from ..bench import shapes
from ..interrupts import raised
from ..jobs.profile import Profile, save_under_name, saved_path
from ..models.base import Model
from ..utils.files import check_folder, make_folder, read_lines, scratch_folder
from ..utils.logging import is_progress_bar_enabled
from .front import Front
from .options import Options
from .pipeline import tune
from .report import print_front, write_report

if TYPE_CHECKING:
    from ..pipelines.published import PublishedPipeline

_SMALL_BUDGET, _LARGE_BUDGET = 2.5, 30.0
"""Minutes of a search."""
_LARGE_BYTES = 10**9


def run(options: Options, command: str, folder: Path) -> Front:
    """Search, print the front, and write ``tune.html``, ``tune.json`` and the profiles into ``folder``.

    Args:
        options: the user's choices.
        command: what the user typed, for the report.
        folder: the folder for the report.

    Raises:
        ValueError, OSError: the request cannot be met, or the report cannot be written.
    """
    check_folder(folder)
    prompts = read_prompts(options.prompts)
    if options.name:
        saved_path(options.name, options.model or "icons")  # refuse an impossible name now
    with ExitStack() as stack:
        pipe, offered = _load(options, folder, stack)
        nbytes = sum(parameter.nbytes for network in _networks(pipe) for parameter in network.get_parameters())
        usual = _LARGE_BUDGET if nbytes > _LARGE_BYTES else _SMALL_BUDGET
        with raised():
            front = tune(
                *(pipe, prompts, 60 * (options.budget or usual)),
                height=options.height,
                width=options.width,
                tiny_vae=offered.get("tiny_vae"),
                distilled=offered.get("distilled"),
                seed=options.seed,
                quality=options.shape is None,
                targets=[options.targets] if options.has_target else [],
                progress=is_progress_bar_enabled(),
            )
    front.origin = front.origin.model_copy(update={"variant": options.variant})
    if options.shape:
        front.notes.append(
            f"The weights are random, in the shapes of {shapes.SHAPES[options.shape].description}: quality means "
            "nothing, so only cost is reported. Between settings of equal cost the choice follows what each method is "
            "known to lose on the bundled model."
        )
    chosen, problem = _chosen(front, options)
    files = write_report(front, chosen, folder, command)
    if chosen and options.name:
        files.append(save_under_name(next(iter(chosen.values())), options.name, options.model or "icons"))
    print_front(front, chosen if options.has_target else {}, files)
    if problem:
        raise ValueError(problem)
    return front


def _chosen(front: Front, options: Options) -> tuple[dict[str, Profile], str | None]:
    """The profiles to write, by file name, and the reason if there is none."""
    if not options.has_target:
        return {f"{factor:g}x.json": front.profile(row) for factor, row in front.marks().items()}, None
    try:
        profile = front.at(**options.targets)
        if profile.evidence and profile.evidence.measured_seconds is None:
            front.notes.append("No time was left to run these settings: their speed is predicted. More --budget helps.")
        return {"profile.json": profile}, None
    except ValueError as error:
        early = "" if front.is_complete else "; the search ended early, and --budget MINUTES gives it more time"
        return {}, f"{error}{early}"


def _load(options: Options, folder: Path, stack: ExitStack) -> tuple[PublishedPipeline, dict[str, str]]:
    """The pipeline, and the checkpoints that may replace parts of it."""
    if not options.shape:
        given = {"tiny_vae": options.tiny_vae, "distilled": options.distilled}
        key = jobs.PipelineKey(model=options.model or "icons", variant=options.variant, engine=options.engine)
        return jobs.load(key), {role: path for role, path in given.items() if path}
    shapes.check_room(options.shape, folder)
    make_folder(folder)
    scratch = stack.enter_context(scratch_folder(folder, ".weights-"))
    places = {role: str(path) for role, (_, path) in shapes.write(options.shape, scratch).items()}
    pipe = jobs.load(jobs.PipelineKey(model=places["model"], engine=options.engine))
    pipe.name_or_path = f"random weights: {options.shape}"
    return pipe, places


def _networks(pipe: PublishedPipeline) -> list[Model]:
    return [each for each in pipe.components.values() if isinstance(each, Model)]


def read_prompts(path: Path | None) -> list[str] | None:
    """The prompts in a file, one per line.

    Raises:
        ValueError: it has none.
    """
    if path is None:
        return None
    texts = read_lines(path)
    if not texts:
        raise ValueError(f"{path} has no prompts: write one per line")
    return texts
