"""What jobs can share: the pipeline, the compiled graphs, or even the call."""

from collections.abc import Iterable
from typing import NamedTuple

from .job import Job, PipelineKey

_NOT_IN_THE_GRAPHS = frozenset(
    {
        *("prompt", "seed", "negative_prompt", "steps", "scheduler", "eta", "guidance_scale", "strength"),
        *("control_scale", "mask_fill", "padding_mask_crop"),
    }
)
"""Fields that do not affect compiled graphs; of the guidance scale it only matters whether there is guidance."""


class Group(NamedTuple):
    """Jobs of one group use one pipeline with the same compiled graphs: nothing compiles between them."""

    pipeline: PipelineKey
    shape: frozenset[tuple[str, object]]


def group_of(job: Job) -> Group:
    """The group that a job belongs to."""
    differing = set(type(job).model_fields) - set(PipelineKey.model_fields) - _NOT_IN_THE_GRAPHS
    shape = {(name, getattr(job, name)) for name in differing}
    shape.add(("guided", job.guidance_scale is None or job.guidance_scale > 1))
    return Group(job.pipeline_key, frozenset(shape))


def call_key(job: Job) -> Job:
    """Equal for jobs that can share a call: those that differ only in prompt and seed, and read no pictures.

    Prompts with weights get their own call: in a shared one a longer prompt would pad the others.
    """
    if job.pictures or job.upscale is not None or job.prompt_weights:
        return job
    return job.model_copy(update={"prompt": "", "seed": 0})


def grouped(jobs: Iterable[Job]) -> dict[Group, list[Job]]:
    """Jobs by group, with the groups of one pipeline adjacent, each in the order of its first job."""
    pipelines: dict[PipelineKey, dict[Group, list[Job]]] = {}
    for job in jobs:
        group = group_of(job)
        pipelines.setdefault(group.pipeline, {}).setdefault(group, []).append(job)
    return {group: members for groups in pipelines.values() for group, members in groups.items()}
