"""What is measured: tables of set-ups. A set-up is a job, with the names that the report gives it."""

from dataclasses import dataclass
from typing import Literal

from ..jobs import Job
from .checkpoints import Checkpoint

OURS: Literal["mindone.diffusers"] = "mindone.diffusers"
REFERENCE: Literal["diffusers"] = "diffusers"


@dataclass(frozen=True)
class Setup:
    """A row: what is drawn, from which weights, by which library."""

    name: str
    job: Job
    model: Checkpoint
    tiny_vae: Checkpoint | None = None
    library: Literal["mindone.diffusers", "diffusers"] = OURS
    rival_of: str | None = None
    """The row that this one is to cost as much as: its number of steps is found while measuring."""

    @property
    def steps(self) -> int:
        """Denoising steps per run, which every table's jobs name."""
        return self.job.steps or 0

    @property
    def work(self) -> int:
        """The length of a run on a progress bar."""
        return self.steps * self.job.num_images


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

    def compares_images(self, setup: Setup) -> bool:
        """Whether this set-up's images say anything beside the baseline's: those of other random weights do not."""
        return not self.random_weights or (setup.model == self.setups[0].model and setup.tiny_vae is None)


@dataclass(frozen=True)
class Plan:
    """All tables, and what a reader of the report should know about the choice of them."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
