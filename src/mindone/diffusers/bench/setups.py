"""What is measured: tables of set-ups. A set-up is a job, with the names that the report gives it."""

from dataclasses import dataclass
from typing import Literal

from ..acceleration.speedup import RunFacts
from ..jobs import Job
from .checkpoints import Checkpoint
from .options import Peer

WARM_UP_STEPS, WARM_UP_STEPS_WHERE_CALLS_DIFFER = 2, 12
"""A run compiles in its first step what it will call, unless caches or an interval of guidance call other things later:
in 12 steps each of these has come up, also on top of each other."""

OURS: Literal["mindone.diffusers"] = "mindone.diffusers"
REFERENCE: Literal["diffusers"] = "diffusers"
GENAI: Literal["openvino-genai"] = "openvino-genai"


@dataclass(frozen=True)
class Setup:
    """A row: what is drawn, from which weights, by which library."""

    name: str
    job: Job
    model: Checkpoint
    tiny_vae: Checkpoint | None = None
    library: Literal["mindone.diffusers"] | Peer = OURS
    rival_of: str | None = None
    """The row that this one is to cost as much as: its number of steps is found while measuring."""

    @property
    def steps(self) -> int:
        """Denoising steps per run, which every table's jobs name."""
        return self.job.steps or 0

    @property
    def warm_up(self) -> Job:
        """What is drawn before the runs that are timed: the job, with no more steps than compile all of its networks.

        One of caches that need all steps is drawn whole.
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
    """Set-ups that are run in turn, the baseline first."""

    title: str
    setups: tuple[Setup, ...]
    repeats: int
    random_weights: bool = False

    @property
    def job(self) -> Job:
        """The baseline's. All others draw with the same prompt, size and seeds."""
        return self.setups[0].job

    def work(self, setup: Setup) -> int:
        """The length of all runs of a row on a progress bar: denoising steps times images.

        A rival needs no warm-up: it draws where its base has drawn.
        """
        jobs = [setup.job] * self.repeats + ([setup.warm_up] if setup.rival_of is None else [])
        return sum(work(job) for job in jobs)

    def compares_images(self, setup: Setup) -> bool:
        """Whether this set-up's images say anything beside the baseline's: those of other random weights do not."""
        return not self.random_weights or (setup.model == self.setups[0].model and setup.tiny_vae is None)


@dataclass(frozen=True)
class Plan:
    """All tables, and what a reader of the report should know about the choice of them."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
