"""Half precision: the compute dtype of the networks."""

from __future__ import annotations

from dataclasses import dataclass

from .speedup import Networks, Stage, View


@dataclass(frozen=True)
class ComputesIn:
    """Networks that compute in ``dtype``: "float32", "float16" or "bfloat16"."""

    dtype: str

    stage = Stage.TYPE

    @property
    def words(self) -> str:
        """See `SpeedUp`; half precision is the default, so it has no words."""
        return self.dtype if self.dtype != "float16" else ""

    def put_on(self, view: View, networks: Networks) -> None:
        """See `SpeedUp`."""
        from ..models.base import Model
        from ..models.twin import twin

        for name, network in view.components.items():
            if isinstance(network, Model):
                wanted = network.dtype_for(view.dtype_of(type(network).__name__, network.config, self.dtype))
                if network.dtype != wanted:
                    setattr(view, name, networks.once((id(network), wanted), lambda: twin(network, wanted)))  # noqa: B023
