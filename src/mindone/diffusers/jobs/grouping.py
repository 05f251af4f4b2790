"""Which jobs have what in common: the pipeline, the compiled graphs, or even the call."""

from collections.abc import Iterable
from typing import NamedTuple

from .job import Job, PipelineKey

_NOT_IN_THE_GRAPHS = frozenset(
    {
        *("prompt", "seed", "negative_prompt", "steps", "scheduler", "eta", "guidance_scale", "strength"),
        *("control_scale", "mask_fill", "padding_mask_crop"),
    }
)
"""What a network's compiled graphs do not depend on; of the guidance scale they depend on whether there is guidance."""


class Group(NamedTuple):
    """Jobs of one group are drawn by one pipeline with the same compiled graphs: nothing is compiled between them."""

    pipeline: PipelineKey
    shape: frozenset[tuple[str, object]]


def group_of(job: Job) -> Group:
    """The group that a job belongs to."""
    differing = set(type(job).model_fields) - set(PipelineKey.model_fields) - _NOT_IN_THE_GRAPHS
    shape = {(name, getattr(job, name)) for name in differing}
    shape.add(("guided", job.guidance_scale is None or job.guidance_scale > 1))
    return Group(job.pipeline_key, frozenset(shape))


def call_key(job: Job) -> Job:
    """Equal for jobs that one call can draw: those that differ in prompt and seed alone, and read no pictures.

    Prompts with weights have a call of their own: a longer one beside it would be one's padding.
    """
    if job.pictures or job.upscale is not None or job.prompt_weights:
        return job
    return job.model_copy(update={"prompt": "", "seed": 0})


def grouped(jobs: Iterable[Job]) -> dict[Group, list[Job]]:
    """Jobs by group, the groups of one pipeline side by side, each in the order in which it came up first."""
    pipelines: dict[PipelineKey, dict[Group, list[Job]]] = {}
    for job in jobs:
        group = group_of(job)
        pipelines.setdefault(group.pipeline, {}).setdefault(group, []).append(job)
    return {group: members for groups in pipelines.values() for group, members in groups.items()}
