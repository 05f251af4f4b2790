"""Pipelines chosen by what a checkpoint says it is, and by task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..families.family import CONTROLLED, DEPTH, EDIT, IMAGE, MASK, TEXT
from ..families.registry import class_name, families, family_of, load
from ..loading.fields import listed
from .components import INDEX_NAME
from .published import PublishedPipeline

if TYPE_CHECKING:
    from typing_extensions import Self

Kind = type[PublishedPipeline]


def pipelines() -> dict[str, Kind]:
    """The pipelines of all families and tasks, by their names in ``model_index.json``."""
    paths = (path for family in families() for path in family.tasks.values())
    return {class_name(path): load(path) for path in paths}


class _AnyPipeline(PublishedPipeline):
    """Stands for a pipeline of any family until it is known which."""

    @classmethod
    def keywords(cls) -> tuple[str, ...]:
        """The components and settings of all pipelines together."""
        return tuple(dict.fromkeys(name for pipeline in pipelines().values() for name in pipeline.keywords()))


class DiffusionPipeline(_AnyPipeline):
    """``DiffusionPipeline.from_pretrained`` loads the pipeline named in the checkpoint's ``model_index.json``."""

    @classmethod
    def plan(  # type: ignore[override]
        cls, index: Mapping[str, object], given: Mapping[str, object]
    ) -> tuple[Kind, dict[str, str]]:
        """See `PublishedPipeline`; ``model_index.json`` names the class."""
        name, known = str(index.get("_class_name")), pipelines()
        if name not in known:
            here = listed(known, room=300)
            raise ValueError(f"{INDEX_NAME}: _class_name is {name:.80}, which is not supported; supported: {here}")
        return known[name].plan(index, given)


class AutoPipeline(_AnyPipeline):
    """A pipeline for one task, whichever class the checkpoint was saved from; with a ``controlnet`` it follows that."""

    _task: ClassVar[str]
    _own_ways: ClassVar[tuple[str, ...]] = ()
    """Tasks whose checkpoints do this one in their own way, and no other."""

    @classmethod
    def _for_task(cls, name: str, controlled: bool) -> Kind:
        """The pipeline for the task in the family of another pipeline."""
        task = CONTROLLED[cls._task] if controlled else cls._task
        family = family_of(name)
        tasks = {} if family is None else family.tasks
        own = [tasks[way] for way in cls._own_ways if way in tasks and class_name(tasks[way]) == name]
        if own and not controlled:
            return load(own[0])  # type: ignore[no-any-return]
        if task not in tasks:
            here = dict.fromkeys(class_name(each.tasks[task]) for each in families() if task in each.tasks)
            known = listed(here, room=300)
            raise ValueError(
                f"{cls.__name__} finds no pipeline for {name}{' with a ControlNet' * controlled}; supported: {known}"
            )
        return load(tasks[task])  # type: ignore[no-any-return]

    @classmethod
    def plan(  # type: ignore[override]
        cls, index: Mapping[str, Any], given: Mapping[str, object]
    ) -> tuple[Kind, dict[str, str]]:
        """See `PublishedPipeline`; the class is the one for the task, in the family named by ``model_index.json``."""
        name, saved = str(index.get("_class_name")), index.get("controlnet") or [None]
        kind = cls._for_task(name, given.get("controlnet", saved[0]) is not None)
        return kind.plan({**index, "_class_name": kind.__name__}, given)

    @classmethod
    def from_pipe(cls, pipeline: PublishedPipeline, **components: object) -> Self:
        """The pipeline for the task with the components of another pipeline; both then share them.

        Args:
            pipeline: the other pipeline. Nothing is loaded or compiled again.
            components: components and settings that replace its own; ``controlnet=None`` removes the ControlNet.
        """
        controlnet = components.pop("controlnet", getattr(pipeline, "controlnet", None))
        more = {} if controlnet is None else {"controlnet": controlnet}
        kind: Any = cls._for_task(type(pipeline).__name__, controlnet is not None)
        made: Self = kind.from_pipe(pipeline, **components, **more)
        return made


class AutoPipelineForText2Image(AutoPipeline):
    """Text-to-image."""

    _task = TEXT


class AutoPipelineForImage2Image(AutoPipeline):
    """Image-to-image."""

    _task = IMAGE
    _own_ways = (EDIT, DEPTH)


class AutoPipelineForInpainting(AutoPipeline):
    """Inpainting."""

    _task = MASK
