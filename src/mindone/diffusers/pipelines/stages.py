"""A call from its arguments to images: check → timesteps → encode → start → denoise → decode."""

from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..engines import Array
from ..models.autoencoder import Autoencoder, Floats, decode_images
from ..models.base import Model
from ..utils import logging
from ..utils.images import to_pil
from ..utils.outputs import BaseOutput
from . import checks
from .callbacks import inputs_of
from .calls import Arguments, asked, documented
from .image_processor import Images
from .loop import Run, denoise, step_options
from .packing import as_in_runs, as_published
from .pipeline import Pipeline
from .published import PublishedPipeline
from .safety import blacken_unsafe
from .starts import Shape, Start, latents_shape

logger = logging.get_logger(__name__)

P = ParamSpec("P")
O = TypeVar("O", bound=BaseOutput)  # noqa: E741


def published(
    task: Callable[P, object], start: type[Start], output: type[O]
) -> Callable[Concatenate[Any, P], O | tuple[Images | list[bool] | None, ...]]:
    """The ``__call__`` of a pipeline: the task's arguments with defaults and help, also for type checkers.

    Args:
        task: a dataclass of `calls`.
        start: the start of the task's runs.
        output: the class of the result, unless ``return_dict`` is False.
    """

    def __call__(pipe: Any, /, *positional: P.args, **named: P.kwargs) -> O | tuple[Images | list[bool] | None, ...]:
        name = f"{type(pipe).__name__}.__call__"
        call = pipe.arguments(**asked(task, name, pipe.usual_arguments(), positional, named))
        results = draw(pipe, call, start(call))[: len(fields(output))]  # type: ignore[arg-type]
        return output(*results) if call.return_dict else results

    documented(__call__, task, output | tuple[Images | list[bool] | None, ...])
    return __call__


def draw(pipe: PublishedPipeline, call: Arguments, start: Start) -> tuple[Images, list[bool] | None]:
    """The images of a call, and the safety checker's verdicts; None without one.

    Raises:
        ValueError: an argument is wrong; raised before any network runs.
    """
    images = call.count_images()
    pipe.check(call)
    shown = call.callback_on_step_end_tensor_inputs
    if call.callback_on_step_end is not None:
        shown = inputs_of(call.callback_on_step_end, shown)
    checks.check_drawing(pipe, images, call.generator, shown)
    weighed = pipe.loras.scaled(call.adapter_options) if call.adapter_options else nullcontext()
    start.call = _in_runs(pipe, call) if pipe.family.latents.packed else call
    height, width = start.check(pipe, images)
    if call.output_type != "latent":
        checks.check_memory(pipe, images, height, width)
    if pipe.applied is not None:
        pipe.applied.at_size(height, width)
    guides = start.guides(pipe)
    with weighed, pipe.begin(*call.guidance) as run:
        if not run.do_classifier_free_guidance and call.negatives:
            logger.warning(_lost_negative(run, call.negatives[0]))
        lay_out_steps(run, call, start, pipe.family.latents.tokens(height, width))
        for guide in guides:
            guide.check(run, images, height, width)
        shape = latents_shape(pipe, images, height, width)
        if call.output_type != "latent":
            _compile_decoder_ahead(run, shape)
        pipe.condition(run, call, height, width)
        start.begin(run, shape)
        for guide in guides:
            guide.begin(run)
        stage_over(pipe, keep=(pipe.family.denoiser, "controlnet"))
        latents = denoise(run, pipe.progress_bar, call.callback_on_step_end, shown)
    stage_over(pipe, keep=("vae",))
    pictures, unsafe = decode(pipe, latents, call.output_type, start.fit)
    return start.put_back(pictures), unsafe


def _in_runs(pipe: Pipeline, call: Arguments) -> Arguments:
    """The call with latents in the form of runs, if it gives tokens.

    Raises:
        ValueError: the number of tokens does not match the requested or the usual size.
    """
    if call.latents is None or len(getattr(call.latents, "shape", ())) != 3:
        return call
    height, width = checks.default_size(pipe, call.height, call.width, None)
    checks.check_size(pipe, height, width)
    return replace(call, height=height, width=width, latents=as_in_runs(pipe, call.latents, height, width))


def lay_out_steps(run: Run, call: Arguments, start: Start, tokens: int) -> None:
    """The timesteps of a run for images of ``tokens`` tokens: the call's, without those that the start skips."""
    run.settings.clip_skip, run.settings.cross_attention_kwargs = call.clip_skip, call.adapter_options
    run.set_timesteps(call.num_inference_steps, call.timesteps, call.sigmas, call.layout_options, tokens)
    start.choose_timesteps(run)
    run.check_speedups()
    run.step_options = step_options(run.scheduler, call.eta, call.generator)


def decode(
    pipe: Pipeline, latents: Array, output_type: str, fit: Callable[[Floats], Floats] = lambda pixels: pixels
) -> tuple[Images, list[bool] | None]:
    """Latents in the form that the user wants, and the safety checker's verdicts, if there is one.

    ``fit`` brings the decoded images, (images, 3, height, width), to the requested size.
    """
    if output_type == "latent":
        return as_published(pipe, latents), None
    images, unsafe = decode_images(pipe.engine, pipe.vae, latents, fit), None
    stage_over(pipe)
    checker = pipe.components.get("safety_checker")
    if checker is not None:
        images, unsafe = blacken_unsafe(pipe.engine, checker, pipe.components["feature_extractor"], images)
        stage_over(pipe)
    return (to_pil(images) if output_type == "pil" else images), unsafe


def stage_over(pipe: Pipeline, keep: Collection[str] = ()) -> None:
    """Release all networks except the components in ``keep``, which are needed next.

    With offloading their compiled graphs are dropped. Otherwise big networks free their intermediate results, which
    takes next to no time.
    """
    for name, component in pipe.components.items():
        if name in keep or not isinstance(component, Model) or not len(component.graphs):
            continue
        if pipe.offloads:
            component.release()
        elif component.is_big:
            component.graphs.rest()


def _lost_negative(run: Run, name: str) -> str:
    """The warning about a negative prompt, the argument ``name``, in a run without guidance."""
    settings = run.settings
    why = checks.why_unguided(run.pipe, settings.guidance_scale, settings.image_guidance_scale)
    return checks.lost_negative(name, why)


def _compile_decoder_ahead(run: Run, shape: Shape) -> None:
    """Compile the decoder alongside the text encoder and the denoiser, if all of them take little memory."""
    networks = [each for each in run.pipe.components.values() if isinstance(each, Model)]
    if isinstance(run.pipe.vae, Autoencoder) and not run.pipe.offloads and not any(each.is_big for each in networks):
        run.pipe.vae.compile_decoder_ahead(run.engine, shape)
