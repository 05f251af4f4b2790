"""One network at a time: what was compiled for a network is dropped when its stage of the run is over."""

from collections.abc import Collection
from typing import TYPE_CHECKING

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
        """Drop what was compiled for all networks but the components named in ``keep``, if that is asked for."""
        if not self._offloads:
            return
        for name, component in self.components.items():
            graphs = getattr(component, "graphs", None)
            if name not in keep and graphs is not None and len(graphs):
                component.release()
