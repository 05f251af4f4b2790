"""Token downsampling (`token_downsampling`) on a pipeline with shared networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .speedup import Networks, Stage, View


@dataclass(frozen=True)
class FewerTokens:
    """Attention to every ``factor``-th row and column at the denoiser's largest level; 1 means all of them."""

    factor: int

    stage = Stage.CELLS

    @property
    def words(self) -> str:
        """See `SpeedUp`."""
        return f"tokens /{self.factor}" if self.factor > 1 else ""

    def put_on(self, view: View, networks: Networks) -> None:
        """See `SpeedUp`."""
        if self.factor > 1:
            own = view.denoiser
            setattr(view, view.family.denoiser, networks.once((id(own), self), lambda: self._twin(own)))

    def _twin(self, network: Any) -> Any:
        from ..models.twin import twin
        from .token_downsampling import TokenDownsampling

        other = twin(network)
        other.put_on.of(TokenDownsampling).enable(self.factor)
        return other
