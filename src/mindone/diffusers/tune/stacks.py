"""Views of one pipeline with many settings in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..acceleration.speedup import Networks
from ..jobs.profile import Settings
from ..models.base import Model
from ..models.twin import is_plain

if TYPE_CHECKING:
    from ..pipelines.published import PublishedPipeline as Pipeline


class Stacks:
    """Applies settings to views of a pipeline, which stays unchanged. Each needed network is made once."""

    def __init__(self, pipe: Pipeline):
        self.pipe = pipe
        self._networks = Networks()
        self._views: dict[Settings, Pipeline] = {}

    def view(self, settings: Settings) -> Pipeline:
        """A view of the pipeline with these settings, for one use; raises what `Stack.on` raises."""
        if settings not in self._views:
            self._views[settings] = settings.stack.on(self.pipe, self._networks)
        return self._views[settings].view()

    def network(self, settings: Settings, name: str) -> Model:
        """The network for these settings, by its name in the pipeline, or ``denoiser``."""
        network: Model = getattr(self.view(settings), name)
        return network

    @property
    def are_free(self) -> bool:
        """Whether a second network can be made; adapters prevent it."""
        return all(is_plain(each) for each in self.pipe.components.values() if isinstance(each, Model))

    def networks(self) -> list[Model]:
        """All networks made or loaded so far, and the pipeline's own."""
        made = list(self._networks.made.values())
        loaded = [each for pipe in (self.pipe, *made) for each in getattr(pipe, "components", {}).values()]
        return [each for each in (*loaded, *made) if isinstance(each, Model)]

    def release(self) -> None:
        """Drop everything compiled for any of them."""
        for network in self.networks():
            if len(network.graphs):
                network.release()
