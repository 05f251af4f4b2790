"""What networks hold is given back when their stage of the run is over: as much as the user asks for."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..models.base import Model
from .components import Component


class Offloading:
    """Mixed into `base.Pipeline`."""

    _offloads = False

    if TYPE_CHECKING:

        @property
        def components(self) -> dict[str, Component]: ...

    def enable_model_cpu_offload(self) -> None:
        """Hold one network's compiled form at a time: less memory, but each image compiles all of them again.

        What runs side by side in several threads disturbs each other; use it with one.
        """
        self._offloads = True

    def disable_model_cpu_offload(self) -> None:
        """Keep what was compiled for the next image."""
        self._offloads = False

    def stage_over(self, keep: Collection[str] = ()) -> None:
        """All networks but the components named in ``keep`` have nothing to do for now.

        What was compiled for them is dropped if that is asked for. Without it big ones give back their intermediate
        results, which takes no time beside theirs.
        """
        for name, component in self.components.items():
            if name in keep or not isinstance(component, Model) or not len(component.graphs):
                continue
            if self._offloads:
                component.release()
            elif component.is_big:
                component.graphs.rest()
