"""What to measure: tables of set-ups. A set-up is a job with its names in the report."""

from dataclasses import dataclass
from typing import Literal

from ..acceleration.speedup import RunFacts
from ..jobs import Job
from .checkpoints import Checkpoint
from .options import Peer

WARM_UP_STEPS, WARM_UP_STEPS_WHERE_CALLS_DIFFER = 2, 12
"""A run compiles everything in its first step unless caches or a guidance interval call other graphs later: within 12
steps each of these has come up, also in combination."""

OURS: Literal["mindone.diffusers"] = "mindone.diffusers"
REFERENCE: Literal["diffusers"] = "diffusers"
GENAI: Literal["openvino-genai"] = "openvino-genai"


@dataclass(frozen=True)
class Setup:
    """A row: what to generate, with which weights, in which library."""

    name: str
    job: Job
    model: Checkpoint
    tiny_vae: Checkpoint | None = None
    library: Literal["mindone.diffusers"] | Peer = OURS
    rival_of: str | None = None
    """The row whose time this one must match: measuring finds its number of steps."""

    @property
    def steps(self) -> int:
        """Denoising steps per run; every table's jobs set them."""
        return self.job.steps or 0

    @property
    def warm_up(self) -> Job:
        """The run before the timed ones: the job with just enough steps to compile all its networks.

        A job with caches that need all steps runs whole.
        """
        differs = bool(self.job.cache) or self.job.guidance_interval is not None
        steps = min(self.steps, WARM_UP_STEPS_WHERE_CALLS_DIFFER if differs else WARM_UP_STEPS)
        try:
            for cache in self.job.caches:
                cache.check(RunFacts(steps))
        except ValueError:
            return self.job
        return self.job.changed(steps=steps)


def work(job: Job) -> int:
    """The length of a run on a progress bar."""
    return (job.steps or 0) * job.num_images


@dataclass(frozen=True)
class Table:
    """Set-ups that run in turn, the baseline first."""

    title: str
    setups: tuple[Setup, ...]
    repeats: int
    random_weights: bool = False

    @property
    def job(self) -> Job:
        """The baseline's job. All others use the same prompt, size and seeds."""
        return self.setups[0].job

    def work(self, setup: Setup) -> int:
        """The length of all runs of a row on a progress bar: denoising steps times images.

        A rival needs no warm-up: it runs in its base's process.
        """
        jobs = [setup.job] * self.repeats + ([setup.warm_up] if setup.rival_of is None else [])
        return sum(work(job) for job in jobs)

    def compares_images(self, setup: Setup) -> bool:
        """Whether this set-up's images can be compared with the baseline's: those of other random weights cannot."""
        return not self.random_weights or (setup.model == self.setups[0].model and setup.tiny_vae is None)


@dataclass(frozen=True)
class Plan:
    """All tables, and notes on their choice for the reader of the report."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
