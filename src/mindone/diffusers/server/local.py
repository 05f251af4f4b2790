"""The backend in this process: one ticket at a time, on all cores."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..jobs import Job, LoadedPipelines, PipelineKey, draw, settled, warnings_of
from ..jobs.applied import warn
from ..jobs.loaded import load_quietly, usual_limit
from ..pipelines.checks import default_size
from ..utils import logging
from ..utils.errors import in_one_line
from .backend import Drawn
from .catalogue import Catalogue
from .refusals import Cancelled, Refusal
from .settings import Settings
from .ticket import Progress, Ticket

if TYPE_CHECKING:
    from ..jobs.pictures import Pictures
    from ..pipelines.callbacks import StepCallback, Tensors
    from ..pipelines.published import PublishedPipeline as Pipeline

logger = logging.get_logger(__name__)


class LocalBackend:
    """Loads models on first use, and drops the least recently used ones."""

    places = 1

    def __init__(self, settings: Settings, catalogue: Catalogue):
        self._settings, self._catalogue = settings, catalogue
        self._warned: set[str] = set()
        limit = usual_limit() if settings.memory is None else int(settings.memory * 1e9)
        self._pipelines = LoadedPipelines(limit, load_quietly)

    def warm_up(self) -> None:
        """See `Backend`; also prepares previews."""
        from .preview import affine_map

        key = self._catalogue.key()
        pipe = self._pipelines.get(key)
        draw(pipe, Job.of({**key.to_dict(), "prompt": "", "steps": 1, "seed": 0}))
        affine_map(pipe)

    def prepare(self, place: int, is_over: Callable[[], bool]) -> bool:
        """Always ready: it lives as long as the service."""
        return True

    def draw(self, place: int, ticket: Ticket) -> Drawn:
        """See `Backend`."""
        asked = time.monotonic()
        ticket.stage, ticket.thread = "loading", threading.get_ident()
        pipe = self._pipeline(ticket.job.pipeline_key)
        began = time.monotonic()
        ticket.stage = "drawing"
        try:
            pictures = ticket.open_pictures()
            job = self._within_bounds(ticket.job, pictures, pipe)
            self._warn_once(ticket, pipe)
            images = draw(pipe, job, _after_step(ticket, began), pictures)
        except (Cancelled, Refusal):
            raise
        except Exception as error:
            if (
                isinstance(error, ValueError) and ticket.progress is None
            ):  # no network has run yet, so the request is at fault
                raise Refusal(422, in_one_line(error)) from None
            logger.exception("generating failed")
            raise Refusal(500, "generating failed; see the server's log") from None
        seconds, models = time.monotonic() - began, len(list(self._pipelines))
        return Drawn(job, images, began - asked, seconds, models, warnings_of(pipe, job, pictures))

    def stop_early(self, ticket: Ticket) -> None:
        """Nothing to do: the callback checks the ticket after every step."""

    def close(self) -> None:
        """Nothing to release: nothing outlives the process."""

    def _within_bounds(self, asked: Job, pictures: Pictures, pipe: Pipeline) -> Job:
        """The job with open steps limited to the allowed number; raises `Refusal` if the image would be too large."""
        job, settings = settled(pipe, asked), self._settings
        if asked.steps is None:
            job = job.changed(steps=min(job.steps or 1, settings.max_steps))
        size = pictures.size(job.height, job.width, pipe.pixels_per_token)
        height, width = (round(side * (job.upscale or 1)) for side in default_size(pipe, *size, None))
        most = settings.max_side
        if max(height, width) > most:
            raise Refusal(422, f"the image would be {width}×{height}; the server allows at most {most}×{most}", "size")
        return job

    def _warn_once(self, ticket: Ticket, pipe: Pipeline) -> None:
        """Warn the operator on a profile's first use if it does not suit this machine."""
        if ticket.profile is not None and ticket.profile not in self._warned:
            self._warned.add(ticket.profile)
            warn(self._catalogue.profiles[ticket.profile].profile, pipe, ticket.job)

    def _pipeline(self, key: PipelineKey) -> Pipeline:
        try:
            return self._pipelines.get(key)
        except Exception as error:
            logger.exception("cannot load a model")
            model = self._catalogue.name_of(key)
            field, name = self._catalogue.at_fault(key, error) or ("model", model)
            if field != "model" and isinstance(error, ValueError):
                raise Refusal(422, f"{name} does not fit {model}, or is damaged; see the server's log", field) from None
            raise Refusal(503, f"cannot load {name}; see the server's log", field, retry_after=60) from None


def _after_step(ticket: Ticket, began: float) -> StepCallback:
    """A callback between steps that stops if requested and reports the progress."""
    from ..pipelines.callbacks import OwnCallback

    def after_step(pipe: Pipeline, step: int, timestep: float, tensors: Tensors) -> None:
        from ..engines import single
        from .preview import SHARE, Estimate

        if ticket.is_cancelled:
            raise Cancelled
        if ticket.is_interrupted:
            pipe.interrupt = True
        done, steps = step + 1, pipe.num_timesteps
        latents = pipe.pred_original_sample
        ticket.estimate = Estimate(pipe, single(tensors["latents"]) if latents is None else latents)
        parts = ticket.previews + 1
        shows = done < steps and done * parts // steps > step * parts // steps
        step_seconds = (time.monotonic() - began) / done
        preview = ticket.estimate.picture(SHARE * step_seconds * steps / parts) if shows else None
        left = step_seconds * (steps - done)
        ticket.tell(Progress(pipe.steps_done, pipe.num_inference_steps, left, preview))

    return OwnCallback(after_step)
